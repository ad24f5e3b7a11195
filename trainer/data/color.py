"""Colour jitter on batches: brightness, contrast, saturation and hue, each image with its own
factors and order.

Three of the four are affine in colour space, so one batched 3 x 3 product does whichever of them an
image is at; hue is done once for all images. Images are sorted by when their hue turn comes: what
lies before it is then a leading slice, what lies after it a trailing one. Values are floats in
0..1. Legend: N images, C colours, P pixels, T turns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LUMA = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue in grey, as torchvision has them."""

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColorDraws:
    """Factors of shape (N,) and orders of shape (N, 4), on the CPU."""

    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue: Tensor | None
    """Turn as a share of the colour circle; None where hue stays."""
    orders: Tensor
    """At each turn, which of the four is done."""


def jitter_colors(images_NCP: Tensor, draws: ColorDraws) -> Tensor:
    """Apply the four changes in each image's own order.

    Args: images_NCP: floats in 0..1, one plane per colour (3, or 1 for grey, which has no
        saturation and no hue). draws: factors and orders.

    Returns:
        New images of the same shape.
    """
    device = images_NCP.device
    has_hue = draws.hue is not None and images_NCP.shape[1] == 3
    hue_turn_N = (draws.orders == HUE).int().argmax(dim=1)
    by_turn_N = hue_turn_N.argsort(descending=True)
    num_at_least = [int((hue_turn_N >= turn).sum()) for turn in range(5)]
    factors_3TN = _affine_factors(draws)[:, :, by_turn_N].to(device, non_blocking=True)
    images = images_NCP[by_turn_N.to(device, non_blocking=True)]
    for turn in range(3):
        before = slice(0, num_at_least[turn + 1])
        _apply_affine(images[before], factors_3TN[:, turn, before])
    if has_hue and draws.hue is not None:
        images = shift_hue(images, draws.hue[by_turn_N].to(device, non_blocking=True))
    for turn in range(1, 4):
        after = slice(num_at_least[turn], None)
        _apply_affine(images[after], factors_3TN[:, turn, after])
    return images[by_turn_N.argsort().to(device, non_blocking=True)]


def shift_hue(images_N3P: Tensor, turns_N: Tensor) -> Tensor:
    """Turn the hue, keeping saturation and value.

    Args:
        images_N3P: floats in 0..1.
        turns_N: shares of the colour circle.

    Returns:
        New images of the same shape.
    """
    value_N1P, lowest_N1P = images_N3P.amax(1, keepdim=True), images_N3P.amin(1, keepdim=True)
    chroma_N1P = value_N1P - lowest_N1P
    red, green, blue = images_N3P.split(1, dim=1)
    is_red, is_green = value_N1P == red, value_N1P == green
    sextant_N1P = torch.where(is_red, green - blue, torch.where(is_green, blue - red, red - green))
    sextant_N1P.div_(chroma_N1P.clamp(min=1e-12))
    sextant_N1P.add_(torch.where(is_red, 0.0, torch.where(is_green, 2.0, 4.0)))
    sextant_N1P.add_(6.0 * turns_N[:, None, None])
    offset_3 = torch.tensor([5.0, 3.0, 1.0], device=images_N3P.device)[:, None]
    position_N3P = torch.remainder(sextant_N1P + offset_3, 6.0)
    share_N3P = torch.minimum(position_N3P, 4.0 - position_N3P).clamp_(0.0, 1.0)
    return torch.addcmul(value_N1P, chroma_N1P, share_N3P, value=-1.0)


def _affine_factors(draws: ColorDraws) -> Tensor:
    """Per turn and image: factor of the image, of its grey, of its mean grey; shape (3, T, N). Hue's turn is 1, 0, 0."""
    change_TN = draws.orders.T
    one = torch.ones_like(draws.brightness)
    by_change_4N = torch.stack([draws.brightness, draws.contrast, draws.saturation, one])
    scale_TN = by_change_4N.gather(0, change_TN)
    rest_TN = 1.0 - scale_TN
    return torch.stack(
        [scale_TN, rest_TN * (change_TN == SATURATION), rest_TN * (change_TN == CONTRAST)]
    )


def _apply_affine(images_NCP: Tensor, factors_3N: Tensor) -> None:
    """new = scale * old + to_grey * grey(old) + to_mean * mean(grey(old)), cut to 0..1, in place."""
    num, channels, _ = images_NCP.shape
    if num == 0:
        return
    scale_N, to_grey_N, to_mean_N = factors_3N
    device = images_NCP.device
    luma_C = torch.tensor(LUMA if channels == 3 else (1.0,), device=device)
    mean_grey_N = images_NCP.mean(dim=2) @ luma_C
    matrix_NCC = (
        scale_N[:, None, None] * torch.eye(channels, device=device)
        + to_grey_N[:, None, None] * luma_C
    )
    bias_N11 = (to_mean_N * mean_grey_N)[:, None, None]
    torch.clamp(torch.baddbmm(bias_N11, matrix_NCC, images_NCP), 0.0, 1.0, out=images_NCP)
