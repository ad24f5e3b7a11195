"""Crop, resize, flip and blur as one matrix per axis: out = rows @ image @ columns^T.

All four are linear and separable, so a batch of different crops is two batched matrix products,
antialiased exactly as Pillow and torchvision do it, at under a hundredth of a ResNet's own
arithmetic. Legend: N images, O output and S stored pixels along an axis, K taps of a blur.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot


def crop_matrices(start_N: Tensor, length_N: Tensor, num_stored: int, num_out: int) -> Tensor:
    """Antialiased bilinear weights that bring [start, start + length) of an axis to `num_out`
    pixels.

    Args:
        start_N: first edge of the crop in stored pixels, may be fractional.
        length_N: its length in stored pixels.
        num_stored: pixels along the axis of the stored image (S).
        num_out: pixels wanted (O).

    Returns:
        Weights of shape (N, O, S); rows sum to 1, pixels outside the crop have no weight.
    """
    device = start_N.device
    scale_N1 = (length_N / num_out)[:, None, None]
    support_N1 = scale_N1.clamp(min=1.0)
    out_O1 = torch.arange(num_out, device=device, dtype=torch.float32)[:, None]
    stored_S = torch.arange(num_stored, device=device, dtype=torch.float32)
    start_N1 = start_N[:, None, None]
    centre_NO1 = start_N1 + (out_O1 + 0.5) * scale_N1
    weights = (1.0 - ((stored_S + 0.5 - centre_NO1) / support_N1).abs()).clamp(min=0.0)
    first, last = start_N1.floor(), (start_N1 + length_N[:, None, None]).ceil()
    weights = weights * ((stored_S >= first) & (stored_S < last))
    return weights / weights.sum(dim=2, keepdim=True)


def flip_rows(matrices_NOS: Tensor, flip_N: Tensor) -> Tensor:
    """Mirror the output axis of the images whose flag is set."""
    return torch.where(flip_N[:, None, None], matrices_NOS.flip(1), matrices_NOS)


def blur_matrices(sigma_N: Tensor, num_taps: int, num_pixels: int) -> Tensor:
    """Gaussian blur along an axis with mirrored edges, as
    `torchvision.transforms.functional.gaussian_blur`.

    Args:
        sigma_N: standard deviation of each image in pixels.
        num_taps: kernel size, odd and at most 2 * num_pixels - 1.
        num_pixels: length of the axis (O).

    Returns:
        Weights of shape (N, O, O).
    """
    half = num_taps // 2
    offsets_K = torch.arange(-half, half + 1, device=sigma_N.device)
    kernel_NK = torch.exp(-0.5 * (offsets_K / sigma_N[:, None]) ** 2)
    kernel_NK = kernel_NK / kernel_NK.sum(dim=1, keepdim=True)
    source_OK = torch.arange(num_pixels, device=sigma_N.device)[:, None] + offsets_K
    source_OK = source_OK.abs()
    source_OK = torch.where(source_OK >= num_pixels, 2 * (num_pixels - 1) - source_OK, source_OK)
    spread_OKO = one_hot(source_OK, num_pixels).to(kernel_NK.dtype)
    return torch.einsum("nk,oks->nos", kernel_NK, spread_OKO)


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
    wide = torch.bmm(
        images_NCHW.reshape(num, channels * height, width), columns_NOW.transpose(1, 2)
    )
    return torch.matmul(rows_NOH[:, None], wide.view(num, channels, height, out_width))
