"""Training augmentation of whole batches on the device, with parameters drawn for each image.

Equal in distribution to the torchvision operations of the same names, in this order: random resized
crop (antialiased), horizontal flip, Gaussian blur, rotation, colour jitter, normalisation, erasing.
Crop, flip and blur are one product of matrices (`trainer.data.resample`). Legend: N images, H x W
pixels, C colours.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from trainer.data import augment_draws as draw
from trainer.data.color import ColorDraws, jitter_colors
from trainer.data.resample import apply_separable, blur_matrices, crop_matrices, flip_rows
from trainer.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.config.dataset import DatasetConfig
    from trainer.config.root import Spec
    from trainer.data.decode import ImageSize

_LUMA_601 = (0.299, 0.587, 0.114)


class BatchAugment:
    """Turns stored uint8 images into an augmented, normalised batch.

        augment = BatchAugment(spec, generator, device)
        batch_NCHW = augment(images_NHWC, sizes_N2)

    The result depends on the generator's state and the images alone, not on the device.

    Args:
        spec: `dataset` says what is done, `model` the size of the result.
        generator: on the CPU; a seed makes one.
        device: where the images are changed.
    """

    def __init__(
        self, spec: Spec, generator: torch.Generator | int, device: torch.device | str = "cpu"
    ) -> None:
        self._dataset: DatasetConfig = spec.dataset
        self._height, self._width = spec.model.input_height, spec.model.input_width
        self._channels = spec.model.input_channels
        self._device = torch.device(device)
        self.generator = (
            torch.Generator().manual_seed(generator) if isinstance(generator, int) else generator
        )
        self._mean_C11, self._std_C11 = pixel_statistics(spec.dataset, self._channels, self._device)

    def __call__(self, images_NHWC: Tensor, sizes_N2: Tensor | None = None) -> Tensor:
        """Augment one batch.

        Args: images_NHWC: uint8, at any stored size, anywhere. sizes_N2: height and width of the
            files they came from: crop ratios are meant in the file's pixels;
                default: the stored size.

        Returns:
            float32 of shape (N, C, input_height, input_width) in channels-last memory.
        """
        num, stored_height, stored_width, _ = images_NHWC.shape
        if sizes_N2 is None:
            sizes_N2 = torch.tensor([[stored_height, stored_width]]).expand(num, 2)
        rows, columns = self._matrices(sizes_N2, stored_height, stored_width)
        images = images_NHWC.to(self._device, non_blocking=True).permute(0, 3, 1, 2)
        images = images.to(torch.float32, memory_format=torch.contiguous_format)
        out = apply_separable(images, rows, columns).mul_(1.0 / 255.0)
        if self._dataset.random_rotation:
            out = rotate(out, draw.draw_uniform(num, 0.0, 180.0, self.generator).to(self._device))
        if self._dataset.color_augmentation.enabled:
            out = jitter_colors(out.flatten(2), self._draw_colors(num)).view_as(out)
        return self._finish(out)

    def _matrices(
        self, sizes_N2: Tensor, stored_height: int, stored_width: int
    ) -> tuple[Tensor, Tensor]:
        """Crop, flip and blur along the height (N, H, stored) and along the width (N, W, stored)."""
        num = len(sizes_N2)
        boxes = draw.draw_crop_boxes(sizes_N2, self.generator)
        scale_2N = torch.tensor([[stored_height], [stored_width]]) / sizes_N2.T
        flip = torch.rand(num, generator=self.generator) < self._dataset.prob
        sigma = draw.draw_uniform(num, *self._dataset.gaussian_blur.sigma, self.generator)
        packed = torch.stack(
            [
                boxes.top * scale_2N[0],
                boxes.height * scale_2N[0],
                boxes.left * scale_2N[1],
                boxes.width * scale_2N[1],
            ]
            + [flip.float(), sigma]
        ).to(self._device, non_blocking=True)
        top, height, left, width, flip, sigma = packed
        rows = crop_matrices(top, height, stored_height, self._height)
        columns = flip_rows(crop_matrices(left, width, stored_width, self._width), flip > 0.5)
        if self._dataset.gaussian_blur.enabled:
            tall, wide = self._dataset.gaussian_blur.kernel
            rows = torch.bmm(blur_matrices(sigma, tall, self._height), rows)
            columns = torch.bmm(blur_matrices(sigma, wide, self._width), columns)
        return rows, columns

    def _draw_colors(self, num: int) -> ColorDraws:
        color, generator = self._dataset.color_augmentation, self.generator
        return ColorDraws(
            brightness=draw.draw_factors(num, color.brightness, generator),
            contrast=draw.draw_factors(num, color.contrast, generator),
            saturation=draw.draw_factors(num, color.saturation, generator),
            hue=draw.draw_uniform(num, -color.hue, color.hue, generator) if color.hue > 0 else None,
            orders=draw.draw_orders(num, 4, generator),
        )

    def _finish(self, images_NCHW: Tensor) -> Tensor:
        """Normalise, erase (to the mean, which is 0 now) and lay out channels last."""
        num = len(images_NCHW)
        out = torch.empty_like(images_NCHW, memory_format=torch.channels_last)
        torch.sub(images_NCHW, self._mean_C11, out=out)
        out.div_(self._std_C11)
        if self._dataset.re_prob > 0:
            boxes = draw.draw_erase_boxes(
                num, self._height, self._width, self._dataset.re_prob, self.generator
            )
            out.masked_fill_(erase_mask(boxes, self._height, self._width, self._device), 0.0)
        return out


def erase_mask(boxes: draw.Boxes, height: int, width: int, device: torch.device) -> Tensor:
    """True inside each image's box; shape (N, 1, H, W)."""
    packed = torch.stack([boxes.top, boxes.height, boxes.left, boxes.width]).to(
        device, non_blocking=True
    )
    top, tall, left, wide = packed[:, :, None]
    row, column = torch.arange(height, device=device), torch.arange(width, device=device)
    in_rows_NH = (row >= top) & (row < top + tall)
    in_columns_NW = (column >= left) & (column < left + wide)
    return (in_rows_NH[:, :, None] & in_columns_NW[:, None, :])[:, None]


def rotate(images_NCHW: Tensor, degrees_N: Tensor) -> Tensor:
    """Turn each image counter-clockwise about its centre; the corners become black (bilinear)."""
    _, _, height, width = images_NCHW.shape
    radians = degrees_N * (math.pi / 180.0)
    cos, sin, zero = radians.cos(), radians.sin(), torch.zeros_like(radians)
    aspect = height / width
    theta = torch.stack([cos, -sin * aspect, zero, sin / aspect, cos, zero], dim=1).view(-1, 2, 3)
    grid = affine_grid(theta, list(images_NCHW.shape), align_corners=False)
    return grid_sample(
        images_NCHW, grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )


def normalize_batch(images_NHWC: Tensor, mean_C11: Tensor, std_C11: Tensor) -> Tensor:
    """What evaluation and inference feed the network: normalised, not augmented.

    Args:
        images_NHWC: uint8 at the network's size, on the device of the statistics or not.
        mean_C11: mean of pixels in 0..1 per colour.
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

    One value serves all channels; three values are weighted as grey is mixed where the input has
    one channel.

    Raises:
        SpecError: neither 1 nor 3 values, or a deviation that is not positive.
    """
    tensors = []
    for name, values in (("pixel_mean", dataset.pixel_mean), ("pixel_std", dataset.pixel_std)):
        if len(values) not in {1, 3}:
            raise SpecError(f"dataset.{name}: 1 or 3 values must be given, got {len(values)}")
        tensors.append(
            torch.tensor(_for_channels(values, channels), device=device).view(channels, 1, 1)
        )
    if not bool((tensors[1] > 0).all()):
        raise SpecError(
            f"dataset.pixel_std: values above 0 must hold, got {list(dataset.pixel_std)}"
        )
    return tensors[0], tensors[1]


def _for_channels(values: Sequence[float], channels: int) -> list[float]:
    if len(values) == channels:
        return list(values)
    if len(values) == 1:
        return list(values) * channels
    return [sum(weight * value for weight, value in zip(_LUMA_601, values, strict=True))]
