"""The decoded-image cache: a folder's images as one uint8 memory map shared by all trials.

A cache is a folder `<cache>/images/<key>/` with `images.npy` (N, H, W, C), `sizes.npy` (upright
height and width of the files) and `meta.json`. The key is made of the files' paths, sizes and
times, the stored size, how they were brought to it, and the decoder's version: a file that changes
gives another key. Builders
hold a lock, write beside and rename, so a reader sees a whole cache or none, whoever is killed
when. Which caches there are, and which may go, is `trainer.data.cached_sets`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
import weakref
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.data.cached_sets import evict, in_use_path
from trainer.data.decode import DECODER_VERSION
from trainer.data.decoding import DecodedFolder, decode_into
from trainer.data.framing import SQUASHED, Framing, ImageSize
from trainer.data.location import cache_settings, exclusive, shared
from trainer.data.names import name_bytes
from trainer.data.origin import origin
from trainer.errors import InfrastructureError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainer.data.decoding import Progress
    from trainer.data.folder import ImageFolder

_FORMAT = 1

_logger = logging.getLogger(__name__)


def open_cache(
    folder: ImageFolder,
    size: ImageSize,
    framing: Framing = SQUASHED,
    *,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
) -> np.memmap[Any, np.dtype[np.uint8]]:
    """Images of a folder at one size, decoded by whoever comes first.

    Args:
        folder: what `scan_folder` found.
        size: stored height, width and channels.
        framing: how files are brought to that size.
        cache_dir: defaults to the user's cache folder.
        progress: called with (what, done, total) while decoding.
        workers: decoding threads; default: the cores this process may use.

    Returns:
        Read-only uint8 memory map of shape (N, height, width, channels).

    Raises:
        ImageError: files that cannot be decoded; all are counted, the first is named.
        InfrastructureError: not enough room on the disk.
    """
    cached = open_cached_images(
        folder, size, framing, cache_dir=cache_dir, progress=progress, workers=workers
    )
    assert isinstance(cached.images, np.memmap)  # noqa: S101 - what np.load(mmap_mode=...) returns
    return cached.images


def open_cached_images(
    folder: ImageFolder,
    size: ImageSize,
    framing: Framing = SQUASHED,
    *,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
) -> DecodedFolder:
    """As `open_cache`, with the sizes that the files have."""
    settings = cache_settings()
    base = (cache_dir or settings.folder) / "images"
    key = cache_key(folder, size, framing)
    with exclusive(base / f"{key}.lock"):
        target = base / key
        if not target.is_dir():
            evict(base, keep=key, limit_bytes=settings.limit_bytes - _bytes_needed(folder, size))
            _build(folder, size, framing, target, progress=progress, workers=workers)
        os.utime(target / "meta.json")
        images = np.load(target / "images.npy", mmap_mode="r")
        _keep_while_mapped(images, in_use_path(target))
        return DecodedFolder(images=images, sizes=np.load(target / "sizes.npy"))


def _keep_while_mapped(images: Any, path: Path) -> None:
    """Mark a cache as used until nothing looks at its map any more, views of it included."""
    weakref.finalize(images._mmap, os.close, shared(path))


def cache_key(folder: ImageFolder, size: ImageSize, framing: Framing = SQUASHED) -> str:
    """Fingerprint of the files and of how they are stored; reads no file."""
    return files_digest(
        folder, _FORMAT, DECODER_VERSION, size.height, size.width, size.channels, framing
    )


def files_digest(folder: ImageFolder, *how: object) -> str:
    """Fingerprint of a folder's files by their paths, sizes and times, and of what is added."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((*how, str(folder.root.resolve()))).encode())
    root = str(folder.root)
    for relative in folder.paths:
        stat = os.stat(f"{root}/{relative}")  # noqa: PTH116 - one call per image and trial
        digest.update(name_bytes(relative))
        digest.update(f"\0{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ctime_ns}\n".encode())
    return digest.hexdigest()


def _bytes_needed(folder: ImageFolder, size: ImageSize) -> int:
    return len(folder.paths) * (size.height * size.width * size.channels + 8)


def _build(
    folder: ImageFolder,
    size: ImageSize,
    framing: Framing,
    target: Path,
    *,
    progress: Progress | None,
    workers: int | None,
) -> None:
    started = time.monotonic()
    needed = _bytes_needed(folder, size)
    free = shutil.disk_usage(target.parent).free
    if free < needed + 64_000_000:
        raise InfrastructureError(
            f"{target.parent}: {needed / 1e9:.1f} GB needed for decoded images of "
            f"{origin(folder.root)}, {free / 1e9:.1f} GB free; set HPO_CACHE_DIR to a larger disk "
            "or dataset.cache=false"
        )
    with _beside(target) as draft:
        shape = (len(folder.paths), size.height, size.width, size.channels)
        images = np.lib.format.open_memmap(
            draft / "images.npy", mode="w+", dtype=np.uint8, shape=shape
        )
        paths = [folder.root / p for p in folder.paths]
        np.save(
            draft / "sizes.npy",
            decode_into(images, paths, size, framing, progress=progress, workers=workers),
        )
        images.flush()
        meta = {
            "source": str(folder.root),
            "num_images": len(paths),
            "size": asdict(size),
            "format": _FORMAT,
        }
        (draft / "meta.json").write_text(json.dumps(meta))
    _logger.info(
        "%d images of %s decoded in %.1f s",
        len(paths),
        origin(folder.root),
        time.monotonic() - started,
    )


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A folder that takes the target's name once it is whole; the caller holds the lock."""
    draft = target.with_name(f"{target.name}.tmp")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        yield draft
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
