"""Small copies of pictures for pages, as data URIs."""

from __future__ import annotations

import base64
import contextlib
import io
import logging
import warnings
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

THUMBNAIL_PX = 112
MOST_PIXELS = 100_000_000
"""Of a picture that is decoded for a thumbnail; JPEG files are decoded in part."""


def thumbnail(path: str | Path) -> str | None:
    """Return a picture as a small data URI; None when it cannot be read in little memory."""
    from PIL import Image, ImageOps

    with contextlib.suppress(ImportError):  # pictures of telephones, where their reader is at hand
        import pillow_heif

        pillow_heif.register_heif_opener()
    bound, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        # Pillow warns of damaged metadata, of which the data doctor speaks.
        with warnings.catch_warnings(action="ignore"), Image.open(path) as picture:
            picture.draft("RGB", (2 * THUMBNAIL_PX, 2 * THUMBNAIL_PX))
            if picture.width * picture.height > MOST_PIXELS:
                return None
            small = _eight_bits(ImageOps.exif_transpose(picture)).convert("RGB")
            small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    except Exception as error:  # noqa: BLE001 - damaged files make decoders raise anything
        logger.debug("%s: no thumbnail: %s", path, error)
        return None
    finally:
        Image.MAX_IMAGE_PIXELS = bound
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


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
