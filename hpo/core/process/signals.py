"""Signals that ask a process to end: SIGTERM, and SIGHUP when its terminal closes."""

from __future__ import annotations

import atexit
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

Handler = Callable[[int, FrameType | None], None]
"""Receives a signal's number and where the program stood."""


def ending_signals() -> tuple[signal.Signals, ...]:
    """Those that this process obeys; under `nohup` SIGHUP is ignored from the start."""
    both = (signal.SIGTERM, signal.SIGHUP)
    return tuple(number for number in both if signal.getsignal(number) != signal.SIG_IGN)


@contextlib.contextmanager
def handling(handle: Handler, *others: signal.Signals) -> Iterator[None]:
    """Handle the signals that ask this process to end; afterwards restore the handlers before.

    A closed terminal may send SIGHUP twice, moments apart, or after somebody else's SIGTERM. It
    counts only where it comes first; later it must not kill a process that is ending, so it has no
    effect once a signal has come, to the very end of the interpreter. Threads other than the main
    one can handle none, and leave them as they are.

    Args:
        handle: called with the signal's number.
        others: further signals to handle, such as SIGINT.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came = False

    def first(number: int, frame: FrameType | None) -> None:
        nonlocal came
        if number == signal.SIGHUP and came:
            return
        came = True
        handle(number, frame)

    before = {number: signal.signal(number, first) for number in (*ending_signals(), *others)}
    try:
        yield
    finally:
        if (
            came
        ):  # Python's end gives back to a handled signal, not to an ignored one, its own effect
            atexit.register(signal.signal, signal.SIGHUP, signal.SIG_IGN)
        for number, handler in before.items():
            if number != signal.SIGHUP or not came:
                signal.signal(number, handler)
