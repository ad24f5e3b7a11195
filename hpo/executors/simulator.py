"""Runs trials on a simulated clock: hours of search replayed in seconds.

The engine, the algorithm and the ledger are the real ones; what a trainer would have reported
comes from a table of recorded curves or from a formula (`Replay`). Slots, unequal epoch times
and pauses between trials are as real as the replay makes them. The simulation has one
thread and no chance of its own, so a seed gives the same search on every machine.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from hpo.core.protocols import TrialDriver
from hpo.core.trial import Ended, Job


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedEpoch:
    """What a trainer would report after an epoch, and how long that epoch takes."""

    value: float
    seconds: float = 1.0


Replay = Callable[[Job], Iterator[SimulatedEpoch]]
"""Yields every epoch of a job from the first, whatever the search will use of it. Where a job goes
on from a checkpoint, epochs up to `job.start_epoch` take no time and are not reported."""


@dataclass(slots=True, kw_only=True)
class _Running:
    job: Job
    epochs: Iterator[SimulatedEpoch]
    next: SimulatedEpoch | None = None
    epoch: int = 0
    began: float = 0.0


class SimulatedExecutor:
    """Runs jobs in slots of a simulated clock, which the engine must read: `Engine(now=e.now)`.

    Example: two slots, trials of 3 epochs of 1 s and 2 s: trial 0 holds its slot until 3.0 and
        trial 2 follows it there; trial 1 holds the other until 6.0.

    Args:
        replay: what a job would report.
        slots: how many jobs run at once.
        overhead_s: seconds a slot needs before the first epoch of each job.
    """

    def __init__(
        self,
        replay: Replay,
        slots: int = 1,
        *,
        overhead_s: float = 0.0,
    ) -> None:
        self._replay, self._slots, self._overhead_s = replay, slots, overhead_s
        self._clock = 0.0
        self._order = 0
        self._busy = 0.0
        self._events: list[tuple[float, int, _Running]] = []
        self.spans: list[tuple[int, float, float]] = []
        """(trial, from, to) of every job that has ended, in the order of their ends."""

    def now(self) -> float:
        """The simulated time in seconds; it starts at 0."""
        return self._clock

    def busy_share(self) -> float:
        """Share of the slots' time in which a job held them; 1 before any time has passed."""
        return self._busy / (self._slots * self._clock) if self._clock else 1.0

    def run(self, driver: TrialDriver) -> None:
        """Run jobs until the driver is over and nothing runs.

        Raises:
            RuntimeError: when the driver waits although nothing runs: it would wait for ever.
        """
        while True:
            while len(self._events) < self._slots and (job := driver.next_job()) is not None:
                self._start(job)
            if not self._events:
                if driver.is_over():
                    return
                raise RuntimeError(
                    "the driver offers no job though nothing runs and it is not over"
                )
            self._clock, _, running = heapq.heappop(self._events)
            self._step(driver, running)

    def _start(self, job: Job) -> None:
        trained = job.start_epoch or 0
        epochs = islice(self._replay(job), trained, None)
        running = _Running(job=job, epochs=epochs, epoch=trained, began=self._clock)
        self._schedule(running, delay=self._overhead_s)

    def _schedule(self, running: _Running, *, delay: float = 0.0) -> None:
        """Look one epoch ahead, and wake up when it has passed."""
        running.next = next(running.epochs, None)
        lasts = 0.0 if running.next is None else running.next.seconds
        self._order += 1
        heapq.heappush(self._events, (self._clock + delay + lasts, self._order, running))

    def _step(self, driver: TrialDriver, running: _Running) -> None:
        """Report the epoch that has just passed, or the end."""
        number, happened = running.job.number, running.next
        if happened is not None:
            running.epoch += 1
            report = {
                "epoch": running.epoch,
                "value": happened.value,
                "seconds": happened.seconds,
            }
            if driver.on_epoch(number, report):
                self._schedule(running)
                return
        self._busy += self._clock - running.began
        self.spans.append((number, running.began, self._clock))
        driver.on_end(number, Ended())
