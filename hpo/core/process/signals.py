"""Signals by which a process is told to end: SIGTERM, and SIGHUP when its terminal closes."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

Handler = Callable[[int, FrameType | None], None]
"""Receives a signal's number and where the program stood."""


def told_to_end() -> tuple[signal.Signals, ...]:
    """Those that are to be obeyed: SIGHUP is ignored from the start under `nohup`."""
    both = (signal.SIGTERM, signal.SIGHUP)
    return tuple(number for number in both if signal.getsignal(number) != signal.SIG_IGN)


@contextlib.contextmanager
def handling(handle: Handler, *others: signal.Signals) -> Iterator[None]:
    """Handle the signals by which this process is told to end, then put earlier handlers back.

    A closed terminal may send SIGHUP twice, moments apart, or after somebody else's SIGTERM. It
    counts only where it comes first; later it must not kill what is being put in order either, so
    it stays without effect once a signal has come.

    Args:
        handle: called with the signal's number.
        others: further signals to handle, such as SIGINT.
    """
    came = False

    def first(number: int, frame: FrameType | None) -> None:
        nonlocal came
        if number == signal.SIGHUP and came:
            return
        came = True
        handle(number, frame)

    before = {number: signal.signal(number, first) for number in (*told_to_end(), *others)}
    try:
        yield
    finally:
        for number, handler in before.items():
            if number != signal.SIGHUP or not came:
                signal.signal(number, handler)
