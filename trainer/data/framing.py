"""How a picture is brought to a size: squashed to it, or resized by its short side and cut.

Cutting does what timm's and torchvision's evaluation transforms do, to the last pixel.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainer.data.deep import ValueRange
from trainer.errors import SpecError

if TYPE_CHECKING:
    from trainer.config.root import Spec

_MOST_RESIZED = 100_000_000
"""Pixels of a resized picture above which only the part that is kept is made: a strip of 1 x 50,000
pixels would take gigabytes."""

_GREY_601 = (0.299, 0.587, 0.114)
"""How Pillow mixes grey."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSize:
    """Height x width x channels; a type, so that height and width cannot be swapped."""

    height: int
    width: int
    channels: int = 3

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1 or self.channels not in {1, 3}:
            raise SpecError(
                "model.input_height, input_width >= 1 and input_channels 1 or 3 must hold, got "
                f"{self.height} x {self.width} x {self.channels}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """The centre that the network sees of a picture whose sides keep their ratio."""

    height: int
    """Of the network's input."""
    width: int
    share: float
    """Part of the resized short side that is seen, above 0 and up to 1."""

    @property
    def resized(self) -> tuple[int, int]:
        """Height and width that the resized picture covers: the input and a margin around it."""
        return math.floor(self.height / self.share), math.floor(self.width / self.share)

    @property
    def margin(self) -> tuple[int, int]:
        """Top and left of the input within the centre of the `resized` size."""
        tall, wide = self.resized
        return round((tall - self.height) / 2), round((wide - self.width) / 2)

    def size_of(self, height: int, width: int) -> tuple[int, int]:
        """Height and width that a picture is resized to."""
        tall, wide = self.resized
        if tall != wide:
            ratio = min(height / tall, width / wide)
            return round(height / ratio), round(width / ratio)
        if height <= width:
            return tall, int(tall * width / height)
        return int(wide * height / width), wide

    def corner_of(self, height: int, width: int, size: ImageSize) -> tuple[int, int]:
        """Top and left of the part of `size` in a resized picture.

        Whatever its size is, the network's input lies in its middle at the same pixels.
        """
        top = round((height - self.height) / 2) - round((size.height - self.height) / 2)
        left = round((width - self.width) / 2) - round((size.width - self.width) / 2)
        return top, left


@dataclass(frozen=True, slots=True, kw_only=True)
class Framing:
    """The filter that pictures are resized with, what is cut out of them, and what is white."""

    interpolation: str = "bilinear"
    """A filter of Pillow, in lower case."""
    cut: Cut | None = None
    """None squashes the whole picture to the size, whatever the ratio of its sides."""
    value_range: ValueRange | None = None
    """Samples that become black and white in pictures of more than 8 bits a channel; None takes
    what each of them reaches itself."""

    def input_of(self, images_NHWC: Any) -> Any:
        """Return what the network sees of pictures (array or tensor) at the size they are stored.

        Squashed ones must be stored at the input size; cut ones lose the margin around it.
        """
        if self.cut is None:
            return images_NHWC
        top, left = self.cut.margin
        return images_NHWC[:, top : top + self.cut.height, left : left + self.cut.width]

    def bring(self, image: Any, size: ImageSize) -> Any:
        """Return a Pillow picture at `size`: the network's input, or all of `Cut.resized`."""
        from PIL import Image

        resampling = Image.Resampling[self.interpolation.upper()]
        if self.cut is None:
            wanted = (size.width, size.height)
            return image if image.size == wanted else image.resize(wanted, resampling)
        tall, wide = self.cut.size_of(image.height, image.width)
        top, left = self.cut.corner_of(tall, wide, size)
        box = (left, top, left + size.width, top + size.height)
        if tall * wide <= _MOST_RESIZED:
            return image.resize((wide, tall), resampling).crop(box)
        down, right = image.height / tall, image.width / wide
        part = (box[0] * right, box[1] * down, box[2] * right, box[3] * down)
        return image.resize((size.width, size.height), resampling, box=part)


SQUASHED = Framing()
"""What the published trainer does."""

SQUASHED_FACTS: Mapping[str, Any] = {"interpolation": "bilinear", "crop_share": 0.0}
"""The same as facts of a model file; earlier releases did nothing else and did not write it."""


def input_size(spec: Spec) -> ImageSize:
    """What the network takes."""
    model = spec.model
    return ImageSize(
        height=model.input_height, width=model.input_width, channels=model.input_channels
    )


def framing_of(spec: Spec) -> Framing:
    """How the spec wants pictures brought to its input."""
    return make_framing(
        input_size(spec),
        interpolation=spec.dataset.interpolation,
        crop_share=spec.dataset.crop_share,
        value_range=spec.dataset.value_range,
    )


def make_framing(
    size: ImageSize,
    *,
    interpolation: str,
    crop_share: float,
    value_range: Sequence[float] | None = None,
) -> Framing:
    """Return the framing for an input of `size`; a share of 0 squashes."""
    cut = Cut(height=size.height, width=size.width, share=crop_share) if crop_share else None
    black_white = None if value_range is None else (value_range[0], value_range[1])
    return Framing(interpolation=interpolation, cut=cut, value_range=black_white)


def for_channels(values: Sequence[float], channels: int) -> list[float]:
    """Return one value for each channel of what `dataset.pixel_mean` or `pixel_std` says."""
    if len(values) == channels:
        return list(values)
    if len(values) == 1:
        return list(values) * channels
    return [sum(share * value for share, value in zip(_GREY_601, values, strict=True))]
