"""Narrows a parent's range so that a relation to its children can hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from search_spaces import grids
from search_spaces.clauses import Clause
from search_spaces.domains.options import is_inside
from search_spaces.draft import Draft, with_range
from search_spaces.relations import Relation
from search_spaces.rule import INSET, Bounds
from search_spaces.schema import Leaf, is_number


def make_room(drafts: Mapping[str, Draft], order: Sequence[str]) -> None:
    """Narrow parents for the sake of their searched children, from the last child upwards.

    Args:
        drafts: with their intervals chosen.
        order: parents before children.
    """
    for name in reversed(order):
        child = drafts[name]
        for relation in (*child.relations, *_share(child.derived)):
            for parent in relation.parents:
                if parent in drafts:
                    _narrow(drafts[parent], relation, child.reach(), name)
                    if relation.op == "multiple":
                        _keep_divisors(
                            drafts[parent], name, partial(_has_multiple, relation, child)
                        )


def respect_child(
    leaf: Leaf, value: Any, multiple: tuple[str, int] | None, drafts: Mapping[str, Draft]
) -> None:
    """Keep the relations of a child that is not searched to parents that are.

    Args:
        leaf: the child.
        value: what it is in every trial; anything but a number is left alone.
        multiple: (parent, least) when it is a multiple of a parent's value.
        drafts: with their intervals chosen.
    """
    if not is_number(value):
        return
    for clause in leaf.clauses:
        if clause.op == "//" and clause.parents[0] in drafts:
            text = f"stays {value!r}, and should be {clause}; search it, too, and it follows"
            drafts[clause.parents[0]].notes.warn(leaf.name, text)
    for relation in _relations(leaf, multiple):
        for parent in relation.parents:
            if parent in drafts:
                _respect(drafts[parent], relation, leaf.name, value)


def _respect(parent: Draft, relation: Relation, child: str, value: float) -> None:
    told = f"{child} = {value!r}"
    if relation.op == "multiple":
        is_good = partial(_divides, relation, value)
        _keep_divisors(parent, told, is_good, value / relation.factor)
        return
    before = (parent.reach(), parent.options, parent.excluded)
    _narrow(parent, relation, Bounds(low=value, high=value), child)
    if (parent.reach(), parent.options, parent.excluded) != before:
        parent.warn(f"searched only where {told} stays {relation}")


def _share(clause: Clause | None) -> list[Relation]:
    return (
        [Relation(op="//", parents=clause.parents[:1], factor=clause.number or 1)] if clause else []
    )


def _relations(leaf: Leaf, multiple: tuple[str, int] | None) -> Iterator[Relation]:
    for clause in leaf.clauses:
        if clause.number is None:
            yield Relation(op=clause.op, parents=clause.parents)
    if multiple is not None:
        yield Relation(op="multiple", parents=multiple[:1], factor=multiple[1])


def _narrow(parent: Draft, relation: Relation, child: Bounds, child_name: str) -> None:
    if relation.op == "!=":
        if child.low is not None and child.low == child.high:
            _exclude(parent, child.low, child_name)
        return
    if parent.options is not None:
        _narrow_options(parent, relation, child, child_name)
        return
    if parent.derived is not None:
        parent.span = relation.tightened(parent.span, child).closed_integers()
        return
    interval = parent.interval
    if interval is None:
        return
    own = Bounds(low=interval.low, high=interval.high)
    left = relation.tightened(own, child)
    reach = _closed(left, parent)
    if reach.low is None or reach.high is None or reach.low > reach.high or left.is_empty:
        parent.problem(
            f"leaves no room for {child_name}, which must be {relation}; widen one of them"
        )
        return
    parent.interval = with_range(interval, reach.low, reach.high)


def _keep_divisors(
    parent: Draft, child: str, is_good: Callable[[float], bool], most: float = math.inf
) -> None:
    """Leave a parent only values of which the child can be a multiple.

    Args:
        parent: with its options or interval chosen.
        child: its name, and its value if it has one.
        is_good: whether the child can be a multiple of a value.
        most: no value above it is good.
    """
    values: Sequence[Any] = parent.options or ()
    looked_at = values
    if parent.options is None and parent.interval is not None:
        low, high = round(parent.interval.low), round(parent.interval.high)
        step = round(parent.grid) or 1
        values = range(low, high + 1, step)
        looked_at = range(low, math.floor(min(high, most)) + 1, step)
        if not parent.is_int or len(looked_at) > _MAX_DIVISORS:
            told = f"as {child} must be a multiple of it"
            parent.problem(f"must be a whole number in a short range, {told}")
            return
    barred = {value for value in parent.excluded if value in values}
    kept = tuple(value for value in looked_at if value not in barred and is_good(value))
    if not kept:
        parent.problem(f"no value has a multiple that {child} may take; widen one of them")
    elif len(kept) + len(barred) < len(values):
        parent.options, parent.interval = kept, None
        parent.warn(f"searched over {list(kept)}, so that {child} fits")


def _divides(relation: Relation, number: float, value: Any) -> bool:
    """Tell whether a number is a multiple of a parent's value."""
    is_below = is_number(value) and 0 < value <= number / relation.factor
    return is_below and grids.is_multiple(number, value)


def _has_multiple(relation: Relation, child: Draft, value: float) -> bool:
    """Tell whether a child's range or options hold a multiple of a parent's value."""
    if value <= 0:
        return False
    if child.options is not None:
        return any(_divides(relation, option, value) for option in child.options)
    reach = child.reach()
    if reach.low is None or reach.high is None:
        return False
    first = grids.up(max(reach.low, grids.at(relation.factor, value)), value)
    multiples = range(len(child.excluded) + 1)
    found = (first + count * value for count in multiples)
    return any(n <= reach.high and n not in child.excluded for n in found)


_MAX_DIVISORS = 10_000


def _exclude(parent: Draft, value: float, child: str) -> None:
    """Leave a parent every value but the only one of a child that must differ."""
    reach = parent.reach()
    if not parent.is_measure or not is_inside(value, reach) or value in parent.excluded:
        return
    if parent.options is not None:
        parent.options = tuple(option for option in parent.options if option != value)
    else:
        parent.excluded += (value,)
    if parent.options == () or reach.low == reach.high or parent.derived is not None:
        parent.problem(f"leaves no room for {child}, which must differ; widen one of them")


def _closed(bounds: Bounds, parent: Draft) -> Bounds:
    if parent.step:
        return bounds.closed_multiples(parent.step)
    if parent.is_int:
        return bounds.closed_integers()
    if bounds.low is None or bounds.high is None:
        return bounds
    inset = (bounds.high - bounds.low) * INSET
    return Bounds(
        low=bounds.low + (inset if bounds.low_open else 0),
        high=bounds.high - (inset if bounds.high_open else 0),
    )


def _narrow_options(parent: Draft, relation: Relation, child: Bounds, child_name: str) -> None:
    kept = tuple(option for option in parent.options or () if _allows(relation, option, child))
    if not kept:
        parent.problem(f"no option leaves room for {child_name}, which must be {relation}")
    parent.options = kept


def _allows(relation: Relation, option: Any, child: Bounds) -> bool:
    if not is_number(option):
        return False
    return not relation.narrow(child, dict.fromkeys(relation.parents, option)).is_empty
