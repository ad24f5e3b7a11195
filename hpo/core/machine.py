"""Detects cores, memory and GPUs of this machine or a cluster, without importing torch."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from hpo.core.control_groups import cpu_quota, free_memory


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
    cores, quota = _given_cores(), cpu_quota()
    return cores if quota is None else max(1, min(cores, round(quota)))


def _given_cores() -> int:
    """Cores that the system lets this process run on; macOS does not tell, and has all for all."""
    given = getattr(os, "sched_getaffinity", None)
    return len(given(0)) if given else os.cpu_count() or 1


def bound_threads() -> None:
    """Have torch and its friends start no more threads than there are `count_cpus`.

    By themselves they count the cores and not a container's quota, and all threads but a few wait
    for time. What the environment says, stays; a torch that is loaded already is told, too.
    """
    cores = count_cpus()
    if cores < _given_cores() and "OMP_NUM_THREADS" not in os.environ:
        os.environ["OMP_NUM_THREADS"] = str(cores)
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(min(torch.get_num_threads(), cores))


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
    limit = free_memory()
    return free if limit is None or free is None else min(free, limit >> 20)
