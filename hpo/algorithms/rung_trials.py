"""Successive halving in which every rung of a configuration is a trial of its own.

For trainers that tell one value at their end, and for callers that submit jobs and report results.
Such a rung trial trains until its rung's epoch and starts from the checkpoint of the rung before,
so nothing is trained twice. A proposer (an `OptunaAlgorithm` without a pruner) chooses
configurations; a policy says which of them go on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Protocol

from hpo.algorithms.pruning import Pruner
from hpo.algorithms.rung_policies import Climber, Policy
from hpo.algorithms.unit_points import again
from hpo.core.protocols import Algorithm, Emit, EventSource, Narrowable, OptunaView
from hpo.core.trial import (
    CONTINUE,
    Decision,
    Direction,
    Measurement,
    Suggestion,
    TrialRecord,
    TrialState,
)

DEFAULT = -1
"""Stands for the bracket of the default configuration, which is in none."""


class Proposer(Algorithm, OptunaView, Protocol):
    """Chooses configurations: an algorithm that knows what its latents mean to Optuna."""


class RungTrials:
    """Runs a proposer's configurations up the rungs of a policy.

    The first one is the default, which one trial trains in full; it takes part in no bracket.

    Example: rungs (1, 3), quota one in three: `ask(0..2)` propose three configurations until epoch
    1; with their values told, `ask(3)` returns the best of them until epoch 3, `start_from=(n, 1)`.

    Args:
        proposer: chooses configurations and stops none.
        policy: says who goes on.
        direction: `maximize` or `minimize`.
        early: may end a trial between two rungs.
        num_epochs: length of a full trial.
    """

    def __init__(
        self,
        proposer: Proposer,
        policy: Policy,
        *,
        direction: str,
        num_epochs: int,
        early: Pruner | None = None,
    ) -> None:
        self._proposer, self._policy, self._early = proposer, policy, early
        self._sign = Direction(direction).sign
        self._num_epochs = num_epochs
        self._climbers: list[Climber] = []
        self._by_trial: dict[int, Climber] = {}
        self._best: dict[int, float] = {}
        self._proposals: dict[int, TrialRecord] = {}

    @property
    def distributions(self) -> Mapping[str, Any] | None:
        """The proposer's."""
        return self._proposer.distributions

    def attach(self, emit: Emit) -> None:
        """Let the proposer emit events of what it does."""
        if isinstance(self._proposer, EventSource):
            self._proposer.attach(emit)

    def narrow(self, limits: Mapping[str, tuple[float, float]]) -> None:
        """Narrow what the proposer proposes, where it can."""
        if isinstance(self._proposer, Narrowable):
            self._proposer.narrow(limits)

    def start_points(self) -> Collection[int]:
        """The newest trials of configurations that wait at a rung, or go on to the next."""
        able = [c for c in self._climbers if c.bracket != DEFAULT]
        if self._policy.is_enough(able):
            return ()
        return [c.latest for c in able if c.state in ("waiting", "going")]

    def ask(self, number: int) -> Suggestion | None:
        """Return the next rung of a configuration that goes on, else a new configuration."""
        if self._policy.is_enough([c for c in self._climbers if c.bracket != DEFAULT]):
            return None
        going = [c for c in self._climbers if c.state == "going"]
        if going:
            climber = max(going, key=lambda c: (c.rung, -c.number))
            return self._climb(number, climber)
        bracket = self._next_bracket()
        suggestion = None if bracket is None else self._proposer.ask(number)
        if suggestion is None or bracket is None:
            return None
        self._enter(number, bracket, suggestion.params, suggestion.latents)
        return replace(suggestion, until_epoch=self._rungs(bracket)[0])

    def restore(self, trial: TrialRecord) -> None:
        """Take a recorded trial as started."""
        if trial.start_from is not None:
            climber = self._by_trial[trial.start_from[0]]
            self._move(trial.number, climber)
            return
        bracket = self._next_bracket()
        if bracket is None:
            raise ValueError(f"trial {trial.number}: no bracket has room for it")
        self._proposer.restore(trial)
        self._enter(trial.number, bracket, trial.params, trial.latents)

    def report(self, number: int, measurement: Measurement) -> Decision:
        """Take an epoch into account; a trial ends by itself at its rung."""
        climber = self._by_trial[number]
        value = self._sign * measurement.value
        best = max(value, self._best.get(climber.number, value))
        self._best[climber.number] = best
        self._proposer.report(climber.number, measurement)
        if self._early is None:
            return CONTINUE
        decision = self._early.report(
            climber.number, measurement.epoch, best=self._sign * best, value=measurement.value
        )
        is_last = measurement.epoch >= self._rungs(climber.bracket)[climber.rung]
        if not decision.stop or is_last or climber.bracket == DEFAULT:
            return CONTINUE
        return Decision(stop=True, reason=decision.reason)

    def tell(self, trial: TrialRecord) -> None:
        """Take the end of a trial into account: its configuration waits, is through, or is out."""
        climber = self._by_trial[trial.number]
        best = self._best.get(climber.number)
        if trial.state is TrialState.COMPLETE and best is not None:
            climber.values.append(best)
            is_last = climber.rung + 1 == len(self._rungs(climber.bracket))
            climber.state = "done" if is_last else "waiting"
        else:
            climber.state = "dropped" if trial.state is TrialState.PRUNED else "failed"
        if climber.state == "waiting":
            self._tell_of_rung(climber)
        waiting = [c for c in self._climbers if c.state == "waiting"]
        self._policy.settle([c for c in self._climbers if c.bracket != DEFAULT])
        for other in (climber, *waiting):
            self._close(other, trial, is_told=other in waiting)

    def _next_bracket(self) -> int | None:
        """Where the next new configuration belongs; the default one stands beside the brackets."""
        return self._policy.bracket_for(len(self._climbers) - 1) if self._climbers else DEFAULT

    def _rungs(self, bracket: int) -> tuple[int, ...]:
        return (self._num_epochs,) if bracket == DEFAULT else self._policy.rungs(bracket)

    def _enter(
        self, number: int, bracket: int, params: dict[str, Any], latents: dict[str, Any]
    ) -> None:
        climber = Climber(number=number, bracket=bracket, latest=number)
        self._climbers.append(climber)
        self._by_trial[number] = climber
        self._proposals[number] = TrialRecord(
            number=number,
            state=TrialState.RUNNING,
            params=params,
            latents=latents,
            until_epoch=self._rungs(bracket)[-1],
        )
        if self._early is not None:
            self._early.start(number)

    def _climb(self, number: int, climber: Climber) -> Suggestion:
        rungs = self._rungs(climber.bracket)
        start_from = (climber.latest, rungs[climber.rung])
        self._move(number, climber)
        return again(number, self._proposals[climber.number], rungs[climber.rung], start_from)

    def _tell_of_rung(self, climber: Climber) -> None:
        """Let the proposer learn from a configuration that waits; it is taken up again to climb."""
        value = self._sign * climber.values[-1]
        record = self._proposals[climber.number]
        self._proposer.tell(replace(record, state=TrialState.PRUNED, value=value))

    def _move(self, number: int, climber: Climber) -> None:
        self._proposer.restore(self._proposals[climber.number])
        climber.latest, climber.state = number, "running"
        climber.rung += 1
        self._by_trial[number] = climber

    def _close(self, climber: Climber, trial: TrialRecord, *, is_told: bool) -> None:
        """Report a configuration that has come to its end to the proposer, unless it knows."""
        ends = {
            "done": TrialState.COMPLETE,
            "dropped": TrialState.PRUNED,
            "failed": TrialState.FAILED,
        }
        record = self._proposals[climber.number]
        if climber.state not in ends or record.state.is_finished:
            return
        record.state = ends[climber.state]
        best = self._best.get(climber.number)
        has_value = best is not None and record.state is not TrialState.FAILED
        record.value = self._sign * best if has_value and best is not None else None
        record.error = trial.error if climber is self._by_trial[trial.number] else None
        if record.state is TrialState.COMPLETE:  # trained in full, over all of its trials
            last = Measurement(epoch=record.until_epoch, value=record.value or 0.0)
            record.measurements = [last]
        if not is_told:
            self._proposer.tell(record)
        if self._early is not None:
            self._early.end(climber.number, record.state, record.value)
