"""Pictures of more than 8 bits a channel: their samples, and how they become 8 bits.

A file does not say which sample is white: cameras store 12 bits in 16, instruments store any unit.
So the range from black to white is a fact of the data set (`dataset.value_range`), found from its
pictures once and the same for all of them; see `trainer.data.value_range`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

ValueRange = tuple[float, float]
"""The samples that become black and white."""

_GREY_MODES = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})
_OTHER_BYTE = {"16B": "16L", "16L": "16B", "16N": "16B" if sys.byteorder == "little" else "16L"}
_COLOUR_MODES = frozenset({"RGB", "RGBX", "RGBA", "CMYK"})
_NUM_COLOURS = {"L": 1, "LA": 1, "RGB": 3, "RGBA": 3, "CMYK": 4}

_WHITES = (1.0, 255.0, 1023.0, 4095.0, 16383.0, 65535.0)
"""What is white in shares and in 8, 10, 12, 14 and 16 bits."""
_EXTREME_PERCENT = 0.1
"""Of a picture's samples at either end, in which hot and dead pixels lie, is not looked at."""
_MOST_LOOKED_AT = 1 << 20
_CHUNK = 1 << 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """The samples of one file."""

    values: NDArray[Any]
    """Shape (H, W, C): uint16, int32 or float32."""
    mode: str
    """Pillow's mode of 8 bits with the same channels."""
    transparent: tuple[int, ...] | None = None
    """Samples of the pixels that are not to be seen."""

    def levels(self) -> ValueRange | None:
        """Return the least and the greatest sample but for outliers; None without a finite one."""
        colours = self.values[..., : _NUM_COLOURS[self.mode]].reshape(-1)
        some = colours[:: max(1, len(colours) // _MOST_LOOKED_AT)]
        some = some[np.isfinite(some)]
        if not len(some):
            return None
        low = np.percentile(some, _EXTREME_PERCENT, method="lower")
        return float(low), float(np.percentile(some, 100 - _EXTREME_PERCENT, method="higher"))

    def num_not_finite(self) -> int:
        """Return how many samples are NaN or infinite."""
        return int((~np.isfinite(self.values)).sum()) if self.values.dtype.kind == "f" else 0

    def eight_bits(self, value_range: ValueRange | None) -> Image:
        """Return the picture in 8 bits; without a range, by its own levels.

        What lies outside the range is black or white, NaN is black.
        """
        from PIL import Image

        low, high = value_range or range_of([self.levels()])
        bytes_HWC = np.empty(self.values.shape, dtype=np.uint8)
        step = max(1, _CHUNK // max(1, self.values[:1].size))
        for start in range(0, len(bytes_HWC), step):
            rows = slice(start, start + step)
            part = np.nan_to_num(
                self.values[rows].astype(np.float64), nan=low, posinf=high, neginf=low
            )
            bytes_HWC[rows] = np.rint(np.clip((part - low) * (255.0 / (high - low)), 0.0, 255.0))
            if self.transparent is not None:
                bytes_HWC[rows][(self.values[rows] == self.transparent).all(axis=-1)] = 255
        height, width = self.values.shape[:2]
        return Image.frombytes(self.mode, (width, height), bytes_HWC.tobytes())


def range_of(levels: Iterable[ValueRange | None]) -> ValueRange:
    """Return the range from black to white that serves pictures of these levels.

    Black is 0 where the pictures use half of what lies above it; white is the next of 1, 255, 1023,
    4095, 16383 and 65535 where they reach a quarter of it. Other ranges end where the levels do.
    """
    known = [pair for pair in levels if pair is not None] or [(0.0, 1.0)]
    low, high = min(pair[0] for pair in known), max(pair[1] for pair in known)
    if low == high:
        low = min(low, 0.0)
    if 0.0 <= low <= high / 2:
        low = 0.0
        high = next((white for white in _WHITES if white / 4 <= high <= white), high)
    return low, high if high > low else low + 1.0


def is_deep(image: Image) -> bool:
    """Whether an opened file has more than 8 bits a channel, by what its header says."""
    return image.mode in _GREY_MODES or _deep_colour(image) is not None


def deep_samples(image: Image, reopen: Callable[[], Image]) -> Samples | None:
    """Return the samples of an opened file of more than 8 bits a channel, else None.

    Args:
        image: not yet loaded.
        reopen: opens the same file again: Pillow gives the upper byte of deep colours, and the
            lower one when it is told that the bytes were stored the other way round.
    """
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        transparent = (transparent,)
    if image.mode in _GREY_MODES:
        return Samples(values=np.asarray(image)[..., None], mode="L", transparent=transparent)
    raw = _deep_colour(image)
    if raw is None:
        return None
    with reopen() as other:
        if raw == "LA;16B":  # four bytes a pixel, as RGBA has
            _read_as(other, "RGBA")
            bytes_HWB = np.asarray(other)
            return Samples(values=_joined(bytes_HWB[..., ::2], bytes_HWB[..., 1::2]), mode="LA")
        kind, _, order = raw.partition(";")
        _read_as(other, f"{kind};{_OTHER_BYTE[order]}")
        values = _joined(np.asarray(image), np.asarray(other))
    is_keyed = isinstance(transparent, tuple)
    return Samples(values=values, mode=image.mode, transparent=transparent if is_keyed else None)


def _deep_colour(image: Image) -> str | None:
    """Return Pillow's name of how deep colours are stored, if it is one that can be taken apart."""
    tiles: list[tuple[Any, ...]] = getattr(image, "tile", [])
    stored = {tile[3][0] if isinstance(tile[3], tuple) else tile[3] for tile in tiles}
    raw = stored.pop() if len(stored) == 1 else None
    if not isinstance(raw, str):
        return None
    if raw == "LA;16B":
        return raw if image.mode == "RGBA" else None
    kind, _, order = raw.partition(";")
    return raw if kind in _COLOUR_MODES and order in _OTHER_BYTE else None


def _read_as(image: Image, raw: str) -> None:
    """Let the decoder take the bytes of pixels for something else."""
    tiles = []
    for tile in image.tile:  # type: ignore[attr-defined]
        args = (raw, *tile[3][1:]) if isinstance(tile[3], tuple) else raw
        tiles.append(getattr(type(tile), "_make", tuple)((*tile[:3], args)))
    image.tile = tiles  # type: ignore[attr-defined]


def _joined(upper: NDArray[np.uint8], lower: NDArray[np.uint8]) -> NDArray[np.uint16]:
    values = upper.astype(np.uint16)
    values <<= 8
    values |= lower
    return values
