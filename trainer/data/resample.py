"""Crop, resize, flip and blur as one matrix per axis: out = rows @ image @ columns^T.

All four are linear and separable, so a batch of different crops is two batched matrix products,
antialiased exactly as Pillow and torchvision do it, at under a hundredth of a ResNet's own
arithmetic. Legend: N images, O output and S stored pixels along an axis, K taps of a blur.
"""

from __future__ import annotations

import torch
from torch import Tensor


def crop_matrices(
    start_N: Tensor, length_N: Tensor, num_stored: int, num_out: int, flip_N: Tensor | None = None
) -> Tensor:
    """Antialiased bilinear weights that bring a part of an axis to `num_out` pixels.

    Args:
        start_N: first edge of the part in stored pixels, may be fractional.
        length_N: its length in stored pixels.
        num_stored: pixels along the axis of the stored image (S).
        num_out: pixels wanted (O).
        flip_N: 1 where the result is mirrored, else 0.

    Returns:
        Weights of shape (N, O, S); rows sum to 1, pixels outside the part have no weight.
    """
    device = start_N.device
    stored_S = torch.arange(num_stored, device=device, dtype=torch.float32) + 0.5
    out_O = torch.arange(num_out, device=device, dtype=torch.float32) + 0.5
    start_N1, length_N1 = start_N[:, None], length_N[:, None]
    scale_N1 = length_N1 / num_out
    support_N1 = scale_N1.clamp(min=1.0)
    centre_NO = start_N1 + out_O * scale_N1
    if flip_N is not None:
        centre_NO = torch.lerp(centre_NO, 2 * start_N1 + length_N1 - centre_NO, flip_N[:, None])
    is_outside_NS = (stored_S < start_N1.floor()) | (stored_S > (start_N1 + length_N1).ceil())
    place_NS = (stored_S / support_N1).masked_fill_(is_outside_NS, 1e6)
    weights = torch.sub(place_NS[:, None, :], (centre_NO / support_N1)[:, :, None])
    weights = weights.abs_().neg_().add_(1.0).clamp_(min=0.0)
    return weights.div_(weights.sum(dim=2, keepdim=True))


def blur_spread(num_taps: int, num_pixels: int, device: torch.device) -> Tensor:
    """Which stored pixel each tap of a blur meets, edges mirrored; shape (K, O * O), made once.

    Args:
        num_taps: kernel size, odd and at most 2 * num_pixels - 1.
        num_pixels: length of the axis (O).
        device: of the result.
    """
    half = num_taps // 2
    offsets_K1 = torch.arange(-half, half + 1, device=device)[:, None]
    source_KO = (offsets_K1 + torch.arange(num_pixels, device=device)).abs()
    last = num_pixels - 1
    source_KO = torch.where(source_KO > last, 2 * last - source_KO, source_KO)
    return torch.nn.functional.one_hot(source_KO, num_pixels).float().flatten(1)


def blur_matrices(sigma_N: Tensor, spread_KO: Tensor) -> Tensor:
    """Gaussian blur along an axis as torchvision's `gaussian_blur` does it.

    Args:
        sigma_N: standard deviation of each image in pixels.
        spread_KO: what `blur_spread` made.

    Returns:
        Weights of shape (N, O, O).
    """
    num_taps, num_weights = spread_KO.shape
    offsets_K = torch.arange(num_taps, device=sigma_N.device) - num_taps // 2
    kernel_NK = torch.exp(-0.5 * (offsets_K / sigma_N[:, None]) ** 2)
    kernel_NK = kernel_NK / kernel_NK.sum(dim=1, keepdim=True)
    num_pixels = int(num_weights**0.5 + 0.5)
    return (kernel_NK @ spread_KO).view(-1, num_pixels, num_pixels)


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
