"""Signals by which a process is told to end: SIGTERM, and SIGHUP when its terminal closes."""

from __future__ import annotations

import signal


def told_to_end() -> tuple[signal.Signals, ...]:
    """Those that are to be obeyed: SIGHUP is ignored from the start under `nohup`."""
    both = (signal.SIGTERM, signal.SIGHUP)
    return tuple(number for number in both if signal.getsignal(number) != signal.SIG_IGN)
