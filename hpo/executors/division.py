"""Divides the cores and GPUs of a machine, or of several, among concurrent trials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hpo.core.errors import SpecError
from hpo.core.machine import Machine, Node
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
    """Divide one computer; see `divide_nodes`."""
    machine = Machine(nodes=(Node(cpus=cpus, gpus=gpus),))
    return divide_nodes(concurrent, machine, per_card=per_card, devices=devices)


def divide_nodes(
    concurrent: int | None,
    machine: Machine,
    *,
    per_card: int | None = None,
    devices: int = 1,
    trials: int | None = None,
) -> Slots:
    """Choose how many trials run at a time: one per GPU, else one per core up to four a node.

    On a CPU two single-threaded trials beat one trial on two threads. Nodes without a GPU run no
    trials where others have one. Cards are shared only where there are more trials than cards.

    Args:
        concurrent: the user's choice, or None.
        machine: the computers.
        per_card: trials that share a GPU, or None.
        devices: of each trial; with several, GPUs are given whole and on one node, and without
            GPUs these are processes on the CPU.
        trials: how many there are to train; more places would stand idle. None: any number.

    Raises:
        SpecError: when a trial asks for more GPUs than a node has.
    """
    gpus = machine.gpus
    if concurrent and trials:
        concurrent = min(concurrent, trials)
    nodes = [node for node in machine.nodes if node.gpus or not gpus]
    if gpus and devices > (most := max(node.gpus for node in nodes)):
        raise SpecError(
            f"devices: a trial asks for {count_of(devices, 'GPU')}, available here: {most}; lower "
            "the number in the spec"
        )
    sharing = (per_card or -(-(concurrent or 1) // gpus)) if gpus and devices == 1 else 1
    room = [_room(node, concurrent, sharing, devices) for node in nodes]
    count = min(concurrent or trials or sum(room), sum(room))
    numbers = _spread(count, nodes, room)
    return Slots(
        count=count,
        cpus=min(_share_cpus(n.cpus, k) for n, k in zip(nodes, numbers, strict=True) if k),
        gpus=_floor(devices / sharing) if gpus else 0.0,
        total_cpus=machine.cpus,
        total_gpus=gpus,
        devices=devices,
    )


def _room(node: Node, concurrent: int | None, sharing: int, devices: int) -> int:
    """How many trials a node can run at a time."""
    if node.gpus:
        return node.gpus // devices * sharing
    if devices > 1:
        return max(1, min(node.cpus // devices, 4))
    return concurrent or min(node.cpus, 4)


def _spread(count: int, nodes: Sequence[Node], room: Sequence[int]) -> list[int]:
    """Give each node a number of trials: the next one goes where it gets the most cores."""
    numbers = [0] * len(nodes)
    for _ in range(count):
        free = [i for i, number in enumerate(numbers) if number < room[i]]
        numbers[max(free, key=lambda i: nodes[i].cpus / (numbers[i] + 1))] += 1
    return numbers


def share_cards(slots: Slots, per_card: int) -> Slots:
    """Divide each place of one whole GPU among so many trials, its CPU cores likewise."""
    return replace(
        slots,
        count=slots.count * per_card,
        cpus=_share_cpus(int(slots.cpus), per_card),
        gpus=_floor(slots.gpus / per_card),
    )


def _share_cpus(cpus: int, count: int) -> float:
    return cpus // count if count <= cpus else _floor(cpus / count)


def _floor(share: float) -> float:
    """Ray counts in ten-thousandths; rounded up, the last of the trials would not fit."""
    return math.floor(share * 10_000) / 10_000
