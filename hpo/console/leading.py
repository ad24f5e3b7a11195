"""Which trial leads a search, and how far ahead of the default it is, counted from events."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpo.core.selection import leader, repeat_values
from hpo.core.trial import (
    ONLY_STAGE,
    Direction,
    Measurement,
    Purpose,
    TrialRecord,
    TrialStage,
    TrialState,
)
from hpo.core.trial_row import TrialRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The best value so far."""

    value: float
    trial: int
    epoch: int = 0
    """By which it was measured."""
    repeats: int = 0
    """Over how many it is the mean; 0 for the value of a trial's own run."""


class Leading:
    """Keeps the trials of the last stage and their repeats; they are ranked as the ledger's are.

    It may be asked in another thread than that of the events.
    """

    def __init__(self) -> None:
        self.direction = Direction.MAXIMIZE
        self._trials: dict[int, TrialRecord] = {}
        self._defaults: list[TrialRecord] = []
        """Those of the default configuration; the first trial is one."""
        self._changes = 0
        self._found: tuple[int, Best | None] = (0, None)
        """After how many changes the best was looked for, and what it was."""

    def take(self, row: TrialRow) -> None:
        """Take up a trial of an earlier start, of which the best value and the last are known."""
        self.begin(row.trial, row.params, row.purpose, row.stage)
        if row.value is not None:
            for epoch in dict.fromkeys((row.best_epoch or row.epoch, row.epoch)):
                self.measure(row.trial, epoch, row.value)
        self.end(row.trial, row.state)

    def begin(
        self,
        number: int,
        params: Mapping[str, Any],
        purpose: Purpose,
        stage: TrialStage | None,
    ) -> None:
        """Take a trial that starts, or goes on; those of earlier stages are left out."""
        if number not in self._trials and not (stage or ONLY_STAGE).left:
            record = TrialRecord(
                number=number, state=TrialState.RUNNING, params=dict(params), latents={},
                until_epoch=0, purpose=purpose, stage=stage or ONLY_STAGE,
            )  # fmt: skip
            self._trials[number] = record
            first = self._trials.get(0)
            if first is not None and not record.is_repeat and record.is_twin_of(first):
                self._defaults.append(record)

    def measure(self, number: int, epoch: int, value: float) -> None:
        """Take an epoch."""
        if record := self._trials.get(number):
            record.measurements.append(Measurement(epoch=epoch, value=value))
            self._changes += 1

    def end(self, number: int, state: TrialState) -> None:
        """Take the end of a trial."""
        if record := self._trials.get(number):
            record.state = state
            self._changes += 1

    @property
    def ended_repeats(self) -> int:
        """Repeats that were trained to their end."""
        done = (t.state is TrialState.COMPLETE for t in self._known() if t.is_repeat)
        return sum(done)

    @property
    def best(self) -> Best | None:
        """What `hpo status` names, too."""
        changes = self._changes
        known, best = self._found
        if known != changes:
            best = self._best()
            self._found = (changes, best)
        return best

    def _known(self) -> list[TrialRecord]:
        return list(self._trials.values())

    def _best(self) -> Best | None:
        first, values = leader(self._known(), self.direction)
        own = None if first is None else first.best_measurement(self.direction)
        if first is None or own is None:
            return None
        value = statistics.fmean(values) if values else own.value
        return Best(value=value, trial=first.number, epoch=first.epochs, repeats=len(values))

    def gain(self) -> float | None:
        """How much better the best is than the default configuration was by the same epoch."""
        best, defaults = self.best, list(self._defaults)
        if best is None or any(t.number == best.trial for t in defaults):
            return None
        if not best.repeats:
            return self.gain_of(best.value, best.epoch)
        trials = self._known()
        found = (repeat_values(t, trials, self.direction)[: best.repeats] for t in defaults)
        own = next((values for values in found if values), None)
        return best.value - statistics.fmean(own) if own else None

    def gain_of(self, value: float, epoch: int) -> float | None:
        """How much better a value is than the default's best by that epoch; None if unknown."""
        able = [
            t for t in list(self._defaults) if t.measurements and t.state is not TrialState.FAILED
        ]
        if not any(t.measurements[0].epoch <= epoch <= t.epochs for t in able):
            return None
        by_then = [m.value for t in able for m in t.measurements if m.epoch <= epoch]
        return value - self.direction.best(by_then)
