"""Ends a process together with those that it has started."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

_LOOK_EVERY_S = 0.05


def end_group(group: int, within_s: float) -> None:
    """Ask a process group to end; kill what is left of it after so many seconds.

    The leader alone is no measure: a shell ends at once while the program in it goes on.

    Raises:
        ValueError: for 0 and 1, which the system takes for the caller's own group and for all.
    """
    if group <= 1:
        raise ValueError(f"group: must be that of a process that was started, got {group}")
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(group, number)
        except ProcessLookupError:
            return
        limit = time.monotonic() + within_s
        while is_alive(group) and time.monotonic() < limit:
            time.sleep(_LOOK_EVERY_S)


def started_at(pid: int) -> str:
    """What tells a process from another that had its number; empty where there is no such one."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def boot_id() -> str:
    """What containers of one machine share, until it starts anew; empty where it tells none."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def is_alive(group: int) -> bool:
    """Whether a process of the group still runs; one that only waits to be reaped does not.

    Where there is no /proc, one that waits counts too.
    """
    if not Path("/proc/self/stat").exists():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, 0)
            return True
        return False
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of_group = file.read_text(errors="replace").rpartition(")")[2].split()[:3]
        except (OSError, ValueError):
            continue  # it has ended meanwhile
        if int(of_group) == group and state not in "ZX":
            return True
    return False
