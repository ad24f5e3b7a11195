"""How a machine is divided among trials that run at the same time."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """Places for trials, all alike."""

    count: int
    cpus: float
    """CPU cores of each trial."""
    gpus: float
    """GPUs of each trial; a fraction shares a card."""
    total_cpus: int
    total_gpus: int


def divide_machine(concurrent: int | None, *, cpus: int, gpus: int) -> Slots:
    """Choose how many trials run at a time: one per GPU, else one per core up to four.

    On a CPU two single-threaded trials beat one trial on two threads.

    Args:
        concurrent: the user's choice, or None.
        cpus: cores of the machine.
        gpus: GPUs of the machine.
    """
    count = concurrent or (gpus if gpus else min(cpus, 4))
    return Slots(
        count=count,
        cpus=cpus // count if count <= cpus else _floor(cpus / count),
        gpus=_share(gpus, count),
        total_cpus=cpus,
        total_gpus=gpus,
    )


def _share(gpus: int, count: int) -> float:
    """GPUs per trial: whole cards where there are enough, else a fraction that packs evenly."""
    if gpus == 0:
        return 0.0
    if count <= gpus:
        return 1.0
    per_card = -(-count // gpus)
    return _floor(1.0 / per_card)


def _floor(share: float) -> float:
    """Ray counts in ten-thousandths; rounded up, the last of the trials would not fit."""
    return math.floor(share * 10_000) / 10_000
