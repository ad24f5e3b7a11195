"""Draws the parameters of torchvision's random transforms for a whole batch.

Everything is drawn on the CPU from one generator, so the same seed gives the same pictures on every
device and nothing waits for a GPU. Boxes are rows (top, height, left, width) of whole pixels.
Legend: N images, A attempts.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_CROP_RATIO = (3 / 4, 4 / 3)
_ERASE_AREA = (0.02, 0.33)
_ERASE_RATIO = (0.3, 3.3)
_ATTEMPTS = 10


def draw_crop_boxes(
    sizes_N2: Tensor, area: tuple[float, float], generator: torch.Generator
) -> Tensor:
    """Boxes as `torchvision.transforms.RandomResizedCrop` draws them.

    An aspect ratio of 3/4 to 4/3, at any place; after ten misses the largest centred box within the
    ratios.

    Args:
        sizes_N2: height and width of each image.
        area: least and greatest share of the image's area.
        generator: on the CPU.

    Returns:
        Shape (4, N), float32.
    """
    height, width = sizes_N2.float().T
    box_height, box_width = _draw_shapes(height * width, area, _CROP_RATIO, generator)
    fits_wide = (box_width > 0) & (box_width <= width[:, None])
    fits_tall = (box_height > 0) & (box_height <= height[:, None])
    found, tall, wide = _first(fits_wide & fits_tall, box_height, box_width)
    most_tall, most_wide = _largest_within_ratio(height, width)
    tall, wide = torch.where(found, tall, most_tall), torch.where(found, wide, most_wide)
    top, left = _draw_corner(height - tall, width - wide, generator)
    top = torch.where(found, top, ((height - tall) / 2).floor())
    left = torch.where(found, left, ((width - wide) / 2).floor())
    return torch.stack([top, tall, left, wide])


def draw_erase_boxes(
    num_images: int, height: int, width: int, probability: float, generator: torch.Generator
) -> Tensor:
    """Boxes as `torchvision.transforms.RandomErasing` draws them; no extent, no erasing.

    Returns:
        Shape (4, N), float32.
    """
    area = torch.full((num_images,), float(height * width))
    box_height, box_width = _draw_shapes(area, _ERASE_AREA, _ERASE_RATIO, generator)
    found, tall, wide = _first((box_height < height) & (box_width < width), box_height, box_width)
    top, left = _draw_corner(height - tall, width - wide, generator)
    hit = found & (torch.rand(num_images, generator=generator) < probability)
    return torch.stack([top, tall * hit, left, wide * hit])


def draw_uniform(num_images: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """Uniform draws of shape (N,)."""
    return torch.empty(num_images).uniform_(low, high, generator=generator)


def draw_factors(num_images: int, spread: float, generator: torch.Generator) -> Tensor:
    """Factors from max(0, 1 - spread) to 1 + spread, as `ColorJitter` draws them."""
    return draw_uniform(num_images, max(0.0, 1.0 - spread), 1.0 + spread, generator)


def draw_orders(num_images: int, num_steps: int, generator: torch.Generator) -> Tensor:
    """A random order of the steps for each image, shape (N, steps)."""
    return torch.rand(num_images, num_steps, generator=generator).argsort(dim=1)


def _draw_shapes(
    area_N: Tensor,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Heights and widths of ten attempts, shape (N, A) each."""
    shape = (len(area_N), _ATTEMPTS)
    target = area_N[:, None] * torch.empty(shape).uniform_(*scale, generator=generator)
    low, high = math.log(ratio[0]), math.log(ratio[1])
    aspect = torch.empty(shape).uniform_(low, high, generator=generator).exp_()
    return (target / aspect).sqrt().round(), (target * aspect).sqrt().round()


def _first(fits_NA: Tensor, tall_NA: Tensor, wide_NA: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Whether any attempt fits, and height and width of the first that does."""
    attempt_N1 = fits_NA.int().argmax(dim=1, keepdim=True)
    tall, wide = (values.gather(1, attempt_N1).squeeze(1) for values in (tall_NA, wide_NA))
    return fits_NA.any(dim=1), tall, wide


def _draw_corner(
    room_down: Tensor, room_right: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A whole number from 0 to the room left, both ends included."""
    uniform_2N = torch.rand(2, len(room_down), generator=generator)
    top = (uniform_2N[0] * (room_down + 1)).floor().minimum(room_down)
    left = (uniform_2N[1] * (room_right + 1)).floor().minimum(room_right)
    return top, left


def _largest_within_ratio(height: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
    ratio = width / height
    tall = torch.where(ratio < _CROP_RATIO[0], (width / _CROP_RATIO[0]).round(), height)
    wide = torch.where(ratio > _CROP_RATIO[1], (height * _CROP_RATIO[1]).round(), width)
    return tall, wide
