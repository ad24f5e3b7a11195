"""Finds the values a parameter is chosen from when it is searched as a choice."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from search_spaces import grids
from search_spaces.domains.options import is_inside, same
from search_spaces.draft import Draft, converted, element_bounds, limited
from search_spaces.rule import Bounds
from search_spaces.schema import Kind, is_finite, is_number

_MOST = 1e9
"""No power beyond is looked for."""
_ELEMENTWISE = (Kind.INCREASING_LIST, Kind.EQUAL_PAIR, Kind.BACKBONE_RUN)


def set_options(draft: Draft) -> None:
    """Fill `draft.options` from the user's options, the enum or the powers in range."""
    if draft.kind in (Kind.SUBSET, Kind.OPTIONAL):
        if draft.change.weights or draft.leaf.weights:
            draft.warn("its option_weights have no effect: each option is in or out")
        return
    if draft.change.options:
        draft.options = tuple(_wanted(draft))
    elif draft.leaf.options or draft.kind is Kind.BOOL:
        draft.options = _in_wanted_range(draft)
    elif draft.powers and draft.is_number:
        draft.options = _powers(draft)
    _drop_outside_limit(draft)
    if draft.relations and not all(map(is_number, draft.options or ())):
        draft.problem(f"must be {draft.relations[0]}, but its options are not numbers")


def set_members(draft: Draft) -> tuple[Any, ...]:
    """Return the members that a list of options is drawn from."""
    wanted = draft.change.options
    if not wanted:
        return _allowed(draft, draft.leaf.options, draft.bounds)
    for place, option in enumerate(wanted):
        if any(same(option, other) for other in wanted[:place]):
            draft.problem(f"options must differ, got {option!r} twice; name each once")
        if draft.leaf.options and not any(same(option, known) for known in draft.leaf.options):
            draft.problem(f"option {option!r} must be one of {list(draft.leaf.options)}")
        elif is_number(option) and (problem := _unmet(draft, option, draft.bounds)):
            draft.problem(f"option {option!r} {problem}")
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
    if leaf.kind.is_number and not (
        is_finite(option) and (isinstance(option, int) or not draft.is_int)
    ):
        return f"must be a {'whole ' if draft.is_int else ''}number"
    if leaf.kind is Kind.BOOL and not isinstance(option, bool):
        return "must be true or false"
    if leaf.options and not any(same(option, converted(o, leaf.kind)) for o in leaf.options):
        return f"must be one of {list(leaf.options)}"
    if leaf.pattern and not (isinstance(option, str) and re.search(leaf.pattern, option)):
        return f"must match {leaf.pattern}"
    if draft.kind in _ELEMENTWISE and isinstance(option, list):
        for index, item in enumerate(option):
            if problem := is_number(item) and _unmet(draft, item, element_bounds(draft, index)):
                return f"element {index} {problem}"
    return _unmet(draft, option, draft.bounds) if is_number(option) else ""


def _unmet(draft: Draft, number: float, bounds: Bounds) -> str:
    """Say which condition a number does not hold, or return an empty string."""
    least = draft.leaf.positive_from
    if (draft.step or draft.powers) and not is_finite(number):
        return "must be finite"
    if draft.step and not grids.is_multiple(number, draft.step):
        return f"must be a multiple of {draft.step_reason}"
    if not is_inside(number, bounds):
        return f"must lie in {bounds}"
    if foreign := [base for base in draft.powers if not grids.is_power(number, base)]:
        return f"must be a power of {foreign[0]:g}"
    if 0 < number < least:
        return f"must be 0 or {least:g} and more"
    return "is excluded by the schema" if number in draft.excluded else ""


def _allowed(draft: Draft, options: Sequence[Any], bounds: Bounds) -> tuple[Any, ...]:
    """Leave out the numbers that break a condition, and the texts that break the pattern."""
    pattern = draft.leaf.pattern
    return tuple(
        option
        for option in options
        if not (is_number(option) and _unmet(draft, option, bounds))
        and not (pattern and isinstance(option, str) and not re.search(pattern, option))
    )


def _powers(draft: Draft) -> tuple[Any, ...]:
    """Return base^0, base^1, ... as far as bounds and the user's range allow (R0)."""
    base, bounds, default = max(draft.powers), _wanted_bounds(draft), draft.default
    high, is_open = bounds.high, bounds.high is None
    if high is None:
        high = max(float(default) * 4 if is_number(default) else base, base)
    found: list[Any] = []
    value = 1.0
    while value <= high or (is_open and not found and value < _MOST):
        if not _unmet(draft, value, bounds):
            found.append(int(value) if draft.is_int else value)
        value *= base
    if is_open:
        most = max([high, *found])
        draft.warn(f"unbounded in the schema, powers up to {most:g} are searched")
    if not found:
        bases = " and ".join(f"{base:g}" for base in draft.powers)
        step = f" as a multiple of {draft.step_reason}" if draft.step else ""
        draft.problem(f"no power of {bases} lies in {bounds}{step}; widen the range")
    return tuple(found)


def _in_wanted_range(draft: Draft) -> tuple[Any, ...]:
    """Return the enum, cut to bounds and the user's range where its members are numbers."""
    options = tuple(converted(option, draft.kind) for option in draft.leaf.options)
    if draft.kind is Kind.BOOL:
        options = tuple(flag for flag in (False, True) if flag in options or not options)
    if draft.kind.is_number and not all(map(is_finite, options)):
        draft.problem(f"enum of a number must hold numbers, got {list(options)}")
        return ()
    if draft.change.has_range and not all(map(is_number, options)):
        draft.problem("has options, not a range; name options instead")
    bounds = _wanted_bounds(draft)
    kept = _allowed(draft, options, bounds)
    if draft.kind.is_number:
        kept = tuple(sorted(option for option in kept if not (draft.is_int and option % 1)))
    if not kept:
        unmet = (
            f"{option!r} {problem}"
            for option in options
            if is_number(option) and (problem := _unmet(draft, option, bounds))
        )
        must = f"match {draft.leaf.pattern}" if draft.leaf.pattern else f"be {draft.leaf.type_name}"
        told = next(unmet, f"each must {must}")
        draft.problem(f"no option of {list(draft.leaf.options)} is left: {told}")
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
