"""Lists the file endings of pictures, optional formats included, and opens files of these alone."""

from __future__ import annotations

import functools
import io
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

EXTRA = "heic"
"""Extra of this project that brings the reader of HEIC files."""
HEIF_EXTENSIONS = frozenset({".heic", ".heif", ".hif"})

_EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif"}
    | {".ppm", ".pgm", ".pbm"}
)
FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "WEBP", "TIFF", "PPM", "AVIF", "HEIF")
"""What files may hold, by Pillow's names. Its other decoders are given nothing: that of PostScript
runs what the file says as a program."""
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


@functools.cache
def image_extensions() -> frozenset[str]:
    """Endings of the pictures that can be read here, in lower case with their dot."""
    from PIL import features

    found = _EXTENSIONS | (HEIF_EXTENSIONS if register_heif() else frozenset())
    is_known = "avif" in features.modules  # Pillow before 11.3 warns of a name that it lacks
    return found | {".avif"} if is_known and features.check("avif") else found


@functools.cache
def register_heif() -> bool:
    """Have Pillow read HEIC files, as telephones write them; whether it can."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.options.DECODE_THREADS = 1  # files are decoded in threads of our own
    pillow_heif.register_heif_opener()
    return True


def open_picture(data: bytes) -> Image:
    """Open a file of one of `FORMATS`, as `PIL.Image.open` does."""
    from PIL import Image

    Image.init()
    return Image.open(io.BytesIO(data), formats=[name for name in FORMATS if name in Image.OPEN])


def is_heif(data: bytes) -> bool:
    """Whether a file's bytes begin as a HEIC or HEIF file does."""
    return data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS


def ending(path: str) -> str:
    """The ending of a file's name in lower case, with its dot; empty where there is none."""
    return os.path.splitext(path)[1].strip().lower()  # noqa: PTH122 - hot loop
