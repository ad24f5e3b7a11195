"""Which parameters do something, and under which values of others.

The trainer answers for one whole spec (`inactive(spec)`). Here it is asked about many: the base spec, every
combination of the searched choices (up to a limit), and a few values of every other searched parameter. What is
idle in all of them is pinned; what is idle in some gets a condition and is drawn after those that decide.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from search_spaces.dimensions import Choice, Dimension
from search_spaces.errors import SearchSpaceError
from search_spaces.parameter import Parameter
from search_spaces.schema import with_values

Inactive = Callable[[dict[str, Any]], Mapping[str, str]]
"""Nested spec -> parameter -> why it does nothing under this spec."""

MAX_CONTEXTS = 64
MAX_QUESTIONS = 2000
_POSITIONS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(slots=True)
class Activity:
    """The answers for all searched parameters."""

    always_idle: dict[str, str] = field(default_factory=dict)
    """Name -> reason."""
    deciders: dict[str, list[str]] = field(default_factory=dict)
    """Name -> the searched parameters that decide whether it is active."""
    texts: dict[str, str] = field(default_factory=dict)
    """Name -> its condition in words."""


@dataclass(frozen=True, slots=True)
class ActiveWhen:
    """The condition of one parameter: asks the trainer about the base spec with the values so far."""

    name: str
    inactive: Inactive
    base: Mapping[str, Any]

    def __call__(self, values: Mapping[str, Any]) -> bool:
        """Tell whether the parameter does something beside these values."""
        return self.name not in self.inactive(with_values(self.base, values))


def explore(
    parameters: Sequence[Parameter], base: Mapping[str, Any], inactive: Inactive
) -> Activity:
    """Find out what is idle when.

    Args:
        parameters: everything that might be searched.
        base: the nested spec without searched values.
        inactive: the trainer's answer for one spec.
    """
    names = [parameter.name for parameter in parameters]
    candidates = {parameter.name: _candidates(parameter) for parameter in parameters}
    first = inactive(dict(base))
    idle_always = {name: first[name] for name in names if name in first}
    reasons: dict[str, str] = dict(idle_always)
    deciders: dict[str, dict[str, None]] = {}
    allowed: dict[tuple[str, str], list[Any]] = {}
    for context in _contexts(parameters, candidates):
        here = inactive(with_values(base, context))
        for name in names:
            for value in candidates[name]:
                there = inactive(with_values(base, {**context, name: value}))
                _note(names, here, there, idle_always, reasons)
                for other in names:
                    if other != name and (other in here) != (other in there):
                        deciders.setdefault(other, {})[name] = None
                    if other not in there:
                        seen = allowed.setdefault((other, name), [])
                        if value not in seen:
                            seen.append(value)
    activity = Activity(always_idle=idle_always)
    shapes = {parameter.name: parameter.dimensions for parameter in parameters}
    for name in names:
        if name in reasons and name not in idle_always:
            activity.deciders[name] = [p for p in names if p in deciders.get(name, {})]
            activity.texts[name] = _text(
                name, activity.deciders[name], allowed, shapes, reasons[name]
            )
    return activity


def _note(
    names: Sequence[str],
    here: Mapping[str, str],
    there: Mapping[str, str],
    idle_always: dict[str, str],
    reasons: dict[str, str],
) -> None:
    for name in names:
        if name not in there or name not in here:
            idle_always.pop(name, None)
        for answer in (here, there):
            if name in answer:
                reasons.setdefault(name, answer[name])


def _text(
    name: str,
    deciders: Sequence[str],
    allowed: Mapping[tuple[str, str], list[Any]],
    shapes: Mapping[str, tuple[Dimension, ...]],
    reason: str,
) -> str:
    parts: list[str] = []
    for decider in deciders:
        if len(shapes[decider]) == 1 and isinstance(shapes[decider][0], Choice):
            values = allowed.get((name, decider), [])
            parts.append(f"{decider} = {' or '.join(map(str, values))}")
        else:
            parts.append(f"{decider} leaves it active")
    return f"{' and '.join(parts)} (else: {reason})" if parts else f"unless {reason}"


def _candidates(parameter: Parameter) -> list[Any]:
    """Return values to ask about: every choice, or a few points across the range."""
    shapes = parameter.dimensions
    found: list[Any] = []
    if len(shapes) == 1 and isinstance(shapes[0], Choice):
        points = [(choice,) for choice in shapes[0].choices]
    else:
        points = [tuple(shape.from_unit(unit) for shape in shapes) for unit in _POSITIONS]
    for point in points:
        try:
            value = parameter.domain.decode(point, parameter.constants)
        except (SearchSpaceError, KeyError):
            continue  # bounded by a parent whose value is not known here; its default below stands in
        if value not in found:
            found.append(value)
    return found if found else [parameter.default]


def _contexts(
    parameters: Sequence[Parameter], candidates: Mapping[str, list[Any]]
) -> list[dict[str, Any]]:
    """Return combinations of the searched choices, as many as the limits allow, the base spec first."""
    questions = sum(len(values) for values in candidates.values()) or 1
    most = max(1, min(MAX_CONTEXTS, MAX_QUESTIONS // questions))
    chosen: list[str] = []
    size = 1
    for parameter in parameters:
        shapes = parameter.dimensions
        count = len(candidates[parameter.name])
        is_choice = len(shapes) == 1 and isinstance(shapes[0], Choice)
        if is_choice and size * count <= most:
            chosen.append(parameter.name)
            size *= count
    grid = itertools.product(*(candidates[name] for name in chosen))
    return [{}, *(dict(zip(chosen, values, strict=True)) for values in grid)]
