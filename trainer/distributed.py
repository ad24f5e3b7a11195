"""One run over several processes: rank, number of processes, exchange of tensors and values.

Every function is plain in a run of one process, so callers need not ask. Lightning starts the other
processes by running the command line again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist

from trainer.errors import SpecError
from trainer.launchers import settle_place

if TYPE_CHECKING:
    from torch import nn

    from trainer.config.train import TrainConfig

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """This process among those of its run."""

    rank: int = 0
    local_rank: int = 0
    world_size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0


def find_place(train: TrainConfig) -> Rank:
    """Return this process's place; known before the processes have met.

    Raises:
        SpecError: the processes were started for other numbers of devices and nodes.
    """
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment

    world_size = train.num_gpus * train.num_nodes
    if world_size == 1:
        return Rank()
    settle_place(train.num_gpus, train.num_nodes)
    environment = LightningEnvironment()
    node, local_rank = environment.node_rank(), environment.local_rank()
    if node >= train.num_nodes or local_rank >= train.num_gpus:
        raise SpecError(
            "train.num_gpus, train.num_nodes: must be those that the processes were started for, "
            f"got {train.num_gpus} and {train.num_nodes} in process {local_rank} of node {node}, "
            "counted from 0"
        )
    rank = node * train.num_gpus + local_rank
    return Rank(rank=rank, local_rank=local_rank, world_size=world_size)


def gathered(emb_ND: torch.Tensor, labels_N: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the embeddings and labels of all processes' batches, in the order of ranks.

    Every process then computes the same loss over all pairs. The gradient of a process's own rows
    is the sum over processes; with the mean that DDP takes of weights' gradients, this is the
    gradient of that one loss.
    """
    if num_processes() == 1:
        return emb_ND, labels_N
    from torch.distributed.nn import functional

    parts_ND = functional.all_gather(emb_ND.contiguous())  # type: ignore[no-untyped-call]  # torch's
    parts = [torch.empty_like(labels_N) for _ in range(num_processes())]
    dist.all_gather(parts, labels_N.contiguous())
    return torch.cat(parts_ND), torch.cat(parts)


def share_statistics(model: nn.Module) -> None:
    """Give all processes the first one's buffers: each has its own batch-norm statistics.

    What is embedded in shares is then embedded by one and the same model, the one that is kept.
    """
    if num_processes() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


def exchanged(value: T) -> list[T]:
    """Return the values of all processes, in the order of ranks."""
    if num_processes() == 1:
        return [value]
    values: list[Any] = [None] * num_processes()
    dist.all_gather_object(values, value)
    return values


def own_share(items: Sequence[T]) -> Sequence[T]:
    """Return every so-manieth of some items, from this process's number on."""
    return items[process_rank() :: num_processes()]


def from_first(value: T) -> T:
    """Return the first process's value in all processes."""
    if num_processes() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def num_processes() -> int:
    """Return how many processes compute together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def process_rank() -> int:
    """Return this process's number among them, from 0."""
    return dist.get_rank() if num_processes() > 1 else 0
