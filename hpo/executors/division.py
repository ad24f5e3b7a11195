"""Divides a machine's cores and GPUs among concurrent trials."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from hpo.core.errors import SpecError
from hpo.core.machine import Machine
from hpo.core.text import count_of


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
    devices: int = 1
    """Processes of each trial, one per device; they share the trial's CPU cores."""

    @property
    def threads(self) -> int:
        """Threads of each process."""
        return max(1, int(self.cpus / self.devices))

    @property
    def per_card(self) -> int:
        """Trials that share a GPU; 1 where none is shared."""
        return round(1 / self.gpus) if 0 < self.gpus < 1 else 1

    @property
    def memory_share(self) -> float | None:
        """Part of a GPU's memory that a trial may take; None where it has a GPU to itself."""
        return 1 / self.per_card if self.per_card > 1 else None


def divide_machine(
    concurrent: int | None,
    *,
    cpus: int,
    gpus: int,
    per_card: int | None = None,
    devices: int = 1,
) -> Slots:
    """Choose how many trials run at a time: one per GPU, else one per core up to four.

    On a CPU two single-threaded trials beat one trial on two threads.

    Args:
        concurrent: the user's choice, or None.
        cpus: cores of the machine.
        gpus: GPUs of the machine.
        per_card: trials that share a GPU, or None.
        devices: of each trial; with several, GPUs are given whole, and without GPUs these are
            processes on the CPU.

    Raises:
        SpecError: when a trial asks for more GPUs than there are.
    """
    if devices > 1:
        return _divide_among_groups(concurrent, cpus=cpus, gpus=gpus, devices=devices)
    usual = gpus * (per_card or 1) if gpus else min(cpus, 4)
    count = concurrent or usual
    return Slots(
        count=count,
        cpus=_share_cpus(cpus, count),
        gpus=_share(gpus, count if per_card is None else gpus * per_card),
        total_cpus=cpus,
        total_gpus=gpus,
    )


def divide_nodes(
    concurrent: int | None, machine: Machine, *, per_card: int | None = None, devices: int = 1
) -> Slots:
    """Divide several computers alike; see `divide_machine`.

    Nodes without a GPU run no trials where others have one, and every place is as large as the
    smallest node allows.
    """
    nodes = [node for node in machine.nodes if node.gpus or not machine.gpus]
    able = [node for node in nodes if (node.gpus or devices) >= devices]
    if not able:
        return divide_machine(
            concurrent, cpus=machine.cpus, gpus=max(n.gpus for n in nodes), devices=devices
        )  # which says why not
    each = None if concurrent is None else -(-concurrent // len(able))
    parts = [
        divide_machine(each, cpus=n.cpus, gpus=n.gpus, per_card=per_card, devices=devices)
        for n in able
    ]
    room = sum(part.count for part in parts)
    return Slots(
        count=room if concurrent is None else min(concurrent, room),
        cpus=min(part.cpus for part in parts),
        gpus=min(part.gpus for part in parts),
        total_cpus=machine.cpus,
        total_gpus=machine.gpus,
        devices=devices,
    )


def share_cards(slots: Slots, per_card: int) -> Slots:
    """Divide each place of one whole GPU among so many trials, its CPU cores likewise."""
    return replace(
        slots,
        count=slots.count * per_card,
        cpus=_share_cpus(int(slots.cpus), per_card),
        gpus=_floor(slots.gpus / per_card),
    )


def _divide_among_groups(concurrent: int | None, *, cpus: int, gpus: int, devices: int) -> Slots:
    """Give every trial whole devices; no more trials run at a time than there are devices for."""
    if gpus and gpus < devices:
        raise SpecError(
            f"devices: a trial asks for {count_of(devices, 'GPU')}, available here: {gpus}; lower "
            "the number in the spec"
        )
    fit = gpus // devices if gpus else max(1, min(cpus // devices, 4))
    count = min(concurrent or fit, fit)
    return Slots(
        count=count,
        cpus=_share_cpus(cpus, count),
        gpus=float(devices) if gpus else 0.0,
        total_cpus=cpus,
        total_gpus=gpus,
        devices=devices,
    )


def _share_cpus(cpus: int, count: int) -> float:
    return cpus // count if count <= cpus else _floor(cpus / count)


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
