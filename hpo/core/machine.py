"""Detects cores, memory and GPUs of this machine or a cluster, without importing torch."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One computer."""

    cpus: int
    gpus: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The computers that trials run on; usually one."""

    nodes: tuple[Node, ...]

    @property
    def cpus(self) -> int:
        """Cores of all nodes."""
        return sum(node.cpus for node in self.nodes)

    @property
    def gpus(self) -> int:
        """GPUs of all nodes."""
        return sum(node.gpus for node in self.nodes)


def this_machine() -> Machine:
    """The computer that this runs on."""
    return Machine(nodes=(Node(cpus=count_cpus(), gpus=count_gpus()),))


def count_cpus() -> int:
    """Cores this process may use; a container's quota counts."""
    cores = len(os.sched_getaffinity(0))
    quota = _cgroup_quota()
    return max(1, min(cores, quota)) if quota else cores


def _cgroup_quota() -> int | None:
    try:
        limit, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if limit == "max" else max(1, round(int(limit) / int(period)))


def count_gpus() -> int:
    """CUDA devices that are visible to this process."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return _count_listed()
    named = len([part for part in visible.split(",") if part.strip() not in ("", "-1")])
    return named if named and _has_device() else 0


def _has_device() -> bool:
    """Whether there is a GPU at all: a variable that names one may be left from elsewhere."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or _count_listed() > 0


def _count_listed() -> int:
    try:
        listing = subprocess.run(
            ["nvidia-smi", "--list-gpus"], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in listing.stdout.splitlines())


def free_memory_mib() -> int | None:
    """Memory that new processes can take, in MiB; None where the system does not tell.

    A container's limit counts.
    """
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    free = next((int(s.split()[1]) // 1024 for s in lines if s.startswith("MemAvailable:")), None)
    limit = _cgroup_memory_mib()
    return free if limit is None or free is None else min(free, limit)


def _cgroup_memory_mib(folder: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What this process's container may still take; files that it can let go count as free."""
    try:
        limit = int((folder / "memory.max").read_text())
        used = int((folder / "memory.current").read_text())
        facts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no limit (`max`), or none that can be read
        return None
    return max(0, limit - used + int(facts.get("inactive_file", 0))) >> 20
