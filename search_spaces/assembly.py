"""From a draft to its domain: one maker per shape of value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from search_spaces.domains.base import Domain
from search_spaces.domains.lists import (
    PREVIOUS,
    AllOrNone,
    Derived,
    NumberList,
    Repeated,
    Run,
    Subset,
)
from search_spaces.domains.number import Number
from search_spaces.domains.options import Options, Ordinal, count_slots
from search_spaces.draft import Draft
from search_spaces.ranges import Limit, number_interval, set_interval
from search_spaces.relations import Relation
from search_spaces.rule import INSET, Bounds, Interval
from search_spaces.schema import Kind

_ORDERED = (Kind.ORDERED, Kind.ORDERED_INT, Kind.INT, Kind.FLOAT)


def set_ranges(
    draft: Draft, limit: Limit | None, *, problems: list[str], warnings: list[str]
) -> None:
    """Choose the interval of a number or square kernel, so that its parents can make room for it."""
    if draft.is_number and not is_vector(draft):
        set_interval(draft, limit, problems=problems, warnings=warnings)
    elif draft.leaf.kind is Kind.EQUAL_PAIR:
        draft.interval = _odd_interval(draft, limit, warnings)
        if draft.interval.low > draft.interval.high:
            problems.append(f"{draft.name}: no odd number left in {draft.bounds}; widen the range")


def is_vector(draft: Draft) -> bool:
    """Whether a number is searched as a list of numbers, each with its own bounds."""
    is_listed = isinstance(draft.default, list) or isinstance(draft.wish.low, tuple)
    return draft.leaf.allows_list and is_listed and not draft.wish.stays_number


def make_domain(
    draft: Draft, limit: Limit | None, *, problems: list[str], warnings: list[str]
) -> tuple[Domain | None, str]:
    """Return a draft's domain and why it looks that way; None when a problem was found."""
    if draft.derived is not None:
        return Derived(
            parent=draft.derived.parents[0], divisor=draft.derived.number or 1
        ), "follows its parent"
    if draft.options is not None:
        return _choice(draft)
    if draft.is_number and not is_vector(draft):
        return _number(draft)
    return _MAKERS[draft.leaf.kind](draft, limit, problems, warnings)


def _number(draft: Draft) -> tuple[Domain | None, str]:
    interval = draft.interval
    if interval is None:
        return None, ""
    return _from_interval(
        draft, interval, step=draft.step or (1.0 if draft.is_int else 0.0)
    ), interval.why


def _from_interval(  # noqa: PLR0913 - the parts of one number
    draft: Draft,
    interval: Interval,
    *,
    step: float,
    offset: float = 0.0,
    relations: tuple[Relation, ...] | None = None,
    anchor: Any = None,
) -> Number:
    anchor = draft.default if anchor is None else anchor
    is_anchor = isinstance(anchor, int | float) and interval.low <= anchor <= interval.high
    return Number(
        low=interval.low,
        high=interval.high,
        is_int=draft.is_int,
        scale=interval.scale,
        pivot=interval.pivot,
        step=step,
        offset=offset,
        excluded=draft.excluded,
        relations=draft.relations if relations is None else relations,
        anchor=float(anchor) if is_anchor and not step and anchor not in draft.excluded else None,
        early=interval.early,
    )


def _choice(draft: Draft) -> tuple[Domain | None, str]:
    options, leaf, wish = draft.options or (), draft.leaf, draft.wish
    weights = wish.weights or (leaf.weights if options == leaf.options else ())
    slots = count_slots(weights) if weights and len(weights) == len(options) else ()
    prior = ", weights as a prior" if slots else ""
    if leaf.kind in _ORDERED:
        type_name = "power" if draft.power else "ordinal"
        domain = Ordinal(
            options=options, slots=slots, relations=draft.relations, type_name=type_name
        )
        return domain, f"{len(options)} values in order{prior}"
    return Options(options=options, slots=slots), f"{len(options)} options without an order{prior}"


def _increasing(
    draft: Draft, limit: Limit | None, problems: list[str], warnings: list[str]
) -> tuple[Domain | None, str]:
    """R6: each element takes a fraction of the room that the one before leaves."""
    default = draft.default if isinstance(draft.default, list) and draft.default else [1, 2]
    bounds, is_guess = _list_bounds(draft, default, limit, warnings)
    count = len(default)
    width = (bounds.high or 0) - (bounds.low or 0)
    gap = 1.0 if draft.is_int else width * INSET
    if width < gap * (count - 1):
        problems.append(
            f"{draft.name}: {count} increasing numbers must fit into {bounds}; widen the range"
        )
        return None, ""
    elements: list[Number] = []
    for index, item in enumerate(default):
        after = count - 1 - index
        own = Bounds(low=(bounds.low or 0) + gap * index, high=(bounds.high or 0) - gap * after)
        wanted = tuple(_element(end, index) for end in (draft.wish.low, draft.wish.high))
        interval = _element_interval(draft, own, item, wanted, problems, warnings, is_free=is_guess)
        if interval is None:
            return None, ""
        relations = tuple(_shifted(relation, -gap * after) for relation in draft.relations)
        if index:
            relations += (Relation(op=">" if draft.is_int else ">=", parents=(PREVIOUS,)),)
        step = 1.0 if draft.is_int else 0.0
        elements.append(
            _from_interval(draft, interval, step=step, relations=relations, anchor=item)
        )
    _make_room(elements)
    return NumberList(elements=tuple(elements), type_name="increasing_list"), (
        f"{count} increasing numbers, each a fraction of the room that the one before leaves"
    )


def _make_room(elements: list[Number]) -> None:
    """Lower the upper ends so that every later element finds room."""
    from dataclasses import replace

    for index in range(len(elements) - 2, -1, -1):
        one, after = elements[index], elements[index + 1]
        gap = 1.0 if one.is_int else 0.0
        if one.high > after.high - gap:
            elements[index] = replace(
                one, high=after.high - gap, low=min(one.low, after.high - gap)
            )


def _element_interval(  # noqa: PLR0913 - one element of a list
    draft: Draft,
    bounds: Bounds,
    default: Any,
    wanted: tuple[Any, ...],
    problems: list[str],
    warnings: list[str],
    *,
    is_free: bool,
) -> Interval | None:
    if draft.is_int and not any(end is not None for end in wanted):
        return Interval(low=bounds.low or 0, high=bounds.high or 0)
    heard = [] if is_free else warnings
    return number_interval(
        draft, bounds, default, (wanted[0], wanted[1]), problems=problems, warnings=heard
    )


def _list_bounds(
    draft: Draft, default: list[Any], limit: Limit | None, warnings: list[str]
) -> tuple[Bounds, bool]:
    """Return closed bounds for all elements, and whether they were guessed from the default."""
    bounds = draft.bounds
    for end, raise_end in ((0, True), (1, False)):
        least = limit[end] if limit is not None else None
        if least is not None:
            bounds = bounds.raised(least) if raise_end else bounds.lowered(least)
    if draft.is_int:
        bounds = bounds.closed_integers()
    is_share = not draft.is_int and all(0 <= item <= 1 for item in default)
    low = bounds.low if bounds.low is not None else (0 if is_share else min(1, *default))
    guess = 1 if is_share else 2 * max(default)
    is_guess = bounds.high is None and draft.wish.high is None and not draft.relations
    if is_guess:
        warnings.append(
            f"{draft.name}: unbounded in the schema, searched up to {guess:g} because of its default; give a "
            "range to be sure"
        )
    high = bounds.high if bounds.high is not None else guess
    wish_high = draft.wish.high
    if bounds.high is None and wish_high is not None:
        high = max(wish_high) if isinstance(wish_high, tuple) else wish_high
    return Bounds(low=low, high=high), is_guess


def _shifted(relation: Relation, shift: float) -> Relation:
    from dataclasses import replace

    return replace(relation, shift=shift) if relation.op in ("<", "<=") else relation


def _element(end: Any, index: int) -> Any:
    if isinstance(end, tuple):
        return end[index] if index < len(end) else None
    return end


def _odd_interval(draft: Draft, limit: Limit | None, warnings: list[str]) -> Interval:
    """Return the odd numbers inside the bounds."""
    default = draft.default[0] if isinstance(draft.default, list) and draft.default else 3
    bounds = draft.bounds.raised(1).closed_integers()
    wish = draft.wish
    low_wish, high_wish = _element(wish.low, 0), _element(wish.high, 0)
    bounds = bounds if low_wish is None else bounds.raised(low_wish)
    bounds = bounds if high_wish is None else bounds.lowered(high_wish)
    if limit is not None and limit[0] is not None:
        bounds = bounds.raised(limit[0])
    if limit is not None and limit[1] is not None:
        bounds = bounds.lowered(limit[1])
    if bounds.high is None:
        bounds = bounds.lowered(2 * default + 1)
        if not draft.relations:
            warnings.append(
                f"{draft.name}: unbounded in the schema, searched up to {2 * default + 1} because of its "
                "default; give a range to be sure"
            )
    bounds = bounds.closed_integers()
    low, high = int(bounds.low or 1), int(bounds.high or 1)
    low, high = low + (low % 2 == 0), high - (high % 2 == 0)
    return Interval(low=low, high=high, why="odd numbers, the same for every element")


def _square(draft: Draft, *_: object) -> tuple[Domain | None, str]:
    if draft.interval is None:
        return None, ""
    times = len(draft.default) if isinstance(draft.default, list) and draft.default else 2
    number = _from_interval(draft, draft.interval, step=2.0, offset=1.0)
    return Repeated(number=number, times=times), draft.interval.why


def _run(
    draft: Draft, limit: Limit | None, problems: list[str], warnings: list[str]
) -> tuple[Domain | None, str]:
    default = draft.default if isinstance(draft.default, list) and draft.default else [0]
    bounds = draft.bounds
    if limit is not None:
        bounds = bounds if limit[0] is None else bounds.raised(limit[0])
        bounds = bounds if limit[1] is None else bounds.lowered(limit[1])
    low_wish, high_wish = _element(draft.wish.low, 0), _element(draft.wish.high, -1)
    bounds = bounds if low_wish is None else bounds.raised(low_wish)
    bounds = (bounds if high_wish is None else bounds.lowered(high_wish)).closed_integers()
    low = bounds.low if bounds.low is not None else min(0, default[0])
    high = bounds.high
    if high is None:
        high = max(default[-1], low + _FEW_STAGES)
        warnings.append(
            f"{draft.name}: unbounded in the schema, searched in {low:g}..{high:g}; give a range that fits the "
            "backbone to be sure"
        )
    if low > high:
        problems.append(f"{draft.name}: no whole number left in {bounds}; widen the range")
        return None, ""
    first = Number(low=low, high=high, is_int=True, step=1.0)
    last = Number(
        low=low,
        high=high,
        is_int=True,
        step=1.0,
        relations=(Relation(op=">=", parents=(PREVIOUS,)),),
    )
    ends = NumberList(elements=(first, last), type_name="run")
    return Run(ends=ends), f"consecutive whole numbers in {low:g}..{high:g}"


_FEW_STAGES = 4
"""Most backbones have at least this many stages."""


def _vector(
    draft: Draft, limit: Limit | None, problems: list[str], warnings: list[str]
) -> tuple[Domain | None, str]:
    leaf, wish = draft.leaf, draft.wish
    sizes = [
        len(part)
        for part in (draft.default, leaf.minimum, wish.low)
        if isinstance(part, list | tuple)
    ]
    elements: list[Number] = []
    whys: list[str] = []
    for index in range(max(sizes)):
        bounds = draft.bounds
        for end, is_low in ((leaf.minimum, True), (leaf.maximum, False)):
            own = _element(end, index) if isinstance(end, tuple) else None
            if own is not None:
                bounds = (
                    Bounds(
                        low=own,
                        low_open=bounds.low_open,
                        high=bounds.high,
                        high_open=bounds.high_open,
                    )
                    if is_low
                    else Bounds(
                        low=bounds.low,
                        low_open=bounds.low_open,
                        high=own,
                        high_open=bounds.high_open,
                    )
                )
        default = (
            _element(tuple(draft.default), index)
            if isinstance(draft.default, list)
            else draft.default
        )
        wanted = (_element(wish.low, index), _element(wish.high, index))
        interval = number_interval(
            draft, bounds, default, wanted, problems=problems, warnings=warnings
        )
        if interval is None:
            return None, ""
        step = 1.0 if draft.is_int else 0.0
        elements.append(_from_interval(draft, interval, step=step, relations=(), anchor=default))
        whys.append(interval.why)
    return NumberList(
        elements=tuple(elements), type_name="vector"
    ), "element by element: " + "; ".join(dict.fromkeys(whys))


def _subset(draft: Draft, *_: object) -> tuple[Domain | None, str]:
    options = draft.wish.options or draft.leaf.options
    return Subset(options=options), "each option is in or out"


def _optional(draft: Draft, *_: object) -> tuple[Domain | None, str]:
    options = draft.wish.options or draft.leaf.options
    return AllOrNone(options=options), "nothing, or the whole list"


_Maker = Callable[[Draft, Limit | None, list[str], list[str]], tuple[Domain | None, str]]
_MAKERS: dict[Kind, _Maker] = {
    Kind.INCREASING_LIST: _increasing,
    Kind.EQUAL_PAIR: _square,
    Kind.BACKBONE_RUN: _run,
    Kind.SUBSET: _subset,
    Kind.OPTIONAL: _optional,
    Kind.FLOAT: _vector,
    Kind.INT: _vector,
}
