"""Reads one file's fingerprint: readability, size, perceptual hash."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainer.cores import usable_cores
from trainer.data.decode import upright_picture
from trainer.data.decoder import Listening, Opened, Remark, UnreadableError, opened

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainer.data.decoding import Progress
    from trainer.data.deep import ValueRange

SIDE = 16
"""Side of the grey miniature that pictures are compared by."""
_STRIPE = 64
_DRAFT_PX = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """One file. An unreadable one has an `error` and zeros for the rest."""

    digest: bytes
    """Of the bytes of the file."""
    error: str = ""
    width: int = 0
    height: int = 0
    mode: str = ""
    """Pillow's: `RGB`, `L`, `RGBA`..."""
    format: str = ""
    """Pillow's: `JPEG`, `PNG`..."""
    spread: float = 0.0
    """Standard deviation of the grey values; near 0 for an empty picture."""
    miniature: bytes = b""
    """SIDE x SIDE grey values."""
    is_deep: bool = False
    """Whether it has more than 8 bits a channel."""
    levels: ValueRange | None = None
    """Least and greatest sample but for outliers, of deep pictures."""
    num_not_finite: int = 0
    """Samples that are NaN or infinite."""
    is_sequence: bool = False
    """Whether it has further pages or frames."""
    remarks: tuple[Remark, ...] = ()
    """What the decoder had to say of it."""


def take_fingerprint(path: Path) -> Fingerprint:
    """Read a file once; never raises for what is in it."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return Fingerprint(digest=b"", error=error.strerror or str(error))
    digest = hashlib.blake2b(data, digest_size=16).digest()
    try:
        with opened(data, mode="L", longest_px=_DRAFT_PX) as picture:
            return _described(digest, picture)
    except (UnreadableError, ValueError) as error:
        return Fingerprint(digest=digest, error=str(error))


def _described(digest: bytes, picture: Opened) -> Fingerprint:
    from PIL import Image

    image, samples = picture.image, picture.samples
    grey = upright_picture(picture, "L", None)
    small = grey.resize((SIDE, SIDE), Image.Resampling.BOX)
    return Fingerprint(
        digest=digest,
        width=picture.width,
        height=picture.height,
        mode=picture.mode,
        format=image.format or "",
        spread=float(np.asarray(grey, dtype=np.float32).std()),
        miniature=np.asarray(small, dtype=np.uint8).tobytes(),
        is_deep=samples is not None,
        levels=samples.levels() if samples else None,
        num_not_finite=samples.num_not_finite() if samples else 0,
        is_sequence=picture.is_sequence,
        remarks=tuple(picture.remarks),
    )


def take_fingerprints(
    paths: Sequence[Path], progress: Progress | None = None, workers: int | None = None
) -> list[Fingerprint]:
    """Read many files, in threads: Pillow decodes without the interpreter lock."""

    def take_stripe(start: int) -> list[Fingerprint]:
        return [take_fingerprint(path) for path in paths[start : start + _STRIPE]]

    found: list[Fingerprint] = []
    threads = workers or usable_cores()
    with Listening(), ThreadPoolExecutor(threads) as pool:
        for stripe in pool.map(take_stripe, range(0, len(paths), _STRIPE)):
            found += stripe
            if progress is not None:
                progress("looking at pictures", len(found), len(paths))
    return found


_LEAST_CORRELATION = 0.985
_LEAST_SPREAD = 8.0
"""Pictures with less contrast all resemble one another."""
_MOST_IN_A_BAND = 200
"""A code that so many share says nothing about two of them."""
_ROUNDING = 1e-4
"""More than products of miniatures differ by, however they are summed up."""
MOST_PAIRS = 1_000_000
"""Near pairs that are looked for."""


def near_pairs(fingerprints: Sequence[Fingerprint]) -> list[tuple[int, int]]:
    """Return pairs of different files that show the same picture, resized or compressed again.

    Gradient codes (dHash: the sign of the difference of neighbouring grey values) that agree in
    one of 7 bands of 16 bits propose pairs; the correlation of the miniatures decides. There are no
    more than `MOST_PAIRS`: the first ones found.
    """
    usable = [i for i, f in enumerate(fingerprints) if f.miniature and f.spread >= _LEAST_SPREAD]
    if len(usable) < 2:
        return []
    grey_NS = np.stack([np.frombuffer(fingerprints[i].miniature, np.uint8) for i in usable])
    flat_NS = grey_NS.astype(np.float32)
    flat_NS -= flat_NS.mean(axis=1, keepdims=True)
    flat_NS /= np.maximum(np.linalg.norm(flat_NS, axis=1, keepdims=True), 1e-6)
    number: dict[bytes, int] = {}
    file_N = np.array([number.setdefault(fingerprints[i].digest, i) for i in usable])
    found_P2 = np.empty((0, 2), dtype=np.int64)
    for band_N in _codes(grey_NS).T:
        found_P2 = _with_pairs_of(band_N, flat_NS, file_N, found_P2)
    return [(usable[a], usable[b]) for a, b in found_P2.tolist()]


def _with_pairs_of(
    band_N: NDArray[np.uint16],
    flat_NS: NDArray[np.float32],
    file_N: NDArray[np.int64],
    found_P2: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Add the near pairs (i < j) that share a band; return all, each once, shape (P, 2)."""
    order = np.argsort(band_N, kind="stable")
    starts = np.flatnonzero(np.diff(band_N[order], prepend=-1))
    parts, count = [found_P2], 0
    for group in np.split(order, starts[1:]):
        if not 2 <= len(group) <= _MOST_IN_A_BAND or count >= MOST_PAIRS:
            continue
        own_NS = flat_NS[group]
        is_other = file_N[group, None] != file_N[group]
        is_near = (own_NS @ own_NS.T >= _LEAST_CORRELATION - _ROUNDING) & is_other
        if not is_near.any():
            continue
        i, j = np.nonzero(np.triu(is_near))
        is_found = np.einsum("ps,ps->p", own_NS[i], own_NS[j]) >= _LEAST_CORRELATION
        parts.append(np.stack((group[i], group[j]), axis=1)[is_found])
        count += len(parts[-1])
    pairs: NDArray[np.int64] = np.unique(np.concatenate(parts), axis=0)
    return pairs[:MOST_PAIRS]


def _codes(grey_NS: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Return dHash codes, 56 bits across and 56 down, as 7 bands of 16 bits, shape (N, 7)."""
    grey_NHW = grey_NS.reshape(-1, SIDE, SIDE).astype(np.int16)
    # Twos are added up first, so that a code survives a shift by a pixel.
    small_NHW = grey_NHW[:, ::2] + grey_NHW[:, 1::2]
    small_NHW = small_NHW[:, :, ::2] + small_NHW[:, :, 1::2]
    across = small_NHW[:, :, 1:] > small_NHW[:, :, :-1]
    down = small_NHW[:, 1:] > small_NHW[:, :-1]
    bits_NB = np.concatenate((across.reshape(len(grey_NS), -1), down.reshape(len(grey_NS), -1)), 1)
    packed: NDArray[np.uint16] = np.packbits(bits_NB, axis=1).view(np.uint16)
    return packed
