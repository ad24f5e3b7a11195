"""An algorithm made of an Optuna sampler and an Optuna pruner, over an in-memory study.

The in-memory study is a view of the ledger: it holds nothing that replaying the ledger's changes
does not bring back. A sampler is made anew for every proposal, seeded from (study seed, trial
number), so that a restarted search proposes what an unbroken one would have (a sampler seeded once
proposes its first points again after a restart).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import StudyDirection
from optuna.trial import Trial

from hpo.core.seeds import derive_seed
from hpo.core.trial import CONTINUE, Decision, Measurement, Suggestion, TrialRecord, TrialState
from search_spaces import Choice, Integer, Real

if TYPE_CHECKING:
    from search_spaces import Dimension, SearchSpace

SamplerFactory = Callable[[int], optuna.samplers.BaseSampler]
"""Makes a sampler from a seed."""


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


class OptunaAlgorithm:
    """Proposes by an Optuna sampler, stops by an Optuna pruner.

    Args:
        space: what is searched.
        make_sampler: builds the sampler for one proposal from its seed.
        pruner: judges the running best of a trial after each epoch.
        direction: `maximize` or `minimize`.
        num_epochs: length of a full trial.
        seed: the study's seed.
        num_designed: how many trials at the start are spread over the space by design, so that a
            model begins with every option and the whole range of every number seen.
        include_default: whether the first trial is the default configuration, which is never
            pruned.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        make_sampler: SamplerFactory,
        pruner: optuna.pruners.BasePruner,
        direction: str,
        num_epochs: int,
        seed: int,
        num_designed: int = 0,
        include_default: bool = True,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = space
        self._make_sampler = make_sampler
        self._num_epochs = num_epochs
        self._seed = seed
        self._include_default = include_default
        start = space.for_trial(0)
        rng = random.Random(derive_seed(seed, "design"))
        self._designed = start.design(num_designed, rng) if num_designed else []
        self._sign = 1.0 if direction == "maximize" else -1.0
        goal = StudyDirection.MAXIMIZE if direction == "maximize" else StudyDirection.MINIMIZE
        self._study = optuna.create_study(direction=goal, pruner=pruner, study_name="study")
        self._trials: dict[int, Trial] = {}
        self._best: dict[int, float] = {}
        self._protected: set[int] = set()

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Every latent dimension as Optuna sees it, for the ledger."""
        return {d.name: to_distribution(d) for d in self._space.dimensions}

    def ask(self, number: int) -> Suggestion | None:
        """Propose trial `number`: the default configuration first, then the sampler's choice."""
        seed = derive_seed(self._seed, number)
        self._study.sampler = self._make_sampler(seed)
        fixed = self._chosen_before(number, len(self._trials))
        if fixed is not None:
            self._study.enqueue_trial(fixed, skip_if_exists=False)
        trial = self._study.ask()
        latents = _draw(self._space, lambda d: _suggest(trial, d))
        self._trials[number] = trial
        return Suggestion(
            number=number,
            params=self._space.decode(latents),
            latents=latents,
            until_epoch=self._num_epochs,
        )

    def restore(self, trial: TrialRecord) -> None:
        """Take a recorded trial as started."""
        if self._include_default and not self._trials:
            self._protected.add(trial.number)
        known = self.distributions
        self._study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.RUNNING,
                params=trial.latents,
                distributions={name: known[name] for name in trial.latents},
            )
        )
        added = self._study.get_trials(deepcopy=False)[-1]
        self._trials[trial.number] = Trial(self._study, added._trial_id)

    def report(self, number: int, measurement: Measurement) -> Decision:
        """Hear an epoch; the pruner sees the best value so far, so one bad epoch stops nobody."""
        trial = self._trials[number]
        best = self._sign * max(
            self._sign * measurement.value, self._sign * self._best.get(number, measurement.value)
        )
        self._best[number] = best
        trial.report(best, measurement.epoch)
        # A protected trial is asked about too: its rungs are what the others are compared with.
        goes_on = measurement.epoch >= self._num_epochs or not trial.should_prune()
        if goes_on or number in self._protected:
            return CONTINUE
        return Decision(stop=True, reason=self._why(measurement.epoch, best))

    def tell(self, trial: TrialRecord) -> None:
        """Hear how a trial ended."""
        brain_trial = self._trials[trial.number]
        if trial.state is TrialState.COMPLETE and _is_finite(trial.value):
            self._study.tell(brain_trial, trial.value)
        elif trial.state is TrialState.PRUNED:
            self._study.tell(brain_trial, state=optuna.trial.TrialState.PRUNED)
        else:
            self._study.tell(brain_trial, state=optuna.trial.TrialState.FAIL)

    def _why(self, epoch: int, best: float) -> str:
        """Say where the trial stood among those that were measured at the same epoch."""
        others = [
            t.intermediate_values[epoch]
            for t in self._study.get_trials(deepcopy=False)
            if epoch in t.intermediate_values
        ]
        ahead = sum(self._sign * value > self._sign * best for value in others)
        return f"best {best:.4f} by epoch {epoch}: place {ahead + 1} of {len(others)} at that epoch"

    def _chosen_before(self, number: int, index: int) -> dict[str, Any] | None:
        """Points that no sampler chooses: the default, then the designed start."""
        if index == 0 and self._include_default:
            self._protected.add(number)
            return dict(self._space.encode(self._space.default()))
        return self._designed[index] if index < len(self._designed) else None


def _draw(space: SearchSpace, draw: Callable[[Dimension], Any]) -> dict[str, Any]:
    """Draw the active dimensions, parents before children."""
    latents: dict[str, Any] = {}
    for dimension in space.active_dimensions(latents):
        latents[dimension.name] = draw(dimension)
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


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
