"""Narrows a parent's range so that a relation to its children can hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

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
        for relation in child.relations:
            for parent in relation.parents:
                if parent in drafts:
                    _narrow(drafts[parent], relation, child.reach(), name)
                    if relation.op == "multiple":
                        _keep_divisors(drafts[parent], relation, child)


def respect_child(leaf: Leaf, value: Any, drafts: Mapping[str, Draft]) -> None:
    """Keep the relation of a child that is not searched to parents that are.

    Args:
        leaf: the child.
        value: what it is in every trial; anything but a number is left alone.
        drafts: with their intervals chosen.
    """
    if not is_number(value):
        return
    for clause in leaf.clauses:
        if clause.number is not None:
            continue
        relation = Relation(op=clause.op, parents=clause.parents)
        for parent in clause.parents:
            if parent in drafts:
                before = drafts[parent].reach()
                _narrow(drafts[parent], relation, Bounds(low=value, high=value), leaf.name)
                if drafts[parent].reach() != before:
                    text = f"searched only where {leaf.name} = {value!r} stays {relation}"
                    drafts[parent].notes.warn(parent, text)


def _narrow(parent: Draft, relation: Relation, child: Bounds, child_name: str) -> None:
    if parent.options is not None:
        _narrow_options(parent, relation, child, child_name)
        return
    interval = parent.interval
    if interval is None:
        return
    reach = _closed(relation.tightened(parent.reach(), child), is_int=parent.is_int)
    if reach.low is None or reach.high is None or reach.low > reach.high:
        parent.problem(
            f"leaves no room for {child_name}, which must be {relation}; widen one of them"
        )
        return
    parent.interval = with_range(interval, reach.low, reach.high)


def _keep_divisors(parent: Draft, relation: Relation, child: Draft) -> None:
    """Leave a parent only values that have a multiple in the child's range or options."""
    values = parent.options
    if values is None and parent.interval is not None:
        low, high = round(parent.interval.low), round(parent.interval.high)
        if not parent.is_int or parent.step or high - low > _MAX_DIVISORS:
            parent.problem(
                f"must be a whole number in a short range, as {child.name} is {relation}"
            )
            return
        values = tuple(range(low, high + 1))
    kept = tuple(value for value in values or () if _has_multiple(value, relation, child))
    if not kept:
        parent.problem(f"no value has a multiple that {child.name} may take; widen one of them")
    elif kept != values:
        parent.options, parent.interval = kept, None
        parent.warn(f"searched over {list(kept)}, so that {child.name} fits")


def _has_multiple(value: float, relation: Relation, child: Draft) -> bool:
    least = value * relation.factor
    if value <= 0:
        return False
    if child.options is not None:
        return any(option % value == 0 and option >= least for option in child.options)
    reach = child.reach()
    if reach.low is None or reach.high is None:
        return False
    return math.floor(reach.high / value) * value >= max(reach.low, least)


_MAX_DIVISORS = 10_000


def _closed(bounds: Bounds, *, is_int: bool) -> Bounds:
    if is_int:
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
    room = relation.narrow(child, dict.fromkeys(relation.parents, option))
    if room.low is None or room.high is None or room.low < room.high:
        return True
    return room.low == room.high and not (room.low_open or room.high_open)
