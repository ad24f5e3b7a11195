"""Decides when a file that grows with the search is written again: a small share of the time."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator

SHARE = 20
"""Between two times that something is done, so many times as long passes as the first one took."""
PROMPT_S = 0.05
"""What is done as fast as this waits for nothing."""


class Pacer:
    """Measures how long something takes that is done again and again, and when it is due.

    Example: a state that took 3 s to write is due again a minute after that write has ended.

    Args:
        now: a clock in seconds that never goes back.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._ended = -math.inf
        self._pause_s = 0.0

    def is_due(self, least_s: float = 0.0) -> bool:
        """Whether it may be done again; `least_s` must have passed however fast it was done."""
        return self._now() - self._ended >= max(least_s, self._pause_s)

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Measure what is done within, also where it fails."""
        began = self._now()
        try:
            yield
        finally:
            self._ended = self._now()
            took = self._ended - began
            self._pause_s = 0.0 if took < PROMPT_S else SHARE * took
