"""Colour jitter on batches, each image with its own factors and its own order of the changes.

Brightness, contrast and saturation are affine in colour space, so one batched 3 x 3 product does
whichever of them an image is at; hue is done once for all. Images come sorted by when their hue
turn is: what lies before it is then a leading slice, what lies after it a trailing one.
Values are floats in 0..1. Legend: N images, C colours, P pixels, T turns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_LUMA = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue in grey, as torchvision has them."""

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColorDraws:
    """What was drawn for each image, as affine maps; `hue_turn` stays on the CPU."""

    matrices: Tensor
    """(T, N, C, C): what each turn does to the colour of a pixel."""
    to_mean: Tensor
    """(T, N): share of the image's mean grey that each turn adds."""
    hue: Tensor | None
    """(N,) turn as a share of the colour circle; None where hue stays."""
    hue_turn: Tensor
    """(N,) the turn at which hue is changed."""

    def part(self, part: slice) -> ColorDraws:
        """The draws of some of the images."""
        return ColorDraws(
            matrices=self.matrices[:, part],
            to_mean=self.to_mean[:, part],
            hue=None if self.hue is None else self.hue[part],
            hue_turn=self.hue_turn[part],
        )

    def to(self, device: torch.device) -> ColorDraws:
        """The same on a device, `hue_turn` excepted."""
        return ColorDraws(
            matrices=self.matrices.to(device, non_blocking=True),
            to_mean=self.to_mean.to(device, non_blocking=True),
            hue=None if self.hue is None else self.hue.to(device, non_blocking=True),
            hue_turn=self.hue_turn,
        )


def sort_orders(orders_NT: Tensor) -> tuple[Tensor, Tensor]:
    """Bring the latest hue turn to the front, as `jitter_colors` wants its images.

    Returns:
        The sorted orders, and the places that they come from, shape (N,).
    """
    places_N = (orders_NT == HUE).int().argmax(dim=1).argsort(descending=True)
    return orders_NT[places_N], places_N


def make_color_draws(
    factors_3N: Tensor, hue_N: Tensor | None, orders_NT: Tensor, channels: int = 3
) -> ColorDraws:
    """The maps that the changes of `torchvision.transforms.ColorJitter` are.

    Args:
        factors_3N: of brightness, contrast and saturation; 1 changes nothing.
        hue_N: share of the colour circle, or None.
        orders_NT: which of the four changes is made at each turn.
        channels: 3, or 1 for grey, which has no saturation and no hue.
    """
    change_TN = orders_NT.T.contiguous()
    factors_4N = torch.cat([factors_3N, torch.ones_like(factors_3N[:1])])
    if channels == 1:
        factors_4N[SATURATION] = 1.0
    scale_TN = factors_4N.gather(0, change_TN)
    to_grey_TN = (1.0 - scale_TN) * (change_TN == SATURATION)
    identity_CC, luma_C = torch.eye(channels), luma(channels)
    return ColorDraws(
        matrices=scale_TN[..., None, None] * identity_CC + to_grey_TN[..., None, None] * luma_C,
        to_mean=(1.0 - scale_TN) * (change_TN == CONTRAST),
        hue=hue_N if channels == 3 else None,
        hue_turn=(change_TN == HUE).int().argmax(dim=0),
    )


def luma(channels: int) -> Tensor:
    """Weights of the colours in grey, shape (C,)."""
    return torch.tensor(_LUMA if channels == 3 else (1.0,))


def jitter_colors(images_NCP: Tensor, draws: ColorDraws, luma_C: Tensor) -> Tensor:
    """Apply the four changes to images that are sorted by `sort_orders`.

    Args:
        images_NCP: floats in 0..1, one plane per colour; overwritten.
        draws: of these images, in their order, on their device.
        luma_C: weights of the colours in grey, on the device.

    Returns:
        Images of the same shape.
    """
    images = images_NCP
    num_at_least = [int((draws.hue_turn >= turn).sum()) for turn in range(5)]
    for turn in range(3):
        _apply_turn(images, slice(0, num_at_least[turn + 1]), turn, draws, luma_C)
    if draws.hue is not None:
        images = shift_hue(images, draws.hue)
    for turn in range(1, 4):
        _apply_turn(images, slice(num_at_least[turn], len(images)), turn, draws, luma_C)
    return images


def _apply_turn(
    images_NCP: Tensor, part: slice, turn: int, draws: ColorDraws, luma_C: Tensor
) -> None:
    """One affine change of some images, cut to 0..1, in place."""
    if part.start >= part.stop:
        return
    images = images_NCP[part]
    mean_grey_N = images.mean(dim=2) @ luma_C
    bias_N11 = (draws.to_mean[turn, part] * mean_grey_N)[:, None, None]
    changed = torch.baddbmm(bias_N11, draws.matrices[turn, part], images)
    torch.clamp(changed, 0.0, 1.0, out=images)


def shift_hue(images_N3P: Tensor, turns_N: Tensor) -> Tensor:
    """Turn the hue, keeping saturation and value.

    Args:
        images_N3P: floats in 0..1.
        turns_N: shares of the colour circle, from -0.5 to 0.5.

    Returns:
        New images of the same shape.
    """
    red, green, blue = images_N3P.unbind(1)
    value, lowest = images_N3P.amax(1), images_N3P.amin(1)
    chroma = value - lowest
    # Which colour is the largest, as 0 and 1: masks of bools are several times slower on a CPU.
    not_red, not_green = (value - red).sign_(), (value - green).sign_()
    other = torch.lerp(blue - red, red - green, not_green)
    sextant = torch.lerp(green - blue, other, not_red).div_(chroma.clamp(min=1e-12))
    # red begins at 6, green at 8, blue at 10: one turn ahead, so that `frac` never sees below 0
    sextant.add_(not_green.add_(1.0).mul_(not_red), alpha=2.0).add_(6.0)
    sextant = sextant.mul_(1.0 / 6.0).add_(turns_N[:, None]).frac_().mul_(6.0)
    out = torch.empty_like(images_N3P)
    torch.sub(sextant, 3.0, out=out[:, 0]).abs_().sub_(1.0)
    torch.sub(sextant, 2.0, out=out[:, 1]).abs_().neg_().add_(2.0)
    torch.sub(sextant, 4.0, out=out[:, 2]).abs_().neg_().add_(2.0)
    return out.clamp_(0.0, 1.0).mul_(chroma[:, None]).add_(lowest[:, None])
