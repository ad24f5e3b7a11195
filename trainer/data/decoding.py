"""Decodes all images of a folder into one array, in threads."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from trainer.cores import usable_cores
from trainer.data.decode import decode_image
from trainer.data.decoder import Listening
from trainer.data.framing import SQUASHED, Framing, ImageSize
from trainer.data.origin import origin
from trainer.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from trainer.data.folder import ImageFolder

    Progress = Callable[[str, int, int], None]
    """Called with (what, done, total)."""

_AHEAD = 2
"""Parts that are decoded before they are asked for."""
_STRIPE = 64
"""Images per task: few enough for smooth progress, enough to make threads worth it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedFolder:
    """Decoded images of one folder, in the folder's order."""

    images: NDArray[np.uint8]
    """Shape (N, H, W, C)."""
    sizes: NDArray[np.int32]
    """Upright height and width of each file, shape (N, 2)."""


def decode_folder(
    folder: ImageFolder,
    size: ImageSize,
    framing: Framing = SQUASHED,
    *,
    progress: Progress | None = None,
    workers: int | None = None,
) -> DecodedFolder:
    """Decode into this process's memory, leaving nothing on disk."""
    shape = (len(folder.paths), size.height, size.width, size.channels)
    images = np.empty(shape, dtype=np.uint8)
    paths = [folder.root / path for path in folder.paths]
    sizes = decode_into(images, paths, size, framing, progress=progress, workers=workers)
    return DecodedFolder(images=images, sizes=sizes)


def decode_readable(
    paths: Sequence[Path],
    size: ImageSize,
    framing: Framing,
    *,
    at_once: int,
    errors: dict[int, str],
) -> Iterator[tuple[list[int], NDArray[np.uint8]]]:
    """Decode files some at a time and leave out those that cannot be read.

    Args:
        paths: one file per image.
        size: what the network wants.
        framing: how files are brought to that size.
        at_once: most images of a part.
        errors: gets the reason of each file that is left out, by its place in `paths`.

    Yields:
        Places in `paths` of the images of a part, and the images, shape (N, H, W, C), N of 1 or
        more.
    """

    def decode(place: int) -> NDArray[np.uint8] | None:
        try:
            return decode_image(paths[place], size, framing).pixels
        except ImageError as error:
            errors[place] = str(error).removeprefix(f"{origin(paths[place])}: ")
            return None

    with Listening(), ThreadPoolExecutor(usable_cores()) as pool:
        parts = [
            range(start, min(start + at_once, len(paths)))
            for start in range(0, len(paths), at_once)
        ]
        pending = deque(map(partial(pool.map, decode), parts[:_AHEAD]))
        for number, places in enumerate(parts):
            found = list(zip(places, pending.popleft(), strict=True))
            # The next parts are decoded while the caller is at work on this one.
            pending.extend(pool.map(decode, part) for part in parts[number + _AHEAD :][:1])
            read = [(place, pixels) for place, pixels in found if pixels is not None]
            if read:
                yield [place for place, _ in read], np.stack([pixels for _, pixels in read])


def decode_into(
    images_NHWC: NDArray[np.uint8],
    paths: Sequence[Path],
    size: ImageSize,
    framing: Framing,
    *,
    progress: Progress | None,
    workers: int | None,
) -> NDArray[np.int32]:
    """Decode files into an array, in threads: Pillow decodes without the interpreter lock.

    Args:
        images_NHWC: filled in place.
        paths: one file per image.
        size: of the array's images.
        framing: how files are brought to that size.
        progress: called with (what, done, total).
        workers: threads; default: the cores this process may use.

    Returns:
        Upright height and width of each file, shape (N, 2).

    Raises:
        ImageError: files that cannot be decoded; all are counted, the first is named.
    """
    sizes = np.zeros((len(paths), 2), dtype=np.int32)
    errors: list[ImageError] = []

    def decode_stripe(start: int) -> int:
        stop = min(start + _STRIPE, len(paths))
        for i in range(start, stop):
            try:
                decoded = decode_image(paths[i], size, framing)
            except ImageError as error:
                errors.append(error)
                continue
            images_NHWC[i] = decoded.pixels
            sizes[i] = decoded.original_height, decoded.original_width
        return stop - start

    done = 0
    threads = workers or usable_cores()
    with Listening(), ThreadPoolExecutor(threads) as pool:
        for count in pool.map(decode_stripe, range(0, len(paths), _STRIPE)):
            done += count
            if progress is not None:
                progress("decoding pictures", done, len(paths))
    if errors:
        first = min(errors, key=str)
        more = f"; {len(errors)} of {len(paths)} files cannot be read" if len(errors) > 1 else ""
        raise ImageError(f"{first}{more}") from first
    return sizes
