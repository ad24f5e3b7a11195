"""Makes room for children: narrows what is searched of a parent so that a relation can hold."""

from __future__ import annotations

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
        text = f"leaves no room for {child_name}, which must be {relation}; widen one of them"
        parent.notes.problem(parent.name, text)
        return
    parent.interval = with_range(interval, reach.low, reach.high)


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
        parent.notes.problem(
            parent.name, f"no option leaves room for {child_name}, which must be {relation}"
        )
    parent.options = kept


def _allows(relation: Relation, option: Any, child: Bounds) -> bool:
    if not is_number(option):
        return False
    room = relation.narrow(child, dict.fromkeys(relation.parents, option))
    if room.low is None or room.high is None or room.low < room.high:
        return True
    return room.low == room.high and not (room.low_open or room.high_open)
