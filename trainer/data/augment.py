"""Training augmentation of whole batches on the device, with parameters drawn for each image.

Equal in distribution to the torchvision operations of the same names, in this order: random
resized crop (antialiased), horizontal flip, Gaussian blur, rotation, colour jitter, normalisation,
erasing. On an accelerator crop, flip and blur are one product of matrices for the whole batch; on
a CPU torch's own resize of bytes crops image by image, which is faster (`trainer.data.resample`).
Legend: N images, H x W pixels, C colours, B images of a block.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from trainer.data import augment_draws as draw
from trainer.data.color import ColorDraws, jitter_colors, luma, make_color_draws, sort_orders
from trainer.data.normalize import pixel_statistics
from trainer.data.resample import (
    AxisBlur,
    apply_bands,
    apply_separable,
    crop_each,
    crop_matrices,
    pixel_centres,
)

if TYPE_CHECKING:
    from trainer.config.root import Spec

_BLOCK_FLOATS = 500_000
"""On the CPU, images are changed in blocks of about this many values: they stay in the cache, and
are large enough to be worth an operation. Larger ones gain with several threads, lose with one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draws:
    """All that was drawn for a batch, for its images in another order."""

    places: Tensor
    """(N,): which image of the batch stands at each place of this order; on the CPU."""
    crop: Tensor
    """(4, N): top, height, left and width in whole stored pixels; on the CPU."""
    geometry: Tensor
    """(7, N): the crop; flip, blur, degrees."""
    color: ColorDraws
    erase: Tensor
    """(4, N): top, height, left and width, 0 where nothing is erased."""


class BatchAugment:
    """Turns stored uint8 images into an augmented, normalised batch.

        augment = BatchAugment(spec, generator, device)
        batch_NCHW = augment(images_NHWC, sizes_N2)

    What is drawn depends on the generator's state alone, not on the device.

    Args:
        spec: `dataset` says what is done.
        generator: on the CPU; a seed makes one.
        device: where the images are changed.
        size: height and width of the result; None takes those of the network's input.

    Attributes:
        generator: the one that all is drawn from.
        dataset: the section of the spec that it was made with.
    """

    def __init__(
        self,
        spec: Spec,
        generator: torch.Generator | int,
        device: torch.device | str = "cpu",
        *,
        size: tuple[int, int] | None = None,
    ) -> None:
        self.dataset = spec.dataset
        self._height, self._width = size or (spec.model.input_height, spec.model.input_width)
        self._channels = spec.model.input_channels
        self._device = torch.device(device)
        if isinstance(generator, int):
            generator = torch.Generator().manual_seed(generator)
        self.generator: torch.Generator = generator
        mean_C11, std_C11 = pixel_statistics(spec.dataset, self._channels, self._device)
        self._gain_C11, self._offset_C11 = 1.0 / std_C11, -mean_C11 / std_C11
        self._luma_C = luma(self._channels).to(self._device)
        tall, wide = spec.dataset.gaussian_blur.kernel
        self._blur_rows = AxisBlur(tall, self._height, self._device)
        self._blur_columns = AxisBlur(wide, self._width, self._device)
        self._out_rows = pixel_centres(self._height, self._device)
        self._out_columns = pixel_centres(self._width, self._device)

    def __call__(self, images_NHWC: Tensor, sizes_N2: Tensor | None = None) -> Tensor:
        """Augment one batch.

        Args:
            images_NHWC: uint8, at any stored size, anywhere.
            sizes_N2: height and width of the files they came from, on the CPU: areas and ratios of
                crops are meant in the file's pixels; default: the stored size.

        Returns:
            float32 of shape (N, C, height, width) in channels-last memory.
        """
        num, stored_height, stored_width, channels = images_NHWC.shape
        stored_2 = torch.tensor([stored_height, stored_width])
        draws = self._draw(stored_2, stored_2.expand(num, 2) if sizes_N2 is None else sizes_N2)
        places = draws.places.to(self._device, non_blocking=True)
        images = images_NHWC.to(self._device, non_blocking=True).index_select(0, places)
        out_NHWC = torch.empty((num, self._height, self._width, channels), device=self._device)
        step = self._block_size(num)
        for part in (slice(start, start + step) for start in range(0, num, step)):
            done_BCHW = self._augment_block(images[part], draws, part)
            out_NHWC[part] = done_BCHW.permute(0, 2, 3, 1)
        return out_NHWC.index_select(0, places.argsort()).permute(0, 3, 1, 2)

    def _block_size(self, num: int) -> int:
        if self._device.type != "cpu":
            return num
        return max(1, _BLOCK_FLOATS // (self._channels * self._height * self._width))

    def _augment_block(self, images_BHWC: Tensor, draws: _Draws, part: slice) -> Tensor:
        if self._device.type == "cpu":
            out = self._resample_each(images_BHWC, draws, part)
        else:
            out = self._resample_at_once(images_BHWC, draws, part)
        if self.dataset.random_rotation:
            out = rotate(out, draws.geometry[6, part])
        if self.dataset.color_augmentation.enabled:
            out = jitter_colors(out.flatten(2), draws.color.part(part), self._luma_C).view_as(out)
        out = out.mul_(self._gain_C11).add_(self._offset_C11)
        if self.dataset.re_prob > 0:
            out.mul_(keep_mask(draws.erase[:, part], self._out_rows, self._out_columns))
        return out

    def _resample_each(self, images_BHWC: Tensor, draws: _Draws, part: slice) -> Tensor:
        """Crop, flip, blur, and 0..255 to 0..1: shape (B, C, H, W), image by image."""
        boxes_N4 = draws.crop[:, part].T.int().tolist()
        flips = draws.geometry[4, part].bool().tolist()
        cropped = crop_each(images_BHWC, boxes_N4, flips, (self._height, self._width))
        planes = cropped.to(torch.float32).mul_(1.0 / 255.0)
        if not self.dataset.gaussian_blur.enabled:
            return planes
        sigma = draws.geometry[5, part]
        rows, columns = self._blur_rows.matrices(sigma), self._blur_columns.matrices(sigma)
        return apply_bands(planes, rows, columns, (self._blur_rows.reach, self._blur_columns.reach))

    def _resample_at_once(self, images_BHWC: Tensor, draws: _Draws, part: slice) -> Tensor:
        """The same with few large operations, without rounding to bytes between them."""
        down, right = _window(draws.crop[:, part])
        planes = images_BHWC[:, down, right].permute(0, 3, 1, 2)
        planes = planes.to(torch.float32, memory_format=torch.contiguous_format)
        top, tall, left, wide, flip, sigma, _ = draws.geometry[:, part]
        stored_rows = pixel_centres(down.stop, self._device)[down]
        stored_columns = pixel_centres(right.stop, self._device)[right]
        rows = crop_matrices(top, tall, stored_rows, self._out_rows)
        columns = crop_matrices(left, wide, stored_columns, self._out_columns, flip)
        if self.dataset.gaussian_blur.enabled:
            rows = torch.bmm(self._blur_rows.matrices(sigma), rows)
            columns = torch.bmm(self._blur_columns.matrices(sigma), columns)
        return apply_separable(planes, rows, columns.mul_(1.0 / 255.0))

    def _draw(self, stored_2: Tensor, sizes_N2: Tensor) -> _Draws:
        """Draw in an order that suits the colours; what else is drawn has no order of its own."""
        num, generator, dataset = len(sizes_N2), self.generator, self.dataset
        color, places = self._draw_colors(num)
        sizes_N2 = sizes_N2[places]
        area = (dataset.crop_scale.least, dataset.crop_scale.greatest)
        boxes_4N = draw.draw_crop_boxes(sizes_N2, area, generator)
        crop = _in_stored_pixels(boxes_4N, sizes_N2, stored_2)
        flip = torch.rand(num, generator=generator) < dataset.prob
        sigma = draw.draw_uniform(num, *dataset.gaussian_blur.sigma, generator)
        degrees = draw.draw_uniform(num, 0.0, 180.0, generator)
        geometry = torch.cat([crop, torch.stack([flip.float(), sigma, degrees])])
        erase = draw.draw_erase_boxes(num, self._height, self._width, dataset.re_prob, generator)
        return _Draws(
            places=places,
            crop=crop,
            geometry=geometry.to(self._device, non_blocking=True),
            color=color.to(self._device),
            erase=erase.to(self._device, non_blocking=True),
        )

    def _draw_colors(self, num: int) -> tuple[ColorDraws, Tensor]:
        color, generator = self.dataset.color_augmentation, self.generator
        orders, places = sort_orders(draw.draw_orders(num, 4, generator))
        spreads = (color.brightness, color.contrast, color.saturation)
        factors = [draw.draw_factors(num, spread, generator) for spread in spreads]
        hue = draw.draw_uniform(num, -color.hue, color.hue, generator)
        has_hue = color.hue > 0
        draws = make_color_draws(
            torch.stack(factors), hue if has_hue else None, orders, self._channels
        )
        return draws, places


def _in_stored_pixels(boxes_4N: Tensor, sizes_N2: Tensor, stored_2: Tensor) -> Tensor:
    """Boxes of the files in whole pixels of the stored images, none of them empty."""
    scale_2N = (stored_2 / sizes_N2).T
    start_2N = (boxes_4N[0::2] * scale_2N).round().minimum(stored_2[:, None] - 1)
    end_2N = ((boxes_4N[0::2] + boxes_4N[1::2]) * scale_2N).round().minimum(stored_2[:, None])
    length_2N = (end_2N - start_2N).clamp_(min=1.0)
    return torch.stack([start_2N[0], length_2N[0], start_2N[1], length_2N[1]])


def _window(crop_4N: Tensor) -> tuple[slice, slice]:
    """Rows and columns of the stored images that any of these crops looks at."""
    top, tall, left, wide = crop_4N
    down = slice(int(top.min()), int((top + tall).max()))
    return down, slice(int(left.min()), int((left + wide).max()))


def keep_mask(boxes_4N: Tensor, rows_H: Tensor, columns_W: Tensor) -> Tensor:
    """0 inside each image's box, else 1.

    Args:
        boxes_4N: top, height, left and width.
        rows_H: `pixel_centres` along the height.
        columns_W: likewise along the width.

    Returns:
        Shape (N, 1, H, W).
    """
    top, tall, left, wide = boxes_4N[:, :, None]
    in_rows_NH = ((rows_H > top) & (rows_H < top + tall)).float()
    in_columns_NW = ((columns_W > left) & (columns_W < left + wide)).float()
    inside: Tensor = in_rows_NH[:, None, :, None] * in_columns_NW[:, None, None, :]
    return inside.neg_().add_(1.0)


def rotate(images_NCHW: Tensor, degrees_N: Tensor) -> Tensor:
    """Turn each image counter-clockwise about its centre (bilinear); the corners become black."""
    _, _, height, width = images_NCHW.shape
    radians = degrees_N * (math.pi / 180.0)
    cos, sin, zero = radians.cos(), radians.sin(), torch.zeros_like(radians)
    aspect = height / width
    rows = [cos, -sin * aspect, zero, sin / aspect, cos, zero]
    grid = affine_grid(
        torch.stack(rows, dim=1).view(-1, 2, 3), list(images_NCHW.shape), align_corners=False
    )
    return grid_sample(images_NCHW, grid, align_corners=False)
