"""Rows of a set that the processes that wait for it compute along with the one that builds it.

The builder goes through the parts from the front, the others from the back. A part is computed by
whoever holds its lock, which the system drops when a process dies. What a part holds depends on
nothing outside of it, so that it does not matter who computes it.

Legend: R rows, F features.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainer.data.cached_sets import discard

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one set, and where they lie until it is whole."""

    folder: Path
    """All its files are named as those of sets are, so that what a kill leaves can be removed."""
    rows: Sequence[slice]
    """Of each part, from the first row to the last."""
    fill: Callable[[int, NDArray[np.float32], int], None]
    """Called with a part's number, an array for its rows, and how many rows are ready."""
    num_features: int

    def build(self, out_RF: NDArray[np.float32]) -> None:
        """Fill an array; one process at a time may."""
        discard(self.folder)
        self.folder.mkdir(parents=True)
        try:
            for number, rows in enumerate(self.rows):
                ready = self._ready(number)
                with self._claimed(number, waits=True):
                    if ready.exists():
                        out_RF[rows] = np.load(ready)
                    else:
                        self.fill(number, out_RF[rows], self._num_ready())
                    ready.write_bytes(b"")
        finally:
            discard(self.folder)

    def help(self) -> bool:
        """Compute a part, if one is left that nobody is at; returns whether there was one."""
        with suppress(OSError):  # nobody builds it, or it cannot be kept: its builder goes on
            for number in reversed(range(len(self.rows))):
                if not self._ready(number).exists() and self._compute(number):
                    return True
        return False

    def _compute(self, number: int) -> bool:
        ready, rows = self._ready(number), self.rows[number]
        with self._claimed(number, waits=False) as is_ours:
            if not is_ours or ready.exists():
                return False
            self.folder.stat()  # gone at once, with all that was ready, where the builder has ended
            out_RF = np.empty((rows.stop - rows.start, self.num_features), dtype=np.float32)
            self.fill(number, out_RF, self._num_ready())
            # After a kill of the builder two may be at one part: of the old build, and of the new.
            draft = self.folder / f"draft-{number}-{os.getpid()}.npy"
            np.save(draft, out_RF)
            draft.replace(ready)
            return True

    @contextmanager
    def _claimed(self, number: int, *, waits: bool) -> Iterator[bool]:
        """Hold the lock of a part; yields False where another does and this is not to wait."""
        with (self.folder / f"claim-{number}.npy").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            yield True

    def _ready(self, number: int) -> Path:
        """The rows of a part; empty once the builder has them."""
        return self.folder / f"ready-{number}.npy"

    def _num_ready(self) -> int:
        return sum(
            rows.stop - rows.start
            for number, rows in enumerate(self.rows)
            if self._ready(number).exists()
        )
