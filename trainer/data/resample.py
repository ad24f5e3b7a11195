"""Crop, resize, flip and blur as one matrix per axis: out = rows @ image @ columns^T.

All four are linear and separable, so a batch of different crops is two batched matrix products,
antialiased exactly as Pillow and torchvision do it: few operations, as an accelerator wants them.
Most of such a matrix is zeros, which a CPU multiplies all the same; there `crop_each` is faster.
Legend: N images, O output and S stored pixels along an axis, K taps of a blur.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import interpolate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


_BAND = 32
"""Output pixels that one product of a band makes on the CPU: wider ones multiply more zeros."""


def pixel_centres(num_pixels: int, device: torch.device) -> Tensor:
    """Places of the pixels along an axis, the first edge being 0."""
    return torch.arange(num_pixels, device=device, dtype=torch.float32) + 0.5


def crop_each(
    images_NHWC: Tensor,
    boxes: Sequence[Sequence[int]],
    flips: Sequence[bool],
    out_size: tuple[int, int],
) -> Tensor:
    """Crop, resize and mirror image by image, rounded to bytes as torchvision's resize of bytes is.

    Args:
        images_NHWC: uint8 on the CPU.
        boxes: top, height, left and width of each image, whole pixels.
        flips: which are mirrored.
        out_size: height and width wanted.

    Returns:
        uint8 of shape (N, C, height, width).
    """
    images_NCHW = images_NHWC.permute(0, 3, 1, 2)
    out_NCHW = images_NCHW.new_empty((*images_NCHW.shape[:2], *out_size))
    for i, ((top, tall, left, wide), flip) in enumerate(zip(boxes, flips, strict=True)):
        part = images_NCHW[i : i + 1, :, top : top + tall, left : left + wide]
        resized = interpolate(part, size=out_size, mode="bilinear", antialias=True)[0]
        out_NCHW[i] = resized.flip(-1) if flip else resized
    return out_NCHW


def crop_matrices(
    start_N: Tensor,
    length_N: Tensor,
    stored_S: Tensor,
    out_O: Tensor,
    flip_N: Tensor | None = None,
) -> Tensor:
    """Antialiased bilinear weights that bring a part of an axis to the pixels wanted.

    Args:
        start_N: first edge of the part in stored pixels, may be fractional.
        length_N: its length in stored pixels.
        stored_S: `pixel_centres` of the stored image.
        out_O: `pixel_centres` of the image wanted.
        flip_N: 1 where the result is mirrored, else 0.

    Returns:
        Weights of shape (N, O, S); rows sum to 1, pixels outside the part have no weight.
    """
    start_N1, length_N1 = start_N[:, None], length_N[:, None]
    scale_N1 = length_N1 / len(out_O)
    support_N1 = scale_N1.clamp(min=1.0)
    centre_NO = torch.addcmul(start_N1, out_O, scale_N1)
    if flip_N is not None:
        centre_NO = torch.lerp(centre_NO, 2 * start_N1 + length_N1 - centre_NO, flip_N[:, None])
    is_outside_NS = (stored_S < start_N1.floor()) | (stored_S > (start_N1 + length_N1).ceil())
    place_NS = (stored_S / support_N1).masked_fill_(is_outside_NS, 1e6)
    weights = torch.sub(place_NS[:, None, :], (centre_NO / support_N1)[:, :, None])
    weights = weights.abs_().neg_().add_(1.0).clamp_(min=0.0)
    return weights.div_(weights.sum(dim=2, keepdim=True))


class AxisBlur:
    """Gaussian blur along an axis as a matrix, edges mirrored as torchvision's `gaussian_blur`.

    Args:
        num_taps: kernel size, odd and at most 2 * num_pixels - 1.
        num_pixels: length of the axis (O).
        device: of the result.

    Attributes:
        reach: pixels to either side that have a weight.
    """

    def __init__(self, num_taps: int, num_pixels: int, device: torch.device | str = "cpu") -> None:
        half = num_taps // 2
        offsets_K = torch.arange(-half, half + 1, device=device)
        source_KO = (offsets_K[:, None] + torch.arange(num_pixels, device=device)).abs()
        last = num_pixels - 1
        source_KO = torch.where(source_KO > last, 2 * last - source_KO, source_KO)
        spread_KOO = torch.nn.functional.one_hot(source_KO, num_pixels)
        self._num_pixels = num_pixels
        self.reach = half
        self._exponent_K = -0.5 * offsets_K.float() ** 2
        self._spread_KP = spread_KOO.float().flatten(1)

    def matrices(self, sigma_N: Tensor) -> Tensor:
        """Weights of shape (N, O, O) for a standard deviation per image, in pixels."""
        kernel_NK = torch.exp(self._exponent_K / sigma_N.square()[:, None])
        kernel_NK = kernel_NK / kernel_NK.sum(dim=1, keepdim=True)
        return (kernel_NK @ self._spread_KP).view(-1, self._num_pixels, self._num_pixels)


def apply_separable(images_NCHW: Tensor, rows_NOH: Tensor, columns_NOW: Tensor) -> Tensor:
    """Both axes at once.

    Args:
        images_NCHW: float images at stored size.
        rows_NOH: weights along the height.
        columns_NOW: weights along the width.

    Returns:
        Float images of shape (N, C, O_rows, O_columns).
    """
    num, channels, height, width = images_NCHW.shape
    out_width = columns_NOW.shape[1]
    planes = images_NCHW.reshape(num, channels * height, width)
    wide = torch.bmm(planes, columns_NOW.transpose(1, 2))
    return torch.matmul(rows_NOH[:, None], wide.view(num, channels, height, out_width))


def apply_bands(
    images_NCHW: Tensor, rows_NHH: Tensor, columns_NWW: Tensor, reach: tuple[int, int]
) -> Tensor:
    """`apply_separable` of square weights that are 0 far from the diagonal, band by band.

    Args:
        images_NCHW: float images.
        rows_NHH: weights along the height.
        columns_NWW: weights along the width.
        reach: how far from the diagonal weights along height and width go.

    Returns:
        Float images of the same shape.
    """
    num, channels, height, width = images_NCHW.shape
    planes = images_NCHW.reshape(num, channels * height, width)
    wide = torch.empty_like(planes)
    for out, near in _bands(width, reach[1]):
        wide[..., out] = torch.bmm(planes[..., near], columns_NWW[:, out, near].transpose(1, 2))
    wide = wide.view(num, channels, height, width)
    done = torch.empty_like(wide)
    for out, near in _bands(height, reach[0]):
        done[:, :, out] = torch.matmul(rows_NHH[:, None, out, near], wide[:, :, near])
    return done


def _bands(length: int, reach: int) -> Iterator[tuple[slice, slice]]:
    """Output pixels of each band, and the pixels that they are made of."""
    for start in range(0, length, _BAND):
        stop = min(start + _BAND, length)
        yield slice(start, stop), slice(max(0, start - reach), min(length, stop + reach))
