"""Prepares Pillow for untrusted files: no output, bounded memory, one error for every fault.

What Pillow and libtiff have to say of a file (damaged metadata, codes that are none) is kept with
the picture instead of going to the terminal. JPEG files are decoded at 1/2, 1/4 or 1/8 where that
is enough, so that the size of the file hardly matters; what other formats take is bounded.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from trainer.amounts import size_text
from trainer.data.deep import Samples, deep_samples, is_deep
from trainer.data.formats import EXTRA, is_heif, open_picture, register_heif

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_BYTES = 1 << 30
"""Decoded pictures in memory at a time, of all threads together."""

_MOST_REMARKS = 4
"""Kept of a picture; a damaged fax page has one for every line."""


class UnreadableError(Exception):
    """A file that gives no picture; the message says why and does not name it."""


class Remark(NamedTuple):
    """What the decoder had to say of a file that it could read."""

    text: str
    is_of_pixels: bool
    """Whether the pixels may have suffered; otherwise metadata have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A file whose first picture is decoded, as it is stored."""

    image: Image
    """In a mode of 8 bits; of deeper files what Pillow makes of them, which `samples` is not."""
    mode: str
    """Of the file, in Pillow's words: `RGB`, `L`, `RGBA`..."""
    samples: Samples | None
    """Of files with more than 8 bits a channel."""
    width: int
    """In pixels, of the file: the image may be smaller."""
    height: int
    is_sequence: bool
    """Whether pages or frames follow, which are not looked at."""
    remarks: list[Remark]


@contextmanager
def opened(
    data: bytes, *, mode: str, longest_px: int | None, in_full: bool = False
) -> Iterator[Opened]:
    """Decode the first picture of a file's bytes; it counts as in memory until this is left.

    Args:
        data: of the file.
        mode: `RGB` or `L`, what is made of it.
        longest_px: sides that are enough, for which JPEG files are decoded no larger than needed;
            None: as large as it is.
        in_full: decode them as large as they are all the same, where that is not too much memory.

    Raises:
        UnreadableError: it gives no picture, or one that takes too much memory.
    """
    with Listening() as remarks, ExitStack() as held:
        try:
            found = _decode(data, mode, longest_px, in_full, remarks, held)
        except UnreadableError:
            raise
        except Exception as error:  # damaged files make decoders raise anything
            raise UnreadableError(_reason(error, data, remarks)) from error
        yield found


def opens_deep(data: bytes) -> bool:
    """Whether a file has more than 8 bits a channel by its header; False for other files."""
    with Listening():
        try:
            with open_picture(data) as image:
                return is_deep(image)
        except Exception:  # noqa: BLE001 - damaged files make decoders raise anything
            return False


def _decode(
    data: bytes, mode: str, longest_px: int | None, in_full: bool, remarks: list[Remark],
    held: ExitStack,
) -> Opened:  # fmt: skip
    register_heif()
    image = held.enter_context(open_picture(data))
    (width, height), stored_mode = image.size, image.mode
    fits = in_full and _cost(image, width, height) <= MOST_BYTES
    if longest_px is not None and not fits:
        image.draft(mode, (longest_px, longest_px))
    held.enter_context(_ROOM.taken(_checked_cost(image, width, height)))
    samples = deep_samples(image, lambda: open_picture(data))
    image.load()
    # Telephones keep a preview or a depth map behind the picture in MPO files.
    is_sequence = image.format != "MPO" and bool(getattr(image, "is_animated", False))
    return Opened(
        image=image,
        mode=stored_mode,
        samples=samples,
        width=width,
        height=height,
        is_sequence=is_sequence,
        remarks=remarks,
    )


def turned(image: Image, source: Image, remarks: list[Remark]) -> Image:
    """Return an image upright: the rotation tag of its source applied, where it can be read."""
    from PIL import ExifTags, Image

    try:
        orientation = source.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception as error:  # noqa: BLE001 - damaged metadata make Pillow raise anything
        remarks.append(Remark(f"metadata that cannot be read ({error})", is_of_pixels=False))
        return image
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    turn = turns.get(orientation)
    return image if turn is None else image.transpose(turn)


def _checked_cost(image: Image, width: int, height: int) -> int:
    """Return `_cost`.

    Raises:
        UnreadableError: it is more than there may be.
    """
    cost = _cost(image, width, height)
    if cost > MOST_BYTES:
        raise UnreadableError(
            f"{width} x {height} pixels take {size_text(cost)} once decoded, more than "
            f"{size_text(MOST_BYTES)}; store it smaller or as an ordinary JPEG"
        )
    return cost


def _cost(image: Image, width: int, height: int) -> int:
    """Bytes that an image will take once decoded; `width` and `height` are those of its file."""
    cost = image.width * image.height * _bytes_per_pixel(image)
    if image.info.get("progressive"):  # all coefficients of the full size are held
        layers = [across * down for _, across, down, _ in getattr(image, "layer", [])] or [3]
        cost += 2 * width * height * sum(layers) // max(layers)
    return cost


def _bytes_per_pixel(image: Image) -> int:
    return {"I": 4, "F": 4}.get(
        image.mode, 2 if image.mode.startswith("I;16") else len(image.getbands())
    )


class _Room:
    """Bytes that threads share; who wants more than is left waits."""

    def __init__(self, num_bytes: int) -> None:
        self._left = num_bytes
        self._freed = threading.Condition()

    @contextmanager
    def taken(self, num_bytes: int) -> Iterator[None]:
        """Take some until the end of the block."""
        with self._freed:
            self._freed.wait_for(lambda: self._left >= num_bytes)
            self._left -= num_bytes
        try:
            yield
        finally:
            with self._freed:
                self._left += num_bytes
                self._freed.notify_all()


_ROOM = _Room(MOST_BYTES)
_listening = threading.local()


def _keep_remark(text: str, *, is_of_pixels: bool) -> bool:
    """Keep a remark with the picture that this thread decodes; False when it decodes none."""
    remarks: list[Remark] | None = getattr(_listening, "remarks", None)
    if remarks is None:
        return False
    remark = Remark(" ".join(text.split()).rstrip("."), is_of_pixels)
    if remark not in remarks and len(remarks) < _MOST_REMARKS:
        remarks.append(remark)
    return True


class Listening:
    """While any thread is inside, what decoders say goes to the remarks of the thread they serve.

    Filters of warnings belong to the process, so the first to come changes them and the last to
    go puts them back. Who decodes in several threads enters it around them all.
    """

    _lock = threading.Lock()
    _count = 0
    _changes = ExitStack()

    def __enter__(self) -> list[Remark]:
        _redirect_libtiff()
        with Listening._lock:
            Listening._count += 1
            if Listening._count == 1:
                Listening._changes.enter_context(_rerouted())
        _listening.remarks = []
        found: list[Remark] = _listening.remarks
        return found

    def __exit__(self, *_: object) -> None:
        _listening.remarks = None
        with Listening._lock:
            Listening._count -= 1
            if Listening._count == 0:
                Listening._changes.close()


@contextmanager
def _rerouted() -> Iterator[None]:
    from PIL import Image

    most_pixels = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        shown = warnings.showwarning

        def show(message: Warning | str, *where: Any, **more: Any) -> None:
            if not _keep_remark(str(message), is_of_pixels=False):
                shown(message, *where, **more)

        warnings.filterwarnings("always", module=r"PIL\.")
        warnings.showwarning = show
        Image.MAX_IMAGE_PIXELS = None  # a bound by decoded bytes stands in for it
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = most_pixels


@functools.cache
def _redirect_libtiff() -> tuple[Any, ...]:
    """Take what libtiff would print on the terminal; returns what must outlive every decoder."""
    from PIL import _imaging

    class Filter(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            return not _keep_remark(record.getMessage(), is_of_pixels=False)

    logging.getLogger("PIL.TiffImagePlugin").addFilter(Filter())
    kind = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
    library = ctypes.CDLL(_imaging.__file__)
    if not hasattr(library, "TIFFSetErrorHandler"):  # built into Pillow and not to be reached
        return ()

    def keep(where: bytes | None, text: bytes | None, values: int | None) -> None:
        words = _VALUES.sub("", (text or b"").decode(errors="replace"))
        place = (where or b"").decode(errors="replace")
        if not _keep_remark(f"{place}: {words}", is_of_pixels=True) and before:
            before(where, text, values)

    handler = kind(keep)
    library.TIFFSetErrorHandler.restype, library.TIFFSetErrorHandler.argtypes = kind, [kind]
    before = library.TIFFSetErrorHandler(handler)
    return handler, before


_VALUES = re.compile(r"""(\s+(at|on|of|in|for|line|scanline|strip|row|tile))*[\s"(,]*%.*""")
"""What a message of libtiff says from its first value on, which is not filled in."""
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PLAINLY = {
    "cannot identify": "unknown format",
    "truncated": "it is cut off",
    "too large for pngimageplugin": "its texts or colour profile unpack to more than a megabyte",
    "decoder error": "its data are damaged",
    "broken data stream": "its data are damaged",
}
"""Part of Pillow's words -> ours."""


def _reason(error: Exception, data: bytes, remarks: list[Remark]) -> str:
    if not data:
        return "it is empty"
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    text = " ".join(str(error).split()) or type(error).__name__
    if "cannot identify" in text and is_heif(data):
        lacking = f"a HEIC picture; to read it, install hpo-recognition[{EXTRA}]"
        return "its data are damaged" if register_heif() else lacking
    if "cannot identify" in text and data[:4] in _TIFF_STARTS:
        return "a sort of TIFF that Pillow does not read; store it in 8 bits a channel"
    plain = (ours for theirs, ours in _PLAINLY.items() if theirs in text.lower())
    return ": ".join([next(plain, text), *(r.text for r in remarks[-1:] if r.is_of_pixels)])
