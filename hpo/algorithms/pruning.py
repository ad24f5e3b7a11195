"""Pruners by rung: decide whether a running trial goes on, and record what it was compared with.

Each keeps an Optuna study of its own in memory, with values per epoch and no parameters, so that
any pruner can be combined with any way of proposing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import optuna
from optuna.study import StudyDirection
from optuna.trial import Trial

from hpo.algorithms.brackets import Bracket
from hpo.algorithms.optuna_points import StudyKeeper, quiet_optuna
from hpo.core.text import place_words
from hpo.core.trial import CONTINUE, Decision, Direction, TrialState


class Pruner(Protocol):
    """Stops trials. Called per trial: `start`, `report` after every epoch, `end`."""

    def start(self, number: int) -> None:
        """Take a trial as started."""

    def report(self, number: int, epoch: int, *, best: float, value: float) -> Decision:
        """Take an epoch (`best`: the trial's best value so far) and decide whether it goes on."""

    def end(self, number: int, state: TrialState, value: float | None) -> None:
        """Take a trial's end."""


class OptunaPruner(StudyKeeper):
    """Wraps a pruner of Optuna.

    Args:
        pruner: decides.
        direction: `maximize` or `minimize`.
        is_raw: whether it sees the value of each epoch, in place of the best so far. A pruner that
            asks whether a trial still improves needs it: the best so far never falls.
        until: the epoch from which on it is not asked any more; None asks always.
    """

    def __init__(
        self,
        pruner: optuna.pruners.BasePruner,
        direction: str,
        *,
        is_raw: bool = False,
        until: int | None = None,
    ) -> None:
        self._is_raw, self._until = is_raw, until
        quiet_optuna()
        self._sign = Direction(direction).sign
        goal = StudyDirection[Direction(direction).name]
        self._study = optuna.create_study(direction=goal, pruner=pruner, study_name="study")
        self._trials: dict[int, Trial] = {}

    def start(self, number: int) -> None:
        """Add a running trial."""
        self._study.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING))
        added = self._study.get_trials(deepcopy=False)[-1]
        self._trials[number] = Trial(self._study, added._trial_id)

    def report(self, number: int, epoch: int, *, best: float, value: float) -> Decision:
        """Ask the pruner."""
        trial = self._trials[number]
        shown = value if self._is_raw else best
        trial.report(shown, epoch)
        is_late = self._until is not None and epoch >= self._until
        if is_late or not trial.should_prune():
            return CONTINUE
        return Decision(stop=True, reason=self._why(epoch, shown))

    def end(self, number: int, state: TrialState, value: float | None) -> None:
        """Close the trial; one without a finite value has failed, and takes no place of others."""
        states, trial = optuna.trial.TrialState, self._trials[number]
        if state is TrialState.COMPLETE and value is not None and math.isfinite(value):
            self._study.tell(trial, value)
        elif state is TrialState.PRUNED:
            self._study.tell(trial, state=states.PRUNED)
        else:
            self._study.tell(trial, state=states.FAIL)
            # Successive halving compares with whatever has such a mark of a rung.
            self._study.get_trials(deepcopy=False)[trial.number].system_attrs.clear()

    def _why(self, epoch: int, best: float) -> str:
        """Say where the trial stood among those that were measured at the same epoch."""
        others = [
            trial.intermediate_values[epoch]
            for trial in self._study.get_trials(deepcopy=False)
            if epoch in trial.intermediate_values
            and trial.state is not optuna.trial.TrialState.FAIL
        ]
        ahead = sum(self._sign * value > self._sign * best for value in others)
        return place_words(ahead + 1, len(others), epoch)


class BracketPruner:
    """Hyperband: trials fill the brackets one after the other, and compete within their own.

    Args:
        brackets: of one round; after the last bracket the next round begins.
        factor: one in so many goes on at each rung.
        direction: `maximize` or `minimize`.
    """

    def __init__(self, brackets: Sequence[Bracket], factor: int, direction: str) -> None:
        self._brackets = list(brackets)
        self._places = [i for i, b in enumerate(brackets) for _ in range(b.sizes[0])]
        self._pruners = [halving(b.rungs, factor, direction) for b in brackets]
        self._bracket_of: dict[int, int] = {}

    @property
    def round_size(self) -> int:
        """How many trials one round of brackets takes."""
        return len(self._places)

    def start(self, number: int) -> None:
        """Give the trial the next place."""
        self._bracket_of[number] = self._places[len(self._bracket_of) % len(self._places)]
        self._pruner_of(number).start(number)

    def report(self, number: int, epoch: int, *, best: float, value: float) -> Decision:
        """Ask the pruner of the trial's bracket."""
        decision = self._pruner_of(number).report(number, epoch, best=best, value=value)
        if not decision.stop:
            return CONTINUE
        place = f"bracket {self._bracket_of[number] + 1} of {len(self._brackets)}"
        return Decision(stop=True, reason=f"{decision.reason} in {place}")

    def end(self, number: int, state: TrialState, value: float | None) -> None:
        """Close the trial in its bracket."""
        self._pruner_of(number).end(number, state, value)

    def peers(self, number: int) -> frozenset[int]:
        """The trials of the same bracket."""
        mine = self._bracket_of[number]
        return frozenset(n for n, bracket in self._bracket_of.items() if bracket == mine)

    def _pruner_of(self, number: int) -> OptunaPruner:
        return self._pruners[self._bracket_of[number]]


class AnyPruner:
    """Stops a trial that any of several pruners would stop; all of them see every epoch."""

    def __init__(self, *pruners: Pruner) -> None:
        self._pruners = pruners

    def start(self, number: int) -> None:
        """Start it with all."""
        for pruner in self._pruners:
            pruner.start(number)

    def report(self, number: int, epoch: int, *, best: float, value: float) -> Decision:
        """Return the first decision to stop."""
        decisions = [
            pruner.report(number, epoch, best=best, value=value) for pruner in self._pruners
        ]
        return next((decision for decision in decisions if decision.stop), CONTINUE)

    def end(self, number: int, state: TrialState, value: float | None) -> None:
        """End it with all."""
        for pruner in self._pruners:
            pruner.end(number, state, value)


def halving(rungs: Sequence[int], factor: int, direction: str) -> OptunaPruner:
    """Asynchronous successive halving; one in `factor` goes on at each rung.

    Args:
        rungs: epochs, each `factor` times the one before, but for the last: the whole trial.
        factor: see above.
        direction: `maximize` or `minimize`.
    """
    if len(rungs) == 1:
        return OptunaPruner(optuna.pruners.NopPruner(), direction)
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=rungs[0], reduction_factor=factor)
    # It knows of no last rung, and would stop trials at the next one shortly before their end.
    return OptunaPruner(pruner, direction, until=rungs[-2] * factor)
