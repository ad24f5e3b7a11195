"""Which device a run computes on, and with which arithmetic."""

from __future__ import annotations

import logging

import torch

logger = logging.getLogger(__name__)


def pick_device(gpu_index: int) -> torch.device:
    """Return the GPU with this index among the visible ones, or the CPU where there is none.

    A worker that was given one card sees it as number 0; an index beyond the visible cards takes
    the last of them.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        logger.info("no GPU is visible: computing on the CPU")
        return torch.device("cpu")
    return torch.device("cuda", min(gpu_index, count - 1))


def wants_bf16(precision: str, device: torch.device) -> bool:
    """Whether the forward pass runs in bfloat16: `auto` takes it where the GPU has it."""
    if precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return precision == "bf16"
