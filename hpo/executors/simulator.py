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
    jobs: tuple[Job, ...]
    """One, or those of a batch, which share the slot."""
    epochs: Iterator[tuple[SimulatedEpoch, ...]]
    next: tuple[SimulatedEpoch, ...] = ()
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
        trained, jobs = job.start_epoch or 0, job.members or (job,)
        curves = [islice(self._replay(member), trained, None) for member in jobs]
        epochs = zip(*curves, strict=True)
        running = _Running(jobs=jobs, epochs=epochs, epoch=trained, began=self._clock)
        self._schedule(running, delay=self._overhead_s)

    def _schedule(self, running: _Running, *, delay: float = 0.0) -> None:
        """Look one epoch ahead, and wake up when it has passed."""
        running.next = next(running.epochs, ())
        lasts = max((epoch.seconds for epoch in running.next), default=0.0)
        self._order += 1
        heapq.heappush(self._events, (self._clock + delay + lasts, self._order, running))

    def _step(self, driver: TrialDriver, running: _Running) -> None:
        """Report the epoch that has just passed, or the end."""
        running.epoch += bool(running.next)
        goes_on = [
            driver.on_epoch(
                job.number,
                {"epoch": running.epoch, "value": happened.value, "seconds": happened.seconds},
            )
            for job, happened in zip(running.jobs, running.next, strict=False)
        ]
        if any(goes_on):
            self._schedule(running)
            return
        self._busy += self._clock - running.began
        for job in running.jobs:
            self.spans.append((job.number, running.began, self._clock))
            driver.on_end(job.number, Ended())
