"""Which parameters do something, and under which values of others.

The trainer answers for one whole spec (`inactive(spec)`). Here it is asked about many: the base
spec and a few combinations in which every option of every searched choice occurs, and around each
of them about other values of one parameter at a time. What is idle in all of them is pinned; what
is idle in some gets a condition and is drawn after the parameters that decide.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from search_spaces.dimensions import Choice, Condition, Real
from search_spaces.parameter import Parameter
from search_spaces.schema import lookup, with_values

Inactive = Callable[[dict[str, Any]], Mapping[str, str]]
"""Nested spec -> parameter -> why it does nothing under this spec."""

MAX_QUESTIONS = 300
"""A trainer may validate a whole spec for each answer, which takes milliseconds."""
MAX_MEMORY = 4096
_ENDS_AND_MIDDLE = (0.0, 0.5, 1.0)
_INSIDE = (0.01, 0.5, 0.99)
"""For real numbers: what holds at one exact end only is no condition worth drawing by."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Oracle:
    """Asks the trainer about specs that differ from the base in searched values.

    Parameters whose legal values depend on others follow them, so that the trainer only hears of
    specs that a trial could have.
    """

    inactive: Inactive
    base: Mapping[str, Any]
    dependent: tuple[Parameter, ...]
    memory: dict[str, Mapping[str, str]] = field(default_factory=dict, compare=False, repr=False)

    def ask(self, values: Mapping[str, Any]) -> Mapping[str, str]:
        """Return what is idle; nothing where the trainer refuses the spec.

        A refusal is no answer about activity: the trial that draws such values hears of it.
        """
        key = json.dumps(values, sort_keys=True, default=str)
        if key not in self.memory:
            if len(self.memory) >= MAX_MEMORY:
                self.memory.clear()
            self.memory[key] = self._answer(values)
        return self.memory[key]

    def _answer(self, values: Mapping[str, Any]) -> Mapping[str, str]:
        full = dict(values)
        for parameter in self.dependent:
            if parameter.name not in full:
                context = {**parameter.constants, **self._parents(parameter, full)}
                full[parameter.name] = parameter.domain.clamp(parameter.default, context)
        spec = with_values(self.base, full)
        try:
            return dict(self.inactive(spec))
        except Exception as error:  # noqa: BLE001 - any refusal of a spec, by a foreign trainer
            _log.debug("no answer about activity: %s", error)
            return {}

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
        return self.name not in self.oracle.ask(deciding)


@dataclass(slots=True)
class Activity:
    """The answers for all searched parameters."""

    oracle: Oracle
    always_idle: dict[str, str] = field(default_factory=dict)
    """Name -> reason."""
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
    firsts = {item.name: item.default for item in parameters if item.default is not None}
    dependent = tuple(parameter for parameter in parameters if parameter.parents)
    start = {name: value for name, value in firsts.items() if name not in _names(dependent)}
    oracle = Oracle(inactive, with_values(base, start), dependent)
    answers = _Answers([parameter.name for parameter in parameters])
    candidates = {parameter.name: _candidates(parameter) for parameter in parameters}
    for context in _contexts(parameters, candidates):
        here = oracle.ask(context)
        answers.hear(here)
        for name in answers.names:
            for value in candidates[name]:
                there = oracle.ask({**context, name: value})
                answers.hear(there)
                answers.compare(here, there, name, value)
    return answers.summary(oracle, {parameter.name: parameter for parameter in parameters})


class _Answers:
    """Everything heard so far."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.reasons: dict[str, str] = {}
        self.seen_active: set[str] = set()
        self.deciders: dict[str, set[str]] = {}
        self.active_with: dict[tuple[str, str], list[Any]] = {}

    def hear(self, answer: Mapping[str, str]) -> None:
        for name in self.names:
            if name in answer:
                self.reasons.setdefault(name, answer[name])
            else:
                self.seen_active.add(name)

    def compare(
        self, here: Mapping[str, str], there: Mapping[str, str], decider: str, value: Any
    ) -> None:
        """Note what changed between two specs that differ in one parameter."""
        for name in self.names:
            if name == decider:
                continue
            if (name in here) != (name in there):
                self.deciders.setdefault(name, set()).add(decider)
            if name not in there:
                values = self.active_with.setdefault((name, decider), [])
                if value not in values:
                    values.append(value)

    def summary(self, oracle: Oracle, parameters: Mapping[str, Parameter]) -> Activity:
        activity = Activity(oracle)
        for name, reason in self.reasons.items():
            if name not in self.seen_active:
                activity.always_idle[name] = reason
                continue
            heard = self.deciders.get(name, ())
            deciders = [other for other in self.names if other in heard]
            if not deciders:  # several choices had to change at once
                deciders = [item.name for item in parameters.values() if _is_choice(item)]
            activity.deciders[name] = deciders
            parts = [self._part(name, parameters[other]) for other in deciders]
            activity.texts[name] = f"{' and '.join(parts)} (else: {reason})"
        return activity

    def _part(self, name: str, decider: Parameter) -> str:
        if not _is_choice(decider):
            return f"depending on {decider.name}"
        values = self.active_with.get((name, decider.name), [])
        return f"{decider.name} = {' or '.join(map(str, values))}"


def _names(parameters: Sequence[Parameter]) -> set[str]:
    return {parameter.name for parameter in parameters}


def _is_choice(parameter: Parameter) -> bool:
    shapes = parameter.dimensions
    return len(shapes) == 1 and isinstance(shapes[0], Choice)


def _candidates(parameter: Parameter) -> list[Any]:
    """Return values to ask about: every choice, or a few points across the range."""
    shapes = parameter.dimensions
    if len(shapes) == 1 and isinstance(shapes[0], Choice):
        points: list[tuple[Any, ...]] = [(choice,) for choice in shapes[0].choices]
    else:
        is_real = any(isinstance(shape, Real) for shape in shapes)
        units = _INSIDE if is_real else _ENDS_AND_MIDDLE
        points = [tuple(shape.from_unit(unit) for shape in shapes) for unit in units]
    found: list[Any] = []
    for point in points if not parameter.parents else []:
        value = parameter.domain.decode(point, parameter.constants)
        if value not in found:
            found.append(value)
    return found


def _contexts(
    parameters: Sequence[Parameter], candidates: Mapping[str, list[Any]]
) -> list[dict[str, Any]]:
    """Return the base, and combinations in which every option of every choice occurs."""
    choices = [p.name for p in parameters if _is_choice(p) and candidates[p.name]]
    questions = sum(map(len, candidates.values())) or 1
    longest = max((len(candidates[name]) for name in choices), default=0)
    num_rows = min(longest, MAX_QUESTIONS // questions)
    rows = [
        {name: candidates[name][row % len(candidates[name])] for name in choices}
        for row in range(num_rows)
    ]
    return [{}, *rows]
