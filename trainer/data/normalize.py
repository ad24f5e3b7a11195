"""Pixel statistics of the spec, and the plain normalisation that evaluation and inference use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trainer.data.framing import for_channels

if TYPE_CHECKING:
    from trainer.config.dataset import DatasetConfig


def normalize_batch(images_NHWC: Tensor, mean_C11: Tensor, std_C11: Tensor) -> Tensor:
    """What evaluation and inference feed the network: normalised, not augmented.

    Args:
        images_NHWC: uint8 at the network's size, anywhere.
        mean_C11: mean of pixels in 0..1 per colour, on the device that is wanted.
        std_C11: standard deviation likewise.

    Returns:
        float32 of shape (N, C, H, W) in channels-last memory.
    """
    images = images_NHWC.to(mean_C11.device, non_blocking=True).permute(0, 3, 1, 2)
    return images.to(torch.float32).sub_(mean_C11 * 255.0).div_(std_C11 * 255.0)


def pixel_statistics(
    dataset: DatasetConfig, channels: int, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """`dataset.pixel_mean` and `pixel_std` as tensors of shape (C, 1, 1).

    One value serves all channels; three values are mixed as grey is where the input has one.
    """
    mean, std = (
        torch.tensor(for_channels(values, channels), device=device).view(channels, 1, 1)
        for values in (dataset.pixel_mean, dataset.pixel_std)
    )
    return mean, std
