"""Warns on low disk space; pauses the search while the disk or the quota is full.

What a trial needs is known by the largest checkpoint that any has written, or before that by the
probe: the newest one, the best one and the one that is being written beside them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from hpo.core.bytes import folder_bytes, free_bytes, render_bytes
from hpo.core.events import Continued, DiskLow, Epoch, Event, Paused, Started, TrialFinished
from hpo.core.pacing import Pacer
from hpo.core.protocols import Emit
from hpo.run.checkpoint_retention import ALL
from hpo.run.disk_errors import find_problem, out_of_room
from hpo.run.next_commands import resume_command
from hpo.run.run_dir import RunDir

T = TypeVar("T")

SPARE_BYTES = 1 << 18
"""For the ledger, logs and events, which are small."""
FILES_PER_TRIAL = 3
"""Newest, best, and the one that is being written."""
_LOW_AT = 4
"""So many times what is needed to start a trial is little enough for a warning."""
_BETTER_AT = 6
"""So many times is enough to warn anew when it is little again."""
REST_S = 0.5
LOOK_EVERY_S = 2.0
_SCARCE_WAIT_S = 30.0
LONGEST_WAIT_S = 300.0
"""Between two starts of a trial that fails for want of room although there seems to be some: the
first wait where it may be too little, and the longest anywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What may still be written."""

    bytes: int
    words: str
    """Of what, and how much, for people."""
    is_quota: bool = False


class DiskSpace:
    """Watches the disk of one run; asked by the engine before trials start, told when one failed.

    A listener too: it learns from `epoch` how large checkpoints are. It emits `disk_low` once while
    there is little left, and `paused` and `continued` around every pause.

    Args:
        run: whose disk it is.
        emit: called with what happens.
        should_stop: asked while it waits whether the user wants the search to pause.
        quota: bytes that the run directory may take.
        keep: what stays on disk, `best` or `all`.
        free: what may still be written to the disk of a folder.
        sleep: waits so many seconds.
        now: a clock in seconds that never goes back.
    """

    def __init__(
        self,
        run: RunDir,
        *,
        emit: Emit,
        should_stop: Callable[[], bool] = lambda: False,
        quota: int | None = None,
        keep: str = ALL,
        free: Callable[[Path], int] = free_bytes,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run, self._emit, self._should_stop = run, emit, should_stop
        self._quota, self._keep = quota, keep
        self._free, self._sleep, self._now = free, sleep, now
        self.on_waited: Callable[[float], None] = lambda _seconds: None
        """Told how long the driver stood still, which no budget is charged for."""
        self.make_room: Callable[[], None] = lambda: None
        """Called before the search would wait: removes what is useless and still there."""
        self.why = ""
        """Why the search waits; empty while it does not."""
        self._largest = 0
        self._enough = math.inf
        """With so much free there is more than when a trial found too little: no need to wait."""
        self._disk_failures: dict[int, int] = {}
        self._not_before = self._look_again = 0.0
        self._used, self._pacer = 0, Pacer(now)
        self._is_low = False

    # What is there, and what is needed -----------------------------------------------------------

    def expect(self, checkpoint_bytes: int) -> None:
        """Reckon with checkpoints of this size at least, until one was written."""
        self._largest = max(self._largest, checkpoint_bytes)

    def needed(self, running: int = 0) -> int:
        """Bytes that must be free for one more trial to start beside others."""
        return SPARE_BYTES + self._largest * (FILES_PER_TRIAL + running)

    def left(self, place: Path | None = None) -> Left:
        """What may still be written, by the disk or by the quota, whichever is less.

        Args:
            place: a folder on the disk; None means the run, which the quota is for.
        """
        place = place or self._run.path
        free = self._free(place)
        found = Left(bytes=free, words=f"the disk of {place} has {render_bytes(free)} free")
        if self._quota is None or place != self._run.path:
            return found
        used = self._use()
        if self._quota - used >= free:
            return found
        words = (
            f"{self._run} takes {render_bytes(used)} of its quota of {render_bytes(self._quota)}"
        )
        return Left(bytes=max(0, self._quota - used), words=words, is_quota=True)

    def _use(self) -> int:
        """What the run directory takes, as of a moment ago; longer where it takes long to walk."""
        if self._pacer.is_due(LOOK_EVERY_S):
            with self._pacer.timed():
                self._used = folder_bytes(self._run.path)
        return self._used

    # Listening -----------------------------------------------------------------------------------

    def handle(self, event: Event) -> None:
        """Learn how large checkpoints are, and warn once while little is left."""
        if isinstance(event, Epoch):
            self._disk_failures.pop(event.trial, None)
            self._enough = self._enough if self._disk_failures else math.inf
            self._look_at(self._run.checkpoints_dir(event.trial))
        elif isinstance(event, Started):
            for folder in self._run.path.glob("trials/[0-9]*/ckpt"):
                self._look_at(folder)
        if isinstance(event, Epoch | Started | TrialFinished):
            self._warn()

    def close(self) -> None:
        """Nothing is held."""

    def _look_at(self, folder: Path) -> None:
        for path in folder.glob("*.ckpt") if folder.is_dir() else ():
            try:
                self._largest = max(self._largest, path.lstat().st_size)
            except OSError:
                continue

    def is_little(self) -> bool:
        """Whether what is left is worth a warning."""
        return self.left().bytes < _LOW_AT * self.needed()

    def _warn(self) -> None:
        left, needed = self.left(), self.needed()
        if left.bytes >= _BETTER_AT * needed:
            self._is_low = False
        elif left.bytes < _LOW_AT * needed and not self._is_low and not self.why:
            self._is_low = True
            self._emit(DiskLow(free_bytes=left.bytes, needed_bytes=needed, text=self._low(left)))

    def _low(self, left: Left) -> str:
        """How long it will last, and what helps."""
        each = f"a trial needs {render_bytes(self.needed())} to start"
        helps = "make room"
        if self._keep == ALL:
            more = max(0, left.bytes - SPARE_BYTES) // max(1, 2 * self._largest)
            each += f" and leaves up to {render_bytes(2 * self._largest)}, so {more} more may fit"
            command = resume_command(self._run, "--keep best")
            helps = f"make room, or stop and go on with `{command}`"
        if left.is_quota:
            helps += ", or stop and go on with a larger --disk-quota"
        return f"{left.words}; {each}; {helps}"

    # Pausing -------------------------------------------------------------------------------------

    def is_short(self, running: int = 0) -> bool:
        """Whether no trial may start now; says so when that begins and when it is over."""
        now = self._now()
        if self.why and now < self._look_again:
            return True
        left, needed = self.left(), self.needed(running)
        if left.bytes < needed and not self.why:
            self.make_room()
            left = self.left()
        has_waited = now >= self._not_before or left.bytes >= self._enough
        if left.bytes >= needed and has_waited:
            self._go_on(left)
            return False
        self._look_again = now + LOOK_EVERY_S
        self._pause(f"{left.words}, and a trial needs {render_bytes(needed)} to start", left)
        return True

    def is_disk_failure(self, number: int, failure: Mapping[str, str]) -> bool:
        """Whether a trial failed for want of room alone; the search then waits for some.

        Where there seems to be enough (a quota of the user's, another disk, room that somebody made
        before this was told), the trial is started again after a while all the same, and after
        twice as long when it fails in the same way.
        """
        told, free = failure["message"], self._free(self._run.path)
        problem = find_problem(self._run.trial_dir(number), told)
        is_lost = failure["kind"] == "infrastructure" and free < self._largest + SPARE_BYTES
        if not is_lost and (problem is None or not problem.is_room):
            return False
        self._disk_failures[number] = self._disk_failures.get(number, 0) + 1
        is_scarce = free < self.needed() * _LOW_AT  # it may want more than that
        wait = _SCARCE_WAIT_S if is_scarce else LOOK_EVERY_S
        wait = min(LONGEST_WAIT_S, wait * 2.0 ** (self._disk_failures[number] - 1))
        self._not_before = self._now() + wait
        self._enough = free + SPARE_BYTES if is_scarce else math.inf
        self._pause(f"trial {number} found no room: {told}", self.left())
        return True

    def is_full(self, error: OSError) -> bool:
        """Whether a write of the driver's failed for want of room; the search then waits."""
        words = out_of_room(error, is_short=True)
        if words:
            self._not_before = self._now() + LOOK_EVERY_S
            self._pause(f"the disk of {self._run} is full: {words}", self.left())
        return bool(words)

    def rest(self) -> None:
        """Let a moment of a pause pass."""
        self._sleep(REST_S)

    def wait_for_space(self, work: Callable[[], T], place: Path | None = None) -> T:
        """Do something that writes, again and again until the disk has room for it.

        What fails otherwise, or when the user wants to stop, is raised, and that the run is gone.

        Args:
            work: does it.
            place: where it is written; None means the run.
        """
        place = place or self._run.path
        began: float | None = None
        while True:
            try:
                result = work()
                break
            except Exception as error:
                self._run.demand_here()
                is_short = self._free(place) < SPARE_BYTES
                words = out_of_room(error, is_short=is_short)
                if not words:
                    raise
                began = self._now() if began is None else began
                self._pause(f"the disk of {place} is full: {words}", self.left(place))
                if not self._wait():
                    raise
        if began is not None:
            waited_s = self._now() - began
            self.on_waited(waited_s)
            self._go_on(self.left(place), waited_s)
        return result

    def _wait(self) -> bool:
        """Wait until it is worth another try; False when the user wants to stop."""
        until = self._now() + LOOK_EVERY_S
        while self._now() < until:
            if self._should_stop():
                return False
            self.rest()
        return not self._should_stop()

    def _pause(self, why: str, left: Left) -> None:
        if self.why:
            return
        self.why = why
        words = ["--keep best"] if self._keep == ALL else []
        words += ["--disk-quota SIZE"] if left.is_quota else []
        text = (
            f"{why}; the search goes on by itself when there is room; Ctrl-C stops, "
            f"`{resume_command(self._run, *words)}` goes on later"
        )
        self._emit(Paused(text=text, free_bytes=left.bytes, needed_bytes=self.needed()))

    def _go_on(self, left: Left, waited_s: float = 0.0) -> None:
        if not self.why:
            return
        self.why = ""
        text = f"there is room again: {left.words}"
        self._emit(Continued(text=text, free_bytes=left.bytes, waited_s=round(waited_s, 3)))
