"""An algorithm made of an Optuna sampler and a pruner, over an in-memory Optuna study.

The in-memory study is a view of the ledger: it holds nothing that replaying the ledger's changes
does not bring back. A sampler is made anew for every proposal, seeded from (study seed, trial
number), so that a restarted search proposes what an unbroken one would have (a sampler seeded once
proposes its first points again after a restart).
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import Trial

from hpo.algorithms.chooser import (
    IS_GIVEN,
    RUNS_IN_FULL,
    Chooser,
    Chosen,
    Limits,
    Observation,
)
from hpo.algorithms.narrowing import inside, narrowed
from hpo.algorithms.optuna_points import (
    StudyKeeper,
    draw_point,
    frozen_point,
    quiet_optuna,
    to_distribution,
)
from hpo.algorithms.pruning import Pruner
from hpo.algorithms.unit_points import find_untried, first_points, is_twin
from hpo.core.protocols import BackgroundAlgorithm, Emit, GroupedPruning, Narrowable
from hpo.core.seeds import derive_seed
from hpo.core.trial import (
    CONTINUE,
    Decision,
    Direction,
    Measurement,
    Suggestion,
    TrialRecord,
    TrialState,
)
from hpo.core.trial_failures import is_infeasible

if TYPE_CHECKING:
    from search_spaces import SearchSpace

logger = logging.getLogger(__name__)

SamplerFactory = Callable[[int], optuna.samplers.BaseSampler]
"""Makes a sampler from a seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How trials are proposed, and when no more are.

    Example: `Recipe(make_sampler=lambda seed: RandomSampler(seed=seed), max_trials=20)`.
    """

    make_sampler: SamplerFactory
    """Builds the sampler for one proposal from its seed."""
    num_designed: int = 0
    """Trials at the start that are spread over the space by design, so that a model begins with
    every option and the whole range of every number seen."""
    chooser: Chooser | None = None
    """Asked before the sampler, after the default and the designed start."""
    learns_from_pruned: bool = True
    """Whether the sampler reads pruned trials; else they count with their last value."""
    max_trials: int | None = None
    """Proposals after which there are no more; refused ones are not counted."""
    enough_complete: int | None = None
    """Trials trained in full, beside the default, after which there are no more."""
    can_repeat: bool = False
    """Whether trials of one configuration differ, so that it is worth while to try it again."""
    first: tuple[dict[str, Any], ...] = field(default=())
    """Latents of trials to start with, after the default one."""


class OptunaAlgorithm(StudyKeeper):
    """Proposes trials by a recipe and stops them by a pruner.

    Args:
        space: what is searched.
        recipe: how trials are proposed.
        pruner: sees the running best of a trial after each epoch; None stops no trial.
        direction: `maximize` or `minimize`.
        num_epochs: length of a full trial.
        seed: the study's seed.
        stops_by: the metric that the pruner goes by and its sign, see `Context.stops_by`.
    """

    def __init__(
        self,
        space: SearchSpace,
        recipe: Recipe,
        *,
        pruner: Pruner | None,
        direction: str,
        num_epochs: int,
        seed: int,
        stops_by: tuple[str, float] | None = None,
    ) -> None:
        quiet_optuna()
        self._space = space
        self._recipe = recipe
        self._pruner = pruner
        self._num_epochs = num_epochs
        self._seed = seed
        self._is_finite = not recipe.can_repeat and any(space.points(random.Random(0)))
        self._designed = first_points(space, recipe.num_designed, seed, recipe.first)
        self._sign = Direction(direction).sign
        goal = StudyDirection[Direction(direction).name]
        self._study = optuna.create_study(direction=goal, study_name="study")
        self._trials: dict[int, Trial] = {}
        self._seen: dict[int, Observation] = {}
        self._stops_by = stops_by
        self._best: dict[int, float] = {}
        self._best_judged: dict[int, float] = {}
        """By what the pruner goes by, which is the value where nothing else is named."""
        self._protected: set[int] = set()
        self._avoided: list[dict[str, Any]] = []
        """Points at which trials failed, where the sampler's model is of the values themselves."""
        self._outside: set[int] = set()
        """Trials of before the space was changed that do not lie in it; no chooser sees them."""
        self._num_complete = 0
        self._num_given = self._num_refused = 0
        self._limits: Limits = {}

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Every latent dimension as Optuna sees it, for the ledger."""
        return {d.name: to_distribution(d) for d in self._space.dimensions}

    def ask(self, number: int) -> Suggestion | None:
        """Propose trial `number`: the default configuration first, then the recipe's choice."""
        if self._has_ended():
            return None
        seed = derive_seed(self._seed, number)
        untried = self._untried(seed)
        if untried is None and self._is_finite:
            return None
        chosen = Chosen(latents=self._chosen_before(len(self._trials) - self._num_given))
        if chosen.latents is None and self._recipe.chooser is not None:
            seen = [o for o in self._seen.values() if o.number not in self._outside]
            made = self._recipe.chooser.choose(number, seen)
            if made is None:
                return None
            chosen = made
        limits = {**self._limits, **chosen.limits} if self._trials else {}
        trial, latents, note = self._sampled(seed, chosen.latents, limits)
        params = self._space.decode(latents)
        if untried is not None and not limits and is_twin(params, self._seen.values()):
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
            trial, latents, _ = self._sampled(seed, untried, limits)
            params, note = self._space.decode(latents), "in place of one that was tried before"
        self._take(number, trial, params, latents, chosen.memo)
        return Suggestion(
            number=number,
            params=params,
            latents=latents,
            until_epoch=self._num_epochs,
            note="; ".join(filter(None, [chosen.note, note])),
            memo=chosen.memo,
        )

    def _untried(self, seed: int) -> dict[str, Any] | None:
        """A configuration that was not tried, where they can be counted: each has its result."""
        return (
            find_untried(self._space, list(self._seen.values()), seed) if self._is_finite else None
        )

    def _sampled(
        self, seed: int, fixed: dict[str, Any] | None, limits: Limits
    ) -> tuple[Trial, dict[str, Any], str]:
        """Draw a point; where the sampler fails, at random, so that the search goes on.

        Returns:
            The trial in Optuna's view, its latents, and what went wrong.
        """
        try:
            return (*self._drawn(self._recipe.make_sampler(seed), fixed, limits), "")
        except Exception as error:
            note = f"drawn at random: the sampler failed by {type(error).__name__}: {error}"
            logger.warning("a proposal was %s", note)
            logger.debug("the traceback", exc_info=True)
        self._forget_unknown()
        return (*self._drawn(optuna.samplers.RandomSampler(seed), fixed, limits), note)

    def _drawn(
        self, sampler: optuna.samplers.BaseSampler, fixed: dict[str, Any] | None, limits: Limits
    ) -> tuple[Trial, dict[str, Any]]:
        """Let a sampler propose within limits, but for the latents that are fixed and in them."""
        space = narrowed(self._space, limits) if limits else self._space
        has_view = bool(limits or self._avoided)
        study = self._within(space) if has_view else self._study
        study.sampler = sampler
        if fixed is not None:
            study.enqueue_trial(inside(space, fixed), skip_if_exists=False)
        trial = study.ask()
        latents = draw_point(space, trial)
        return self._added(latents) if has_view else trial, latents

    def _within(self, space: SearchSpace) -> optuna.Study:
        """The trials as they look in a narrower space: a sampler draws at its ends otherwise.

        A surface needs a height where it is to be avoided: that of the worst trial.
        """
        known = {d.name: to_distribution(d) for d in space.dimensions}
        view = optuna.create_study(direction=self._study.direction)
        for trial in self._study.get_trials(deepcopy=False):
            if trial.state is not optuna.trial.TrialState.FAIL:
                view.add_trial(
                    frozen_point(
                        known,
                        trial.params,
                        state=trial.state,
                        value=trial.value,
                        reported=trial.intermediate_values,
                    )
                )
        told = [t.value for t in view.get_trials(deepcopy=False) if t.value is not None]
        if self._avoided and told:
            height = self._sign * min(self._sign * value for value in told)
            state = optuna.trial.TrialState.COMPLETE
            for latents in self._avoided:
                view.add_trial(frozen_point(known, latents, state=state, value=height))
        return view

    def _forget_unknown(self) -> None:
        """Close what a failed sampler has left half-proposed in the in-memory study."""
        states = (optuna.trial.TrialState.RUNNING,)
        known = {trial._trial_id for trial in self._trials.values()}
        for frozen in self._study.get_trials(deepcopy=False, states=states):
            if frozen._trial_id not in known:
                self._study.tell(frozen.number, state=optuna.trial.TrialState.FAIL)

    def restore(self, trial: TrialRecord) -> None:
        """Take a recorded trial as started."""
        if self._recipe.chooser is not None:
            self._recipe.chooser.restore(trial)
        latents, is_inside = self._space.refit(trial.params, trial.latents)
        params = trial.params
        if is_inside:  # without what it carries from a trial of another stage
            own = self._space.decode(latents)
            params = {name: params.get(name, value) for name, value in own.items()}
        else:
            self._outside.add(trial.number)
        self._take(trial.number, self._added(latents), params, latents, trial.memo)

    def settle(self) -> bool:
        """Wait while the chooser thinks; False when it does not."""
        chooser = self._recipe.chooser
        if chooser is None or not isinstance(chooser, BackgroundAlgorithm):
            return False
        return chooser.settle()

    def attach(self, emit: Emit) -> None:
        """Let the chooser emit events of what it does."""
        if self._recipe.chooser is not None:
            self._recipe.chooser.attach(emit)

    def narrow(self, limits: Limits) -> None:
        """Propose within these limits of dimensions from now on."""
        self._limits = dict(limits)
        chooser = self._recipe.chooser
        if chooser is not None and isinstance(chooser, Narrowable):
            chooser.narrow(limits)

    def _added(self, latents: dict[str, Any]) -> Trial:
        """Add a running trial that no sampler has chosen.

        What lies outside the space, because that was changed since, no sampler gets to see.
        """
        state = optuna.trial.TrialState.RUNNING
        self._study.add_trial(frozen_point(self.distributions, latents, state=state))
        return Trial(self._study, self._study.get_trials(deepcopy=False)[-1]._trial_id)

    def report(self, number: int, measurement: Measurement) -> Decision:
        """Take an epoch; the pruner sees the best value so far, so one bad epoch stops no trial."""
        best = self._raise(self._best, number, measurement.value)
        judged = self._judged(measurement)
        best_judged = self._raise(self._best_judged, number, judged)
        self._trials[number].report(best, measurement.epoch)
        self._see(number, value=best, epochs=measurement.epoch)
        if self._pruner is None or measurement.epoch >= self._num_epochs:
            return CONTINUE
        # A protected trial is reported too: others are compared with its rungs.
        decision = self._pruner.report(number, measurement.epoch, best=best_judged, value=judged)
        if not decision.stop or number in self._protected:
            return CONTINUE
        return Decision(stop=True, reason=decision.reason)

    def _raise(self, kept: dict[int, float], number: int, value: float) -> float:
        """Keep a value where it is a trial's best so far; return the best."""
        sign = self._sign
        kept[number] = sign * max(sign * value, sign * kept.get(number, value))
        return kept[number]

    def _judged(self, measurement: Measurement) -> float:
        """What the pruner goes by, turned so that it is better as the value is."""
        metric, sign = self._stops_by or ("", 1.0)
        value = measurement.metrics.get(metric) if metric else None
        # A rehearsal knows scores alone.
        return measurement.value if value is None else self._sign * sign * value

    def tell(self, trial: TrialRecord) -> None:
        """Take a trial's end."""
        if self._pruner is not None:
            value = trial.value
            if self._stops_by is not None:
                value = self._best_judged.get(trial.number)
            self._pruner.end(trial.number, trial.state, value)
        if self._recipe.chooser is not None:
            self._recipe.chooser.update(trial)
        error = (trial.error or {}).get("message", "")
        value = trial.value
        value = value if value is not None and math.isfinite(value) else None
        infeasible = is_infeasible(trial)
        self._num_refused += trial.is_refused
        self._see(
            trial.number, value=value, state=trial.state, error=error, is_infeasible=infeasible,
            is_refused=trial.is_refused,
        )  # fmt: skip
        brain_trial = self._trials[trial.number]
        is_full = trial.state is TrialState.COMPLETE
        is_default = trial.number == next(iter(self._trials))
        self._num_complete += is_full and not is_default and trial.epochs >= self._num_epochs
        is_told = is_full or (
            trial.state is TrialState.PRUNED and not self._recipe.learns_from_pruned
        )
        if is_told and value is not None:
            self._study.tell(brain_trial, value)
        elif trial.state is TrialState.PRUNED:
            self._study.tell(brain_trial, state=optuna.trial.TrialState.PRUNED)
        else:
            self._study.tell(brain_trial, state=optuna.trial.TrialState.FAIL)
            if infeasible:
                self._avoid(self._seen[trial.number].latents)

    def _avoid(self, latents: dict[str, Any]) -> None:
        """Let the sampler keep away from a point: one worse than any, whatever it showed before."""
        if self._recipe.learns_from_pruned:  # one without values ranks behind all others
            state = optuna.trial.TrialState.PRUNED
            self._study.add_trial(frozen_point(self.distributions, latents, state=state))
        else:
            self._avoided.append(latents)

    def peers(self, number: int) -> frozenset[int] | None:
        """Trials that one is compared with; None where that is all."""
        if self._pruner is None or not isinstance(self._pruner, GroupedPruning):
            return None
        return self._pruner.peers(number)

    def _has_ended(self) -> bool:
        recipe = self._recipe
        num_tried = len(self._trials) - self._num_refused
        if recipe.max_trials is not None and num_tried >= recipe.max_trials:
            return True
        return recipe.enough_complete is not None and self._num_complete >= recipe.enough_complete

    def _take(
        self,
        number: int,
        trial: Trial,
        params: dict[str, Any],
        latents: dict[str, Any],
        memo: Mapping[str, Any] | None,
    ) -> None:
        if not self._trials or (memo or {}).get(RUNS_IN_FULL):  # the default comes first
            self._protected.add(number)
        self._num_given += bool((memo or {}).get(IS_GIVEN))
        self._trials[number] = trial
        self._seen[number] = Observation(
            number=number, params=params, latents=latents, state=TrialState.RUNNING
        )
        if self._pruner is not None:
            self._pruner.start(number)

    def _see(self, number: int, **changes: Any) -> None:
        self._seen[number] = replace(self._seen[number], **changes)

    def _chosen_before(self, index: int) -> dict[str, Any] | None:
        """Points that no sampler chooses: the default, then those to start with, then the design.

        Those to start with and the default take the first places of the design.
        """
        return dict(self._designed[index]) if index < len(self._designed) else None
