"""Builds domains whose values are lists of numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from search_spaces.domains.lists import PREVIOUS, NumberList, Repeated, Run
from search_spaces.domains.number import Number
from search_spaces.draft import Draft, element, element_bounds, limited
from search_spaces.ranges import number_interval, on_grid, steps_of
from search_spaces.relations import Relation
from search_spaces.rule import INSET, Bounds, Interval
from search_spaces.schema import is_number

_FEW_STAGES = 4
"""A run of stages without bounds is searched over this many: few backbones have less."""


def make_number(
    draft: Draft,
    interval: Interval,
    *,
    anchor: Any,
    step: float = 0.0,
    offset: float = 0.0,
    relations: tuple[Relation, ...] = (),
) -> Number:
    """Return a number over an interval.

    Args:
        draft: the parameter it belongs to.
        interval: what is searched.
        anchor: the default, which its own latent gives back bit for bit.
        step: grid, 0 for none.
        offset: where the grid is anchored.
        relations: bounds made of other values.
    """
    is_kept = is_number(anchor) and interval.low <= anchor <= interval.high
    return Number(
        low=interval.low,
        high=interval.high,
        is_int=draft.is_int,
        scale=interval.scale,
        pivot=interval.pivot,
        step=step,
        offset=offset,
        excluded=draft.excluded,
        relations=relations,
        anchor=float(anchor) if is_kept and not step and anchor not in draft.excluded else None,
        early=interval.early,
        positive_from=draft.leaf.positive_from,
    )


def make_increasing(draft: Draft) -> tuple[NumberList | None, str]:
    """R6: each number takes a fraction of the room that the one before leaves."""
    default, bounds = steps_of(draft), draft.span
    count = len(default)
    low, high = bounds.low or 0, bounds.high or 0
    gap = 1.0 if draft.is_int else (high - low) * INSET
    if high - low < gap * (count - 1) or high < low or (count > 1 and high == low):
        draft.problem(f"{count} increasing numbers do not fit into {bounds}; widen the range")
        return None, ""
    elements: list[Number] = []
    for index, item in enumerate(default):
        after = gap * (count - 1 - index)
        own = element_bounds(draft, index).within(low + gap * index, high - after)
        own = own.closed_integers() if draft.is_int else own
        interval = _element_interval(draft, own, item, index)
        if interval is None:
            return None, ""
        relations = tuple(_shifted(relation, -after) for relation in draft.relations)
        if index:
            op = ">" if draft.is_int else ">="
            relations += (Relation(op=op, parents=(PREVIOUS,)),)
        step = 1.0 if draft.is_int else 0.0
        elements.append(make_number(draft, interval, anchor=item, step=step, relations=relations))
    elements = _with_room(elements)
    if any(one.low > one.high for one in elements):
        draft.problem(f"{count} increasing numbers do not fit into their bounds; widen the range")
        return None, ""
    why = f"{count} increasing numbers, each a fraction of the room that the one before leaves"
    return NumberList(elements=tuple(elements), type_name="increasing_list"), why


def make_square(draft: Draft) -> tuple[Repeated | None, str]:
    """R6: one odd number, repeated."""
    interval = draft.interval
    if interval is None:
        return None, ""
    sides = draft.default if isinstance(draft.default, list) and draft.default else [3, 3]
    number = make_number(
        draft, interval, anchor=None, step=2.0, offset=1.0, relations=draft.relations
    )
    return Repeated(number=number, times=len(sides)), interval.why


def make_run(draft: Draft) -> tuple[Run | None, str]:
    """R6: consecutive whole numbers, as their first and last."""
    default = draft.default if isinstance(draft.default, list) and draft.default else [0]
    start, stop = element(draft.change.low, 0), element(draft.change.high, -1)
    bounds = limited(draft, draft.bounds).within(start, stop).closed_integers()
    low = bounds.low if bounds.low is not None else min(0, default[0])
    high = bounds.high
    if high is None:
        high = max(default[-1], low + _FEW_STAGES)
        draft.warn(
            f"unbounded in the schema, searched in {low:g}..{high:g}; give a range that fits the "
            "backbone to be sure"
        )
    if low > high:
        draft.problem(f"no whole number lies in {bounds}; widen the range")
        return None, ""
    first_one = Number(low=low, high=high, is_int=True, step=1.0)
    last_one = replace(first_one, relations=(Relation(op=">=", parents=(PREVIOUS,)),))
    ends = NumberList(elements=(first_one, last_one), type_name="run")
    return Run(ends=ends), f"consecutive whole numbers in {low:g}..{high:g}"


def make_vector(draft: Draft) -> tuple[NumberList | None, str]:
    """Return a list of numbers with element-wise bounds."""
    leaf, change = draft.leaf, draft.change
    parts = (draft.default, leaf.minimum, leaf.maximum, change.low, change.high)
    size = max(len(part) for part in parts if isinstance(part, list | tuple))
    default = tuple(draft.default) if isinstance(draft.default, list) else draft.default
    elements: list[Number] = []
    whys: dict[str, None] = {}
    for index in range(size):
        bounds = limited(draft, element_bounds(draft, index))
        wanted = (element(change.low, index), element(change.high, index))
        anchor = element(default, index)
        interval = number_interval(draft, bounds, anchor, wanted)
        interval = interval and on_grid(draft, interval, bounds.within(*wanted))
        if interval is None:
            return None, ""
        elements.append(make_number(draft, interval, anchor=anchor, step=draft.grid))
        whys[interval.why] = None
    why = "element by element: " + "; ".join(whys)
    return NumberList(elements=tuple(elements), type_name="vector"), why


def _element_interval(draft: Draft, bounds: Bounds, default: Any, index: int) -> Interval | None:
    wanted = (element(draft.change.low, index), element(draft.change.high, index))
    low, high = bounds.low or 0, bounds.high or 0
    if draft.is_int or low == high:
        start = low if wanted[0] is None else max(low, wanted[0])
        stop = high if wanted[1] is None else min(high, wanted[1])
        if start <= stop:
            return Interval(low=start, high=stop)
        draft.problem(f"no value of element {index} lies in {bounds}")
        return None
    return number_interval(draft, bounds, default, wanted)


def _with_room(elements: list[Number]) -> list[Number]:
    """Lower the upper ends so that every later element finds room."""
    for index in range(len(elements) - 2, -1, -1):
        one, after = elements[index], elements[index + 1]
        most = after.high
        while one.is_int and most in after.excluded:
            most -= 1.0
        most -= 1.0 if one.is_int else 0.0
        if one.high > most:
            elements[index] = replace(one, high=most)
    return elements


def _shifted(relation: Relation, shift: float) -> Relation:
    return replace(relation, shift=shift) if relation.op in ("<", "<=") else relation
