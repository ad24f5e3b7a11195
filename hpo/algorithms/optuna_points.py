"""Converts points of the search space to Optuna distributions and trials, and back.

Also what those have in common that keep such trials in a study in memory.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Self

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, Trial

from search_spaces import Choice, Dimension, Integer, Real, SearchSpace


def quiet_optuna() -> None:
    """Let Optuna tell of no trial: its trials are ours, which are told of."""
    if optuna.logging.get_verbosity() != optuna.logging.WARNING:  # a level set empties every cache
        optuna.logging.set_verbosity(optuna.logging.WARNING)


class StudyKeeper:
    """Keeps trials in a study of Optuna in memory.

    A deep copy shares those that have ended: Optuna never changes them, and a long search has many.
    """

    _study: optuna.Study
    _trials: dict[int, Trial]

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Copy what may still change."""
        frozen = self._study.get_trials(deepcopy=False)
        ended = {trial._trial_id for trial in frozen if trial.state.is_finished()}
        shared = [trial for trial in frozen if trial._trial_id in ended]
        memo |= {id(trial): trial for trial in shared}
        memo |= {id(t): t for t in self._trials.values() if t._trial_id in ended}
        made = object.__new__(type(self))
        memo[id(self)] = made
        made.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return made


def to_distribution(dimension: Dimension) -> BaseDistribution:
    """Optuna's form of one latent dimension."""
    match dimension:
        case Real(low=low, high=high, log=log):
            return FloatDistribution(low, high, log=log)
        case Integer(low=low, high=high, log=log, step=step):
            return IntDistribution(low, high, log=log, step=1 if log else step)
        case Choice(choices=choices):
            return CategoricalDistribution(choices)
    raise TypeError(f"no Optuna distribution for {dimension!r}")


def frozen_point(
    known: Mapping[str, BaseDistribution],
    latents: Mapping[str, Any],
    *,
    state: optuna.trial.TrialState,
    value: float | None = None,
    reported: Mapping[int, float] | None = None,
) -> FrozenTrial:
    """A trial that no sampler has chosen, without what lies outside the distributions.

    That happens where the space was changed after the trial and the search goes on all the same.
    """
    inside = {n: v for n, v in latents.items() if n in known and _is_inside(known[n], v)}
    distributions = {name: known[name] for name in inside}
    return optuna.trial.create_trial(
        state=state,
        params=inside,
        distributions=distributions,
        value=value,
        intermediate_values=dict(reported or {}),
    )


def draw_point(space: SearchSpace, trial: Trial) -> dict[str, Any]:
    """Let a trial's sampler draw the active dimensions, parents before children."""
    latents: dict[str, Any] = {}
    for dimension in space.active_dimensions(latents):
        latents[dimension.name] = _suggest(trial, dimension)
    return latents


def _suggest(trial: Trial, dimension: Dimension) -> Any:
    match dimension:
        case Real(name=name, low=low, high=high, log=log):
            return trial.suggest_float(name, low, high, log=log)
        case Integer(name=name, low=low, high=high, log=log, step=step):
            return trial.suggest_int(name, low, high, log=log, step=1 if log else step)
        case Choice(name=name, choices=choices):
            return trial.suggest_categorical(name, choices)
    raise TypeError(f"no way to suggest {dimension!r}")


def _is_inside(distribution: BaseDistribution, value: Any) -> bool:
    try:
        return distribution._contains(distribution.to_internal_repr(value))
    except ValueError:
        return False
