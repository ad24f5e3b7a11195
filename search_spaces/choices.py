"""Finds the values a parameter is chosen from when it is searched as a choice."""

from __future__ import annotations

import re
from typing import Any

from search_spaces.domains.options import is_inside, same
from search_spaces.draft import Draft, converted, limited
from search_spaces.rule import Bounds
from search_spaces.schema import Kind, is_number


def set_options(draft: Draft) -> None:
    """Fill `draft.options` from the user's options, the enum or the powers in range."""
    if draft.kind in (Kind.SUBSET, Kind.OPTIONAL):
        if draft.change.weights or draft.leaf.weights:
            draft.warn("its option_weights have no effect: each option is in or out")
        return
    if draft.change.options:
        draft.options = tuple(_wanted(draft))
    elif draft.kind is Kind.BOOL:
        draft.options = (False, True)
    elif draft.power:
        draft.options = _powers(draft)
    elif draft.leaf.options:
        draft.options = _in_wanted_range(draft)
    _drop_outside_limit(draft)
    if draft.relations and not all(map(is_number, draft.options or ())):
        draft.problem(f"must be {draft.relations[0]}, but its options are not numbers")


def set_members(draft: Draft) -> tuple[Any, ...]:
    """Return the members that a list of options is drawn from."""
    wanted = draft.change.options
    if not wanted:
        return draft.leaf.options
    for place, option in enumerate(wanted):
        if any(same(option, other) for other in wanted[:place]):
            draft.problem(f"options must differ, got {option!r} twice; name each once")
        if draft.leaf.options and not any(same(option, known) for known in draft.leaf.options):
            draft.problem(f"option {option!r} must be one of {list(draft.leaf.options)}")
    return wanted


def weights_of(draft: Draft) -> tuple[float, ...]:
    """Return the weight of each option that is left; empty where none are given."""
    change, leaf = draft.change, draft.leaf
    weights = change.weights or leaf.weights
    named = change.options if change.weights and change.options else leaf.options
    pairs = [(converted(o, draft.kind), w) for o, w in zip(named, weights, strict=bool(weights))]
    return tuple(w for option in draft.options or () for o, w in pairs if same(o, option))


def value_problem(draft: Draft, value: Any) -> str:
    """Say what must hold of one value of a parameter and does not, or return an empty string."""
    option = converted(value, draft.kind)
    if draft.kind is Kind.INT and isinstance(option, float) and option.is_integer():
        option = int(option)
    return _problem(draft, option)


def _wanted(draft: Draft) -> list[Any]:
    kept: list[Any] = []
    for given in draft.change.options:
        option = converted(given, draft.kind)
        problem = _problem(draft, option)
        if problem:
            draft.problem(f"option {given!r} {problem}")
        elif any(same(option, other) for other in kept):
            draft.problem(f"options must differ, got {given!r} twice; name each once")
        else:
            kept.append(option)
    return sorted(kept) if draft.kind.is_number else kept


def _problem(draft: Draft, option: Any) -> str:
    """Say what is wrong with an option of the user's, or return an empty string."""
    leaf = draft.leaf
    if leaf.kind.is_number:
        return _number_problem(draft, option)
    if leaf.kind is Kind.BOOL and not isinstance(option, bool):
        return "must be true or false"
    if leaf.options and not any(same(option, other) for other in leaf.options):
        return f"must be one of {list(leaf.options)}"
    if leaf.pattern and not (isinstance(option, str) and re.search(leaf.pattern, option)):
        return f"must match {leaf.pattern}"
    return ""


def _number_problem(draft: Draft, option: Any) -> str:
    if not is_number(option) or (draft.is_int and not isinstance(option, int)):
        return f"must be a {'whole ' if draft.is_int else ''}number"
    if draft.step and option % draft.step:
        return f"must be a multiple of {draft.step_reason}"
    if not is_inside(option, draft.bounds):
        return f"must lie in {draft.bounds}"
    if draft.power and option not in _powers(draft):
        return f"must be a power of {draft.power:g}"
    return "is excluded by the schema" if option in draft.excluded else ""


def _powers(draft: Draft) -> tuple[Any, ...]:
    """Return base^0, base^1, ... as far as bounds and the user's range allow (R0)."""
    base, bounds, default = draft.power, _wanted_bounds(draft), draft.default
    high = bounds.high
    if high is None:
        high = max(float(default) * 4 if is_number(default) else base, base)
        draft.warn(f"unbounded in the schema, powers up to {high:g} are searched")
    found: list[Any] = []
    value = 1.0
    while value <= high:
        if is_inside(value, bounds) and value not in draft.excluded:
            found.append(int(value) if draft.is_int else value)
        value *= base
    if not found:
        draft.problem(f"no power of {base:g} lies in {bounds}; widen the range")
    return tuple(found)


def _in_wanted_range(draft: Draft) -> tuple[Any, ...]:
    """Return the enum, cut to bounds and the user's range where its members are numbers."""
    options = tuple(converted(option, draft.kind) for option in draft.leaf.options)
    if draft.kind.is_number and not all(is_number(option) for option in options):
        draft.problem(f"enum of a number must hold numbers, got {list(options)}")
    if not all(is_number(option) for option in options):
        if draft.change.has_range:
            draft.problem("has options, not a range; name options instead")
        return options
    kept = tuple(
        option
        for option in options
        if is_inside(option, _wanted_bounds(draft)) and option not in draft.excluded
    )
    if not kept:
        draft.problem(f"no option of {list(options)} lies in {_wanted_bounds(draft)}")
    return kept


def _wanted_bounds(draft: Draft) -> Bounds:
    low, high = (end if is_number(end) else None for end in (draft.change.low, draft.change.high))
    return draft.bounds.within(low, high)


def _drop_outside_limit(draft: Draft) -> None:
    """Leave out the numbers that this spec does not allow."""
    if draft.options is None or draft.limit == (None, None):
        return
    bounds = limited(draft, Bounds())
    outside = [o for o in draft.options if is_number(o) and not is_inside(o, bounds)]
    if not outside:
        return
    draft.options = tuple(option for option in draft.options if option not in outside)
    text = f"{outside} left out; this spec leaves room {bounds}"
    if draft.options:
        draft.warn(text)
    else:
        draft.problem(f"no option remains: {text}")
