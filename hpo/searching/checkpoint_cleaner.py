"""Removes checkpoints of losing trials during the search (`keep: best`)."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection

from hpo.core.events import (
    Averaged,
    CheckpointsRemoved,
    Chosen,
    Event,
    Exported,
    Started,
    TrialEnded,
)
from hpo.core.pacing import Pacer
from hpo.core.protocols import Algorithm, Emit
from hpo.core.trial import TrialRecord
from hpo.results.average import best_trained, is_averaged
from hpo.results.confirm import was_compared
from hpo.results.model_costs import pareto, read_costs
from hpo.run.checkpoint_retention import ALL, needed_trials, remove_checkpoints, start_points_of
from hpo.run.ledger import Ledger
from hpo.run.run_dir import RunDir

logger = logging.getLogger(__name__)

MOMENTS = (Started, TrialEnded, Chosen, Averaged, Exported)
"""Events after which checkpoints may have become useless; results are on disk by then."""
WRITES_S = 60.0
"""A stopped trial's worker may still write a checkpoint for so long after the trial has ended."""
LOOKS_EVERY_S = 1.0
"""A trial is looked at no more often: where trials are short, many of them may still write."""


class Keeper:
    """A listener that keeps what can still be asked for, and removes the other checkpoints.

    What it removes is decided anew from the ledger each time, so a kill anywhere costs nothing.

    Args:
        run: where the checkpoints lie.
        ledger: the study.
        algorithm: names the trials that it may start others from.
        keep: `best` or `all`.
        confirm: how many finalists are trained again.
        averages: whether the best trials are averaged at the end.
        emit: receives `CheckpointsRemoved`.
        now: a clock in seconds that never goes back.
    """

    def __init__(
        self,
        run: RunDir,
        ledger: Ledger,
        algorithm: Algorithm,
        *,
        keep: str,
        confirm: int,
        averages: bool = False,
        emit: Emit,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now = now
        self._run, self._ledger, self._algorithm = run, ledger, algorithm
        self._keep, self._confirm, self._emit = keep, confirm, emit
        self._averages = averages
        self.also: Callable[[list[TrialRecord]], Collection[int]] = lambda _trials: ()
        """What else is asked for, among these trials."""
        self.is_scarce: Callable[[], bool] = lambda: False
        """Whether there is too little room for what is useless to wait until it is looked for."""
        self._pacer = Pacer(now)
        self._removed_at: dict[int, float] = {}
        """When something of a trial was last removed."""
        self._looked_at: dict[int, float] = {}
        self._gone: set[int] = set()
        self._is_refused = False

    def handle(self, event: Event) -> None:
        """Remove after an end; of trials in a large search not after each, which takes long."""
        if isinstance(event, Exported):  # no worker trains any more, whatever was late is there
            self._gone.clear()
            self._looked_at.clear()
        is_awaited = not isinstance(event, TrialEnded) or self._pacer.is_due() or self.is_scarce()
        if isinstance(event, MOMENTS) and is_awaited:
            self.sweep()

    def close(self) -> None:
        """Nothing is held."""

    def sweep(self) -> None:
        """Remove the checkpoints that nothing can need any more."""
        if self._keep != ALL:
            with self._pacer.timed():
                self._sweep()

    def _sweep(self) -> None:
        needed = needed_trials(
            self._ledger.trials(),
            self._ledger.direction,
            confirm=self._confirm,
            start_points=start_points_of(self._algorithm),
            compared=lambda repeat: was_compared(self._run, repeat.number),
            also=self._asked_for,
        )
        now = self._now()
        useless = {trial.number for trial in self._ledger.trials()} - needed - self._gone
        for number in sorted(useless):
            if now - self._looked_at.get(number, -math.inf) >= LOOKS_EVERY_S:
                self._looked_at[number] = now
                self._remove(number, now)

    def _asked_for(self, trials: list[TrialRecord]) -> Collection[int]:
        """Those that are to be averaged, and the best of every architecture on the front.

        No cheaper architecture beats one of the front: people choose among them.
        """
        direction = self._ledger.direction
        rows = pareto(trials, read_costs(self._run), direction)
        front = [*self.also(trials), *(row["trial"] for row in rows if row["on_front"])]
        if not self._averages or is_averaged(self._run, trials, direction):
            return front
        return [*front, *(trial.number for trial in best_trained(trials, direction))]

    def _remove(self, number: int, now: float) -> None:
        try:
            freed = remove_checkpoints(self._run, number)
        except OSError as error:
            if not self._is_refused:
                logger.warning("trial %d: its checkpoints were not removed: %s", number, error)
            self._is_refused = True
            return
        if freed is not None:
            self._removed_at[number] = now
        elif now - self._removed_at.get(number, -math.inf) > WRITES_S:
            self._gone.add(number)
        if freed:
            self._emit(CheckpointsRemoved(trial=number, bytes=freed))
