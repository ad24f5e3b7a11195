"""Decodes one image file to a uint8 array of the asked size.

Rotation tags are applied, transparency is laid on white, 16-bit and float greys are brought to 8
bits, animated files give their first frame. How it comes to its size says `trainer.data.framing`.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trainer.data.framing import SQUASHED, Framing, ImageSize
from trainer.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL.Image import Image

DECODER_VERSION = 1
"""Raised whenever the same file would give other pixels: caches built before are not used then."""

_HIGH_DEPTH_MODES = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})
_DRAFT_REDUNDANCY = 2


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
        framing: how it is brought to that size.

    Returns:
        uint8 pixels of shape (height, width, channels) and the upright size of the file.

    Raises:
        ImageError: the file cannot be read or decoded; the message names it.
    """
    from PIL import Image

    data = None
    try:
        with path.open("rb") as file:
            data = file.read()
        with Image.open(io.BytesIO(data)) as image:
            return _to_size(image, size, framing)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        reason = "it is empty" if data == b"" else _one_line(error)
        raise ImageError(
            f"{path}: not a readable image ({reason}); replace or remove it"
        ) from error


def _to_size(image: Image, size: ImageSize, framing: Framing) -> DecodedImage:
    from PIL import ImageOps

    width, height = image.size
    if framing.cut is None:  # a cut picture has the pixels that timm's transform gives
        longer = _DRAFT_REDUNDANCY * max(size.height, size.width)
        # JPEG only: decode 1/2, 1/4 or 1/8
        image.draft("RGB" if size.channels == 3 else "L", (longer, longer))
    upright = ImageOps.exif_transpose(image)
    if (upright.width > upright.height) != (image.width > image.height):
        width, height = height, width
    flat = _flatten(upright, "RGB" if size.channels == 3 else "L")
    flat = framing.bring(flat, size)
    pixels = np.asarray(flat, dtype=np.uint8).reshape(size.height, size.width, size.channels)
    return DecodedImage(pixels=pixels, original_height=height, original_width=width)


def _flatten(image: Image, mode: str) -> Image:
    """The picture in 8-bit `mode`, transparency on white, more than 8 bits scaled down."""
    from PIL import Image

    if image.mode in _HIGH_DEPTH_MODES:
        return Image.fromarray(_eight_bits(np.asarray(image))).convert(mode)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        paper = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(paper, rgba).convert(mode)
    return image if image.mode == mode else image.convert(mode)


def _eight_bits(grey_HW: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Grey of any depth in 0..255.

    Floats up to 1 are shares of white, 32-bit values up to 255 stay, all others are 16-bit.
    """
    values = np.nan_to_num(grey_HW.astype(np.float64))
    top = float(values.max(initial=0.0))
    if grey_HW.dtype.kind == "f" and top <= 1.0:
        scale = 255.0
    elif top <= 255.0 and grey_HW.dtype.itemsize > 2:
        scale = 1.0
    else:
        scale = 255.0 / max(65535.0, top)
    return np.clip(np.rint(values * scale), 0, 255).astype(np.uint8)


_PLAINLY = {
    "cannot identify": "unknown format",
    "truncated": "it is cut off",
    "decompression bomb": "it claims more pixels than any photograph has",
}
"""Part of Pillow's words -> ours."""


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    plain = (ours for theirs, ours in _PLAINLY.items() if theirs in text.lower())
    return next(plain, text)
