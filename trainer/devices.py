"""Which device a run computes on, with which arithmetic and which layout of images in memory."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from trainer.errors import SpecError
from trainer.isolation import memory_errors_named

if TYPE_CHECKING:
    from trainer.config.train import TrainConfig

logger = logging.getLogger(__name__)


def pick_device(*gpu_ids: int, rank: int = 0) -> torch.device:
    """Return one of the GPUs with these indices, or the CPU where there is none.

    It becomes the one that torch, and searches for neighbours, use in this process.

    Args:
        gpu_ids: of a run, among the visible ones; see `visible_cards`.
        rank: of this process among those of the run on this machine.

    Raises:
        SpecError: there are not that many.
        DeviceMemoryError: it is full.
    """
    if not torch.cuda.is_available():
        logger.info("no GPU is visible: computing on the CPU")
        return torch.device("cpu")
    index = visible_cards(gpu_ids)[rank]
    device = torch.device("cuda", index)
    with memory_errors_named(f"GPU {index}"):  # CUDA's own part may not fit on a full card
        torch.cuda.set_device(device)
    return device


def visible_cards(gpu_ids: Sequence[int]) -> list[int]:
    """Return the indices of a run's GPUs among the visible ones.

    Cards that a process was given for the run (CUDA_VISIBLE_DEVICES), as workers are, serve any.

    Raises:
        SpecError: there are not that many.
    """
    count = torch.cuda.device_count()
    strange = [index for index in gpu_ids if index >= count]
    if strange and count == len(gpu_ids) and "CUDA_VISIBLE_DEVICES" in os.environ:
        return list(range(count))
    if strange:
        cards = "the one card is 0" if count == 1 else f"the cards are 0 to {count - 1}"
        raise SpecError(f"gpu_ids: must name cards of this machine, got {strange[0]}; {cards}")
    return list(gpu_ids)


_CONTEXT_BYTES = 600 * 2**20
"""What CUDA itself takes of a card in every process, beside what torch allocates."""
_LEAST_FRACTION = 0.02


def limit_memory(share: float) -> None:
    """Keep this process within a share of each visible GPU's memory.

    What goes beyond it fails here as out of memory, and other processes on the card go on.

    Args:
        share: above 0 and up to 1; CUDA's own part is counted in.
    """
    if not torch.cuda.is_available():
        return
    for index in range(torch.cuda.device_count()):
        total = torch.cuda.get_device_properties(index).total_memory
        fraction = max(share - _CONTEXT_BYTES / total, _LEAST_FRACTION)
        torch.cuda.set_per_process_memory_fraction(fraction, index)


def memory_limit_mib(device: torch.device) -> float | None:
    """Return what this process may allocate on a GPU, or None where nothing keeps it."""
    if device.type != "cuda":
        return None
    fraction = torch.cuda.get_per_process_memory_fraction(device)
    total = torch.cuda.get_device_properties(device).total_memory
    return None if fraction >= 1.0 else float(fraction * total / 2**20)


def training_devices(train: TrainConfig) -> tuple[str, list[int] | int]:
    """Return Lightning's `accelerator` and `devices` for `train.num_gpus` and `train.gpu_ids`.

    Without a GPU several processes share the CPU.

    Raises:
        SpecError: there are fewer GPUs than are asked for.
    """
    if not torch.cuda.is_available():
        if train.num_gpus > 1:
            logger.warning("no GPU is visible: training in %d processes on the CPU", train.num_gpus)
        return "cpu", train.num_gpus
    count = torch.cuda.device_count()
    if train.num_gpus > count:
        raise SpecError(
            f"train.num_gpus: must be at most the number of visible GPUs ({count}), "
            f"got {train.num_gpus}"
        )
    return "gpu", visible_cards(train.gpu_ids)


def wants_bf16(precision: str, device: torch.device) -> bool:
    """Whether the forward pass runs in bfloat16: `auto` takes it where the GPU has it."""
    if precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return precision == "bf16"


_SAFE_INPUTS = 16
"""Input channels per group from which oneDNN's strided pointwise convolutions are sound."""


def image_layout(model: nn.Module, device: torch.device) -> torch.memory_format:
    """Return the layout that a model is trained in: channels last, unless that breaks memory.

    On x86 processors oneDNN writes past a buffer in the backward pass of strided 1 x 1
    convolutions of few channels when images lie channels last (uxlfoundation/oneDNN issue 6035:
    fewer than 8 with AVX2, 16 with AVX-512). Models that hold one keep the plain layout there;
    passes without gradient are not concerned.
    """
    is_at_risk = device.type == "cpu" and any(_breaks_memory(part) for part in model.modules())
    return torch.contiguous_format if is_at_risk else torch.channels_last


def _breaks_memory(part: nn.Module) -> bool:
    return (
        isinstance(part, nn.Conv2d)
        and max(part.kernel_size) == 1
        and max(part.stride) > 1
        and part.in_channels // part.groups < _SAFE_INPUTS
    )
