"""Decodes one image file to a uint8 array of the asked size.

Rotation tags are applied, transparency is laid on white, deep pictures are brought to 8 bits by one
range for all, files of several pages or frames give their first. How it comes to its size says
`trainer.data.framing`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trainer.data.decoder import Opened, UnreadableError, opened, turned
from trainer.data.framing import SQUASHED, Framing, ImageSize
from trainer.data.origin import origin
from trainer.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL.Image import Image

    from trainer.data.deep import ValueRange

DECODER_VERSION = 2
"""Raised whenever the same file would give other pixels: caches built before are not used then."""

_DRAFT_REDUNDANCY = 2
_STRIP_PX = 1 << 24
"""Larger pictures are brought to another mode in strips, so that copies stay small."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedImage:
    """Pixels at the asked size and the size that the file had."""

    pixels: NDArray[np.uint8]
    """Shape (H, W, C)."""
    original_height: int
    original_width: int


def decode_image(path: Path, size: ImageSize, framing: Framing = SQUASHED) -> DecodedImage:
    """Read and resize one file.

    Args:
        path: the file, opened exactly once.
        size: what the network (or the cache) wants.
        framing: how it is brought to that size, and to 8 bits where it has more.

    Returns:
        uint8 pixels of shape (height, width, channels) and the upright size of the file.

    Raises:
        ImageError: the file cannot be read or decoded; the message names it.
    """
    mode = "RGB" if size.channels == 3 else "L"
    # A cut picture has the pixels that timm's transform gives: of the full size, if that fits.
    needed = framing.cut.resized if framing.cut else (size.height, size.width)
    longest, in_full = _DRAFT_REDUNDANCY * max(needed), framing.cut is not None
    try:
        with opened(path.read_bytes(), mode=mode, longest_px=longest, in_full=in_full) as picture:
            flat = upright_picture(picture, mode, framing.value_range)
            width, height = picture.width, picture.height
            if (flat.width > flat.height) != (picture.image.width > picture.image.height):
                width, height = height, width
            pixels = np.asarray(framing.bring(flat, size), dtype=np.uint8)
    except OSError as error:
        raise ImageError(_refusal(path, error.strerror or str(error))) from error
    except (UnreadableError, ValueError) as error:  # of a mode that Pillow cannot convert
        raise ImageError(_refusal(path, str(error))) from error
    return DecodedImage(
        pixels=pixels.reshape(size.height, size.width, size.channels),
        original_height=height,
        original_width=width,
    )


def _refusal(path: Path, reason: str) -> str:
    return f"{origin(path)}: not a readable picture ({reason}); replace or remove it"


def upright_picture(picture: Opened, mode: str, value_range: ValueRange | None) -> Image:
    """Return an opened picture upright in an 8-bit mode (`RGB` or `L`), transparency on white."""
    image = picture.image
    if picture.samples is not None:
        image = picture.samples.eight_bits(value_range)
    return turned(_flat(image, mode), picture.image, picture.remarks)


def _flat(image: Image, mode: str) -> Image:
    """The picture in `mode`, with transparency on white."""
    from PIL import Image

    if image.mode == mode and not image.has_transparency_data:
        return image
    if image.width * image.height <= _STRIP_PX:
        return _flat_strip(image, mode)
    whole = Image.new(mode, image.size)
    step = max(1, _STRIP_PX // image.width)
    for top in range(0, image.height, step):
        box = (0, top, image.width, min(top + step, image.height))
        whole.paste(_flat_strip(image.crop(box), mode), box)
    return whole


def _flat_strip(image: Image, mode: str) -> Image:
    from PIL import Image, ImageCms

    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        image = ImageCms.buildTransform(lab, srgb, "LAB", "RGB").apply(image)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        paper = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(paper, rgba).convert(mode)
    return image if image.mode == mode else image.convert(mode)
