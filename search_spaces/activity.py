"""Finds which parameters have an effect, and under which values of others.

The trainer answers for one whole spec (`inactive(spec)`). Here it is asked about the base spec and
a few dozen points of the space, in which every option of every searched choice occurs. What is idle
in all of them is pinned. Where two points differ about a parameter, the way from one to the other
is halved until one step is left: the parameter changed by that step is one that decides. What is
idle in some points gets a condition, and is drawn after the parameters that decide.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from search_spaces.dimensions import Choice, Condition, Real
from search_spaces.parameter import Parameter
from search_spaces.schema import lookup, with_values

Inactive = Callable[[dict[str, Any]], Mapping[str, str]]
"""Nested spec -> parameter -> why it does nothing under this spec."""

_NUM_POINTS = 32
_MAX_MEMORY = 4096
_ENDS_AND_MIDDLE = (0.0, 0.5, 1.0)
_INSIDE = (0.01, 0.5, 0.99)
"""For real numbers: what holds at one exact end only is no condition worth drawing by."""


@dataclass(frozen=True, slots=True)
class Oracle:
    """Asks the trainer about specs that differ from the base in searched values.

    Parameters whose legal values depend on others follow them, so that the trainer only hears of
    specs that a trial could have.
    """

    inactive: Inactive
    base: Mapping[str, Any]
    dependent: tuple[Parameter, ...]
    memory: dict[str, Mapping[str, str] | None] = field(
        default_factory=dict, compare=False, repr=False
    )
    refusals: list[str] = field(default_factory=list, compare=False, repr=False)
    """The trainer's first words about a spec that it would not answer for."""

    def ask(self, values: Mapping[str, Any]) -> Mapping[str, str] | None:
        """Return what is idle, None where the trainer refuses the spec.

        A refusal is no answer about activity: the trial that draws such values hears of it.
        """
        key = json.dumps(values, sort_keys=True, default=str)
        if key not in self.memory:
            if len(self.memory) >= _MAX_MEMORY:
                self.memory.clear()
            self.memory[key] = self._answer(values)
        return self.memory[key]

    def _answer(self, values: Mapping[str, Any]) -> Mapping[str, str] | None:
        full = dict(values)
        for parameter in self.dependent:
            if parameter.name not in full:
                context = {**parameter.constants, **self._parents(parameter, full)}
                full[parameter.name] = parameter.domain.clamp(parameter.default, context)
        spec = with_values(self.base, full)
        try:
            return dict(self.inactive(spec))
        except Exception as error:  # noqa: BLE001 - any refusal of a spec, by a foreign trainer
            if not self.refusals:
                self.refusals.append(str(error))
            return None

    def _parents(self, parameter: Parameter, values: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: values[name] if name in values else lookup(self.base, name)
            for name in parameter.parents
        }


@dataclass(frozen=True, slots=True)
class ActiveWhen:
    """The condition of one parameter: a question about the values of those that decide."""

    name: str
    deciders: tuple[str, ...]
    oracle: Oracle

    def __call__(self, values: Mapping[str, Any]) -> bool:
        """Tell whether the parameter does something beside these values."""
        deciding = {name: values[name] for name in self.deciders if name in values}
        return self.name not in (self.oracle.ask(deciding) or {})


@dataclass(slots=True)
class Activity:
    """The answers for all searched parameters."""

    oracle: Oracle
    always_idle: dict[str, str] = field(default_factory=dict)
    """Name -> reason."""
    without_effect: dict[str, str] = field(default_factory=dict)
    """The same of all that was named in every answer, searched or not."""
    deciders: dict[str, list[str]] = field(default_factory=dict)
    """Name -> the searched parameters that decide whether it is active."""
    texts: dict[str, str] = field(default_factory=dict)
    """Name -> its condition in words."""

    def condition(self, name: str) -> Condition | None:
        """Return the condition of a parameter, None when it is always active."""
        if name not in self.texts:
            return None
        return ActiveWhen(name, tuple(self.deciders[name]), self.oracle)


def explore(
    parameters: Sequence[Parameter], base: Mapping[str, Any], inactive: Inactive
) -> Activity:
    """Find out what is idle when.

    Args:
        parameters: everything that might be searched, parents first.
        base: the nested spec that all trials share.
        inactive: the trainer's answer for one spec.
    """
    dependent = tuple(parameter for parameter in parameters if parameter.parents)
    free = [parameter for parameter in parameters if not parameter.parents]
    start = {item.name: item.default for item in free if item.default is not None}
    oracle = Oracle(inactive, with_values(base, start), dependent)
    return _Survey(oracle, {parameter.name: parameter for parameter in parameters}).run()


class _Survey:
    """The questions asked of one oracle, and what follows from the answers."""

    def __init__(self, oracle: Oracle, parameters: Mapping[str, Parameter]) -> None:
        self.oracle = oracle
        self.parameters = parameters
        self.candidates = {
            name: found for name, item in parameters.items() if (found := _candidates(item))
        }
        self.reasons: dict[str, str] = {}
        self.alive: dict[str, Mapping[str, Any]] = {}
        """Name -> a point in which it does something."""
        self.deciders: dict[str, set[str]] = {}
        self.idle: dict[str, str] | None = None
        """What was named in every answer so far."""

    def run(self) -> Activity:
        points = [point for point in self._points() if self._take_answer(point)]
        disputed = [name for name in self.reasons if name in self.alive]
        for one, other in itertools.pairwise(points):
            for name in disputed:
                self._find_decider(name, one, other)
        activity = Activity(self.oracle, without_effect=self.idle or {})
        for name, reason in self.reasons.items():
            if name in self.alive:
                deciders = self._checked_deciders(name, points)
                activity.deciders[name] = deciders
                activity.texts[name] = f"{self._text(name, deciders)} (else: {reason})"
            else:
                activity.always_idle[name] = reason
        return activity

    def _points(self) -> list[dict[str, Any]]:
        """Return the base and points in which every candidate occurs as often as any other."""
        import random

        rng = random.Random(0)
        columns: dict[str, list[Any]] = {}
        for name, values in self.candidates.items():
            columns[name] = [values[k % len(values)] for k in range(_NUM_POINTS)]
            rng.shuffle(columns[name])
        rows = [{name: column[k] for name, column in columns.items()} for k in range(_NUM_POINTS)]
        return [{}, *rows]

    def _take_answer(self, point: Mapping[str, Any]) -> bool:
        """Ask about a point; return whether there was an answer."""
        answer = self.oracle.ask(point)
        if answer is None:
            return False
        before = answer if self.idle is None else self.idle
        self.idle = {name: reason for name, reason in before.items() if name in answer}
        for name in self.parameters:
            if name in answer:
                self.reasons.setdefault(name, answer[name])
            else:
                self.alive.setdefault(name, point)
        return True

    def _is_idle(self, name: str, point: Mapping[str, Any]) -> bool | None:
        answer = self.oracle.ask(point)
        return None if answer is None else name in answer

    def _find_decider(self, name: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
        """Halve the way between two points that differ about a parameter, there and back."""
        here, there = self._is_idle(name, one), self._is_idle(name, other)
        if here == there:
            return
        changed = [key for key in self.candidates if one.get(key) != other.get(key)]
        for order in (changed, changed[::-1]):
            low, high = 0, len(order)
            while high - low > 1:
                middle = (low + high) // 2
                point = {**one, **{key: other[key] for key in order[:middle] if key in other}}
                answer = self._is_idle(name, point)
                if answer is None:
                    break
                low, high = (middle, high) if answer == here else (low, middle)
            if high - low == 1 and order[low] != name:
                self.deciders.setdefault(name, set()).add(order[low])

    def _checked_deciders(self, name: str, points: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return the deciders, or all others when they do not explain every answer heard."""
        found = [other for other in self.parameters if other in self.deciders.get(name, ())]
        for point in points:
            deciding = {key: point[key] for key in found if key in point}
            if self._is_idle(name, deciding) != self._is_idle(name, point):
                return [other for other in self.candidates if other != name]
        return found

    def _text(self, name: str, deciders: Sequence[str]) -> str:
        """Say in words when a parameter is alive, judged around one point in which it is."""
        parts: list[str] = []
        for decider in deciders:
            if _is_choice(self.parameters[decider]):
                values = [
                    str(value)
                    for value in self.candidates[decider]
                    if not self._is_idle(name, {**self.alive[name], decider: value})
                ]
                parts.append(f"{decider} = {' or '.join(values)}")
            else:
                parts.append(f"depending on {decider}")
        return " and ".join(parts)


def _is_choice(parameter: Parameter) -> bool:
    shapes = parameter.dimensions
    return len(shapes) == 1 and isinstance(shapes[0], Choice)


def _candidates(parameter: Parameter) -> list[Any]:
    """Return values to ask about: every choice, or a few points across the range.

    A parameter bounded by others has none of its own: it follows them.
    """
    shapes = parameter.dimensions
    if parameter.parents:
        return []
    if len(shapes) == 1 and isinstance(shapes[0], Choice):
        points: list[tuple[Any, ...]] = [(choice,) for choice in shapes[0].choices]
    else:
        is_real = any(isinstance(shape, Real) for shape in shapes)
        units = _INSIDE if is_real else _ENDS_AND_MIDDLE
        points = [tuple(shape.from_unit(unit) for shape in shapes) for unit in units]
    found: list[Any] = []
    for point in points:
        value = parameter.domain.decode(point, parameter.constants)
        if value not in found:
            found.append(value)
    return found
