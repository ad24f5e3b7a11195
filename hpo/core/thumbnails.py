"""Small copies of pictures for pages."""

from __future__ import annotations

import base64
import contextlib
import io
import logging
import warnings
from pathlib import Path
from typing import Any, BinaryIO

logger = logging.getLogger(__name__)

THUMBNAIL_PX = 112
MOST_PIXELS = 100_000_000
"""Of a picture that is decoded for a thumbnail; JPEG files are decoded in part."""

FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "WEBP", "TIFF", "PPM", "AVIF", "HEIF")
"""What files may hold, by Pillow's names: its decoder of PostScript runs a file as a program."""


def thumbnail(path: str | Path) -> str | None:
    """Return a picture as a small data URI; None when it cannot be read in little memory.

    For one thread: Pillow's bound and the filter of warnings are the process's.
    """
    from PIL import Image

    bound, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        # Pillow warns of damaged metadata, of which the data doctor speaks.
        with warnings.catch_warnings(action="ignore"):
            data = small_jpeg(path, THUMBNAIL_PX)
    finally:
        Image.MAX_IMAGE_PIXELS = bound
    if data is None:
        return None
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


def small_jpeg(source: str | Path | BinaryIO, side_px: int) -> bytes | None:
    """Return a picture as a JPEG file of at most so many pixels a side, transparency on white.

    None when it cannot be read in little memory. May be called from several threads at once.
    """
    from PIL import Image, ImageOps

    with contextlib.suppress(ImportError):  # pictures of telephones, where their reader is at hand
        import pillow_heif

        pillow_heif.register_heif_opener()
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]
    try:
        with Image.open(source, formats=formats) as picture:
            picture.draft("RGB", (2 * side_px, 2 * side_px))
            if picture.width * picture.height > MOST_PIXELS:
                return None
            small = _eight_bits(ImageOps.exif_transpose(picture))
            small = small.convert("RGBA" if small.has_transparency_data else "RGB")
            small.thumbnail((side_px, side_px))
    except Exception as error:  # noqa: BLE001 - damaged files make decoders raise anything
        logger.debug("%s: no thumbnail: %s", source, error)
        return None
    paper = Image.new("RGB", small.size, "white")
    paper.paste(small, mask=small if small.mode == "RGBA" else None)
    paper.save(buffer := io.BytesIO(), "JPEG", quality=80)
    return buffer.getvalue()


def _eight_bits(picture: Any) -> Any:
    """Bring a grey picture of more than 8 bits to 8 by its own extremes, for people to look at."""
    from PIL import Image

    if picture.mode not in {"I", "F"} and not picture.mode.startswith("I;16"):
        return picture
    import numpy as np

    values = np.nan_to_num(np.asarray(picture, dtype=np.float64), posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) * (255.0 / (high - low or 1.0))
    return Image.fromarray(scaled.astype(np.uint8))
