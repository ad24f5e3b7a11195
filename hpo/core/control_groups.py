"""Reads what the control groups of this process allow: its own and those above it, version 1 or 2.

A container may be told its path on the host, where the limits that it sees lie at the root.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

ROOT = Path("/sys/fs/cgroup")
GROUPS = Path("/proc/self/cgroup")
_MEMORY = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""By version: files that hold the limit and what is used, and which part of it can be let go."""
_KILLS = ("memory.events", "memory.oom_control")


def cpu_quota() -> float | None:
    """Cores' worth of time that this process may take; None without a limit."""
    shares = map(_cpu_share, _folders("cpu"))
    return min((share for share in shares if share is not None), default=None)


def free_memory() -> int | None:
    """Bytes that this process's groups may still take; None without a limit.

    Files that the system can let go count as free.
    """
    rooms = map(_memory_room, _folders("memory"))
    return min((room for room in rooms if room is not None), default=None)


def count_oom_kills() -> int:
    """How many processes of this one's group the system has killed for lack of memory."""
    for folder in _folders("memory"):
        for name in _KILLS:
            if (kills := _counts(folder / name).get("oom_kill")) is not None:
                return kills
    return 0


def _folders(controller: str) -> Iterator[Path]:
    """The folders of this process's groups, its own before those above it."""
    for line in (_text(GROUPS) or f"1:{controller}:/\n0::/").splitlines():
        _, names, path = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        base = ROOT / controller if names else ROOT
        if not base.is_dir():
            base = ROOT / names
        parts = PurePosixPath(path).parts[1:]
        own = base.joinpath(*(() if ".." in parts else parts))  # `..` is beyond what can be seen
        yield own
        yield from own.parents[: len(own.parts) - len(base.parts)]


def _cpu_share(folder: Path) -> float | None:
    old = f"{_text(folder / 'cpu.cfs_quota_us')} {_text(folder / 'cpu.cfs_period_us')}"
    words = (_text(folder / "cpu.max") or old).split()
    is_limited = len(words) == 2 and all(word.isdecimal() for word in words)  # not `max`, not -1
    return int(words[0]) / int(words[1]) if is_limited else None


def _memory_room(folder: Path) -> int | None:
    for limit, used, freed in _MEMORY:
        words = [_text(folder / name).strip() for name in (limit, used)]
        if all(word.isdecimal() for word in words):
            most, taken = map(int, words)
            return max(0, most - taken + _counts(folder / "memory.stat").get(freed, 0))
    return None


def _counts(file: Path) -> Mapping[str, int]:
    words = _text(file).split()
    return {k: int(v) for k, v in zip(words[::2], words[1::2], strict=False) if v.isdecimal()}


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError:
        return ""
