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

from hpo.core.protocols import TrialDriver
from hpo.core.trial import Ended, Launch


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedEpoch:
    """What a trainer would report after an epoch, and how long it took since the last report."""

    value: float
    seconds: float = 1.0
    epoch: int | None = None
    """Which one it is, where not each is validated; None: the next one."""

    def after(self, before: int) -> int:
        """The epoch that it is, behind one that was reported."""
        return before + 1 if self.epoch is None else self.epoch


def _behind(trained: int, epochs: Iterator[SimulatedEpoch]) -> Iterator[SimulatedEpoch]:
    """Those after the ones that were trained before."""
    epoch = 0
    for each in epochs:
        epoch = each.after(epoch)
        if epoch > trained:
            yield each


Replay = Callable[[Launch], Iterator[SimulatedEpoch]]
"""Yields every epoch of a trial that is validated from the first, whatever the search will use of
it. Where it goes on from a checkpoint, those up to `launch.start_epoch` are not reported."""


@dataclass(slots=True, kw_only=True)
class _Running:
    launches: tuple[Launch, ...]
    """One, or those of a batch, which share the slot."""
    epochs: Iterator[tuple[SimulatedEpoch, ...]]
    next: tuple[SimulatedEpoch, ...] = ()
    epoch: int = 0
    began: float = 0.0


class SimulatedExecutor:
    """Runs trials in slots of a simulated clock, which the engine must read: `Engine(now=e.now)`.

    Example: two slots, trials of 3 epochs of 1 s and 2 s: trial 0 holds its slot until 3.0 and
        trial 2 follows it there; trial 1 holds the other until 6.0.

    Args:
        replay: what a trial would report.
        slots: how many trials, or batches, run at once.
        overhead_s: seconds a slot needs before the first epoch of each trial.
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
        self._room, self._since = 0.0, 0.0
        """Time of all slots until their number was changed, and when that was."""
        self._events: list[tuple[float, int, _Running]] = []
        self.spans: list[tuple[int, float, float]] = []
        """(trial, from, to) of every launch that has ended, in the order of their ends."""

    def now(self) -> float:
        """The simulated time in seconds; it starts at 0."""
        return self._clock

    def busy_share(self) -> float:
        """Share of the slots' time in which a trial held them; 1 before any time has passed."""
        room = self._room + self._slots * (self._clock - self._since)
        return self._busy / room if room else 1.0

    def widen(self, slots: int) -> None:
        """Let so many trials, or batches, run at once from now on."""
        self._room += self._slots * (self._clock - self._since)
        self._slots, self._since = slots, self._clock

    def run(self, driver: TrialDriver) -> None:
        """Run trials until the driver is over and nothing runs.

        Raises:
            RuntimeError: when the driver waits although nothing runs: it would wait for ever.
        """
        while True:
            while len(self._events) < self._slots and (launch := driver.next_launch()) is not None:
                self._start(launch)
            if not self._events:
                if driver.is_over():
                    return
                raise RuntimeError(
                    "the driver starts nothing though nothing runs and it is not over"
                )
            self._clock, _, running = heapq.heappop(self._events)
            self._step(driver, running)

    def _start(self, launch: Launch) -> None:
        trained, launches = launch.start_epoch or 0, launch.members or (launch,)
        curves = [_behind(trained, self._replay(member)) for member in launches]
        epochs = zip(*curves, strict=True)
        running = _Running(launches=launches, epochs=epochs, epoch=trained, began=self._clock)
        self._schedule(running, delay=self._overhead_s)

    def _schedule(self, running: _Running, *, delay: float = 0.0) -> None:
        """Look one epoch ahead, and wake up when it has passed."""
        running.next = next(running.epochs, ())
        lasts = max((epoch.seconds for epoch in running.next), default=0.0)
        self._order += 1
        heapq.heappush(self._events, (self._clock + delay + lasts, self._order, running))

    def _step(self, driver: TrialDriver, running: _Running) -> None:
        """Report the epoch that has just passed, or the end."""
        if running.next:
            running.epoch = running.next[0].after(running.epoch)
        goes_on = [
            driver.on_epoch(
                launch.number,
                {"epoch": running.epoch, "value": happened.value, "seconds": happened.seconds},
            )
            for launch, happened in zip(running.launches, running.next, strict=False)
        ]
        if any(goes_on):
            self._schedule(running)
            return
        self._busy += self._clock - running.began
        for launch in running.launches:
            self.spans.append((launch.number, running.began, self._clock))
            driver.on_end(launch.number, Ended())
