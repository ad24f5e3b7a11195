"""Fits configurations that are worth trying first to the space of a study.

They were learned on other data, or stand in a study file (`search.first_trials`), and may be of a
wider search than this one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpo.core.errors import SpecError
from hpo.core.spec_dicts import flatten, is_same, nest, value_at
from hpo.core.text import quoted

if TYPE_CHECKING:
    from hpo.study.spec import StudySpec
    from search_spaces import SearchSpace

FIELD = "first_trials"
MOST = 8
"""Configurations that a search begins with at most, besides its default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstTrials:
    """What a search tries right after its default."""

    latents: tuple[dict[str, Any], ...] = ()
    left_out: tuple[str, ...] = ()
    """Names of configurations that this search does not allow."""
    held: tuple[str, ...] = ()
    """Parameters that are not searched, and had another value in some that are taken."""

    @property
    def note(self) -> str:
        """One line about what is left out; empty where nothing is."""
        parts = []
        if self.left_out:
            parts.append(f"not allowed by this search, so left out: {', '.join(self.left_out)}")
        if self.held:
            parts.append(f"not searched, so as in all trials: {', '.join(self.held)}")
        return f"{FIELD}: {'; '.join(parts)}" if parts else ""


def most_first(num_trials: int | None) -> int:
    """How many trials are begun with besides the default: a third of a short search at most."""
    return MOST if num_trials is None else max(1, min(MOST, num_trials // 3))


def learned_trials(
    study: StudySpec,
    spec: Mapping[str, Any],
    space: SearchSpace,
    num_trials: int | None,
    *,
    before: Sequence[Mapping[str, Any]] = (),
    where: str = "search",
) -> FirstTrials:
    """Fit a study's first trials to its space.

    Args:
        study: names them, and whether they are wanted.
        spec: that every trial starts from.
        space: of the study.
        num_trials: that the search has at most; None where it is limited otherwise.
        before: latents of the trials that come before them, besides the default.
        where: stands before messages.

    Raises:
        SpecError: for a configuration that is no mapping.
    """
    search = study.search
    wanted = search.first_trials if search.portfolio else {}
    return fit_trials(
        space, plain_trials(wanted, f"{where}.{FIELD}"), spec, most_first(num_trials), before
    )


def plain_trials(given: Mapping[Any, Any], where: str) -> dict[str, dict[str, Any]]:
    """Return configurations of a study file by dotted names of parameters.

    Raises:
        SpecError: for one that is no mapping.
    """
    for name, values in given.items():
        if not isinstance(values, Mapping):
            raise SpecError(
                f"{where}.{name}: must be a mapping of parameters to values, got {quoted(values)}"
            )
    return {str(name): flatten(nest(values)) for name, values in given.items()}


def fit_trials(
    space: SearchSpace,
    configurations: Mapping[str, Mapping[str, Any]],
    spec: Mapping[str, Any],
    most: int,
    before: Sequence[Mapping[str, Any]] = (),
) -> FirstTrials:
    """Fit configurations to a space, in order.

    Numbers that are not searched are dropped, and named where the spec has others. A configuration
    is left out whole where a value that is searched lies outside its range or options, where an
    option or a switch that is not searched has another value in the spec (it was learned for a
    search that differs in kind), or where the spec has no such key. One that comes to the default,
    or to one before it, is passed over.

    Args:
        space: of the search.
        configurations: name -> {parameter: value}; what is missing stays at its default.
        spec: that every trial starts from.
        most: so many are taken at most, those before them included.
        before: latents that are tried already, which are passed over too.
    """
    seen = [space.encode(space.default()), *map(dict, before)]
    begin = len(seen)
    left_out, held = [], dict[str, None]()
    searched = {parameter.name for parameter in space.parameters}
    for name, values in configurations.items():
        latents = _fitted(space, values, spec)
        if latents is None:
            left_out.append(name)
            continue
        others = (key for key in values if key not in searched)
        held |= {key: None for key in others if not is_same(values[key], value_at(spec, key))}
        if not any(_are_same(latents, other) for other in seen):
            seen.append(latents)
    return FirstTrials(
        latents=tuple(seen[begin : max(begin, most + 1)]),
        left_out=tuple(left_out),
        held=tuple(held),
    )


def usable_point(
    space: SearchSpace, values: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return latents of values, and what those stand for.

    Raises:
        ValueError: they stand for nothing in the space (or TypeError, for a value of another type).
    """
    latents = dict(space.encode(values))
    params = space.decode(latents)
    space.validate(params)
    return latents, params


def _are_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether latents mean the same: a value that was trained may differ in its last digit."""
    return one.keys() == other.keys() and all(is_same(one[name], other[name]) for name in one)


def _fitted(
    space: SearchSpace, values: Mapping[str, Any], spec: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Latents of a configuration; None where it does not fit."""
    names = {parameter.name for parameter in space.parameters}
    for name in values.keys() - names:
        held = value_at(spec, name)
        if held is None or (isinstance(values[name], str | bool) and values[name] != held):
            return None
    whole = {parameter.name: parameter.default for parameter in space.parameters}
    whole |= space.default() | {name: values[name] for name in values.keys() & names}
    try:
        latents, params = usable_point(space, whole)
    except (TypeError, ValueError):
        return None
    asked = params.keys() & values.keys()  # what does nothing beside the others is not asked for
    return latents if all(is_same(values[name], params[name]) for name in asked) else None
