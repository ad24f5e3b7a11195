"""What torchvision's random transforms draw, for a whole batch at once: boxes, flips, angles,
factors, orders.

Everything is drawn on the CPU from one generator, so the same seed gives the same pictures on every
device and nothing waits for a GPU. Legend: N images, A attempts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

CROP_AREA = (0.08, 1.0)
CROP_RATIO = (3 / 4, 4 / 3)
ERASE_AREA = (0.02, 0.33)
ERASE_RATIO = (0.3, 3.3)
_ATTEMPTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Boxes:
    """Rectangles in pixels, each field of shape (N,), float32."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor


def draw_crop_boxes(sizes_N2: Tensor, generator: torch.Generator) -> Boxes:
    """Boxes as `torchvision.transforms.RandomResizedCrop` draws them, in pixels of the original
    files.

    Args:
        sizes_N2: height and width of each image.
        generator: on the CPU.

    Returns: One box per image: an area of 8 to 100 %, an aspect ratio of 3/4 to 4/3, at any place;
        after ten misses the largest centred box within the ratios.
    """
    height_N1, width_N1 = sizes_N2.float().split(1, dim=1)
    box_height, box_width = _draw_shapes(height_N1 * width_N1, CROP_AREA, CROP_RATIO, generator)
    fits = (box_width > 0) & (box_width <= width_N1) & (box_height > 0) & (box_height <= height_N1)
    found, (tall, wide) = _first(fits, box_height, box_width)
    height, width = height_N1.squeeze(1), width_N1.squeeze(1)
    fallback_tall, fallback_wide = _largest_within_ratio(height, width)
    tall, wide = torch.where(found, tall, fallback_tall), torch.where(found, wide, fallback_wide)
    top, left = _draw_corner(height - tall, width - wide, generator)
    top = torch.where(found, top, ((height - tall) / 2).floor())
    left = torch.where(found, left, ((width - wide) / 2).floor())
    return Boxes(top=top, left=left, height=tall, width=wide)


def draw_erase_boxes(
    num_images: int, height: int, width: int, probability: float, generator: torch.Generator
) -> Boxes:
    """Boxes as `torchvision.transforms.RandomErasing` draws them; height and width 0 where nothing is erased."""
    area_N1 = torch.full((num_images, 1), float(height * width))
    box_height, box_width = _draw_shapes(area_N1, ERASE_AREA, ERASE_RATIO, generator)
    found, (tall, wide) = _first((box_height < height) & (box_width < width), box_height, box_width)
    top, left = _draw_corner(height - tall, width - wide, generator)
    hit = found & (torch.rand(num_images, generator=generator) < probability)
    zero = torch.zeros(())
    return Boxes(
        top=top, left=left, height=torch.where(hit, tall, zero), width=torch.where(hit, wide, zero)
    )


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
    area_N1: Tensor,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    shape = (len(area_N1), _ATTEMPTS)
    target = area_N1 * torch.empty(shape).uniform_(*scale, generator=generator)
    log_ratio = torch.empty(shape).uniform_(
        math.log(ratio[0]), math.log(ratio[1]), generator=generator
    )
    aspect = log_ratio.exp()
    return (target / aspect).sqrt().round(), (target * aspect).sqrt().round()


def _first(fits_NA: Tensor, *values_NA: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Whether any attempt fits, and the values of the first that does."""
    attempt_N1 = fits_NA.int().argmax(dim=1, keepdim=True)
    return fits_NA.any(dim=1), [v.gather(1, attempt_N1).squeeze(1) for v in values_NA]


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
    tall = torch.where(ratio < CROP_RATIO[0], (width / CROP_RATIO[0]).round(), height)
    wide = torch.where(ratio > CROP_RATIO[1], (height * CROP_RATIO[1]).round(), width)
    return tall, wide
