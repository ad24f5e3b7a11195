"""Counts the cores that this process may use: those given to it, and a quota of its control groups.

A harness that must not be imported here has its own (`hpo.core.control_groups`).
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path("/sys/fs/cgroup")
GROUPS = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Cores that this process may use; a container's quota of time counts."""
    return quota_cores() or _given_cores()


def quota_cores() -> int | None:
    """Cores' worth of time that a quota allows; None where none allows less than the cores given.

    Libraries count the cores and not the quota, and start as many threads.
    """
    shares = [share for folder in _folders() if (share := _share(folder)) is not None]
    quota = max(1, round(min(shares, default=_given_cores())))
    return quota if quota < _given_cores() else None


def _given_cores() -> int:
    given = getattr(os, "sched_getaffinity", None)  # macOS does not tell
    return len(given(0)) if given else os.cpu_count() or 1


def _folders() -> Iterator[Path]:
    """The folders of this process's control groups, its own before those above it."""
    for line in (_text(GROUPS) or "1:cpu:/\n0::/").splitlines():
        _, names, path = line.split(":", 2)
        if names and "cpu" not in names.split(","):
            continue
        base = ROOT / "cpu" if names else ROOT
        if not base.is_dir():
            base = ROOT / names
        parts = PurePosixPath(path).parts[1:]
        own = base.joinpath(*(() if ".." in parts else parts))  # `..` is beyond what can be seen
        yield own
        yield from own.parents[: len(own.parts) - len(base.parts)]


def _share(folder: Path) -> float | None:
    old = f"{_text(folder / 'cpu.cfs_quota_us')} {_text(folder / 'cpu.cfs_period_us')}"
    words = (_text(folder / "cpu.max") or old).split()
    is_limited = len(words) == 2 and all(word.isdecimal() for word in words)  # not `max`, not -1
    return int(words[0]) / int(words[1]) if is_limited else None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError:
        return ""
