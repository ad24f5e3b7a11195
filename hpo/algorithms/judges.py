"""Pruners by rung: decide whether a running trial goes on, and record what it was compared with.

A judge is a view of its own on the trials: an Optuna study in memory that holds values per epoch
and no parameters, so that any pruner can stand beside any way of proposing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import optuna
from optuna.study import StudyDirection
from optuna.trial import Trial

from hpo.algorithms.brackets import Bracket
from hpo.core.trial import TrialState


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a judge says of a trial at an epoch."""

    stop: bool
    reason: str = ""


GOES_ON = Verdict(stop=False)


class Judge(Protocol):
    """Stops trials; hears of each once: `start`, `report` per epoch, `end`."""

    def start(self, number: int) -> None:
        """Take a trial as started."""

    def report(self, number: int, epoch: int, *, best: float, value: float) -> Verdict:
        """Hear an epoch: the best value of the trial so far, and the epoch's own."""

    def end(self, number: int, state: TrialState, value: float | None) -> None:
        """Hear how a trial ended."""


class PrunerJudge:
    """An Optuna pruner as a judge.

    Args:
        pruner: decides.
        direction: `maximize` or `minimize`.
        is_raw: whether it sees the value of each epoch, in place of the best so far. A pruner that
            asks whether a trial still improves needs it: the best so far never falls.
    """

    def __init__(
        self, pruner: optuna.pruners.BasePruner, direction: str, *, is_raw: bool = False
    ) -> None:
        self._is_raw = is_raw
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._sign = 1.0 if direction == "maximize" else -1.0
        goal = StudyDirection.MAXIMIZE if direction == "maximize" else StudyDirection.MINIMIZE
        self._study = optuna.create_study(direction=goal, pruner=pruner, study_name="study")
        self._trials: dict[int, Trial] = {}

    def start(self, number: int) -> None:
        """Add a running trial."""
        self._study.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING))
        added = self._study.get_trials(deepcopy=False)[-1]
        self._trials[number] = Trial(self._study, added._trial_id)

    def report(self, number: int, epoch: int, *, best: float, value: float) -> Verdict:
        """Ask the pruner."""
        trial = self._trials[number]
        shown = value if self._is_raw else best
        trial.report(shown, epoch)
        if not trial.should_prune():
            return GOES_ON
        return Verdict(stop=True, reason=self._why(epoch, shown))

    def end(self, number: int, state: TrialState, value: float | None) -> None:
        """Close the trial; one without a finite value has failed."""
        states = optuna.trial.TrialState
        if state is TrialState.COMPLETE and value is not None and math.isfinite(value):
            self._study.tell(self._trials[number], value)
        elif state is TrialState.PRUNED:
            self._study.tell(self._trials[number], state=states.PRUNED)
        else:
            self._study.tell(self._trials[number], state=states.FAIL)

    def _why(self, epoch: int, best: float) -> str:
        """Say where the trial stood among those that were measured at the same epoch."""
        others = [
            trial.intermediate_values[epoch]
            for trial in self._study.get_trials(deepcopy=False)
            if epoch in trial.intermediate_values
        ]
        ahead = sum(self._sign * value > self._sign * best for value in others)
        return f"best {best:.4f} by epoch {epoch}: place {ahead + 1} of {len(others)} at that epoch"


class BracketJudge:
    """Hyperband: trials fill the brackets one after the other, and compete within their own.

    Args:
        brackets: of one round; after the last bracket the next round begins.
        factor: one in so many goes on at each rung.
        direction: `maximize` or `minimize`.
    """

    def __init__(self, brackets: Sequence[Bracket], factor: int, direction: str) -> None:
        self._brackets = list(brackets)
        self._places = [i for i, b in enumerate(brackets) for _ in range(b.sizes[0])]
        self._judges = [_halving(b, factor, direction) for b in brackets]
        self._bracket_of: dict[int, int] = {}

    @property
    def round_size(self) -> int:
        """How many trials one round of brackets takes."""
        return len(self._places)

    def start(self, number: int) -> None:
        """Give the trial the next place."""
        self._bracket_of[number] = self._places[len(self._bracket_of) % len(self._places)]
        self._judge(number).start(number)

    def report(self, number: int, epoch: int, *, best: float, value: float) -> Verdict:
        """Ask the bracket's own judge."""
        verdict = self._judge(number).report(number, epoch, best=best, value=value)
        if not verdict.stop:
            return GOES_ON
        place = f"bracket {self._bracket_of[number] + 1} of {len(self._brackets)}"
        return Verdict(stop=True, reason=f"{verdict.reason} in {place}")

    def end(self, number: int, state: TrialState, value: float | None) -> None:
        """Close the trial in its bracket."""
        self._judge(number).end(number, state, value)

    def peers(self, number: int) -> frozenset[int]:
        """The trials of the same bracket."""
        mine = self._bracket_of[number]
        return frozenset(n for n, bracket in self._bracket_of.items() if bracket == mine)

    def _judge(self, number: int) -> PrunerJudge:
        return self._judges[self._bracket_of[number]]


class EitherJudge:
    """Stops a trial that any of several judges would stop; all of them hear everything."""

    def __init__(self, *judges: Judge) -> None:
        self._judges = judges

    def start(self, number: int) -> None:
        """Tell all."""
        for judge in self._judges:
            judge.start(number)

    def report(self, number: int, epoch: int, *, best: float, value: float) -> Verdict:
        """Return the first verdict to stop."""
        verdicts = [judge.report(number, epoch, best=best, value=value) for judge in self._judges]
        return next((verdict for verdict in verdicts if verdict.stop), GOES_ON)

    def end(self, number: int, state: TrialState, value: float | None) -> None:
        """Tell all."""
        for judge in self._judges:
            judge.end(number, state, value)


def _halving(bracket: Bracket, factor: int, direction: str) -> PrunerJudge:
    from optuna.pruners import NopPruner, SuccessiveHalvingPruner

    pruner: optuna.pruners.BasePruner = NopPruner()
    if len(bracket.rungs) > 1:
        pruner = SuccessiveHalvingPruner(min_resource=bracket.rungs[0], reduction_factor=factor)
    return PrunerJudge(pruner, direction)
