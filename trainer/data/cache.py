"""Decode once: the images of a folder as one uint8 memory map, shared read-only by all trials.

A cache is a folder `<cache>/images/<key>/` with `images.npy` (N, H, W, C), `sizes.npy` (upright
height and width of the files) and `meta.json`. The key is made of the files' paths, sizes and
times, the stored size and the decoder's version: a file that changes gives another key. Builders
hold a lock, write beside and rename, so a reader sees a whole cache or none, whoever is killed
when.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.data.decode import DECODER_VERSION, ImageSize
from trainer.data.decoding import DecodedFolder, decode_into
from trainer.data.location import cache_settings, exclusive, exclusive_if_free
from trainer.errors import InfrastructureError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainer.data.decoding import Progress
    from trainer.data.folder import ImageFolder

_FORMAT = 1

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry:
    """One cache on disk, for listing."""

    path: Path
    source: str
    num_images: int
    size: ImageSize
    num_bytes: int
    last_used: float
    """Seconds since 1970."""


def open_cache(
    folder: ImageFolder,
    size: ImageSize,
    *,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
) -> np.memmap[Any, np.dtype[np.uint8]]:
    """Images of a folder at one size, decoded by whoever comes first.

    Args:
        folder: what `scan_folder` found.
        size: stored height, width and channels.
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
        folder, size, cache_dir=cache_dir, progress=progress, workers=workers
    )
    assert isinstance(cached.images, np.memmap)  # noqa: S101 - what np.load(mmap_mode=...) returns
    return cached.images


def open_cached_images(
    folder: ImageFolder,
    size: ImageSize,
    *,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
) -> DecodedFolder:
    """As `open_cache`, with the sizes that the files have."""
    settings = cache_settings()
    base = (cache_dir or settings.folder) / "images"
    key = cache_key(folder, size)
    with exclusive(base / f"{key}.lock"):
        target = base / key
        if not target.is_dir():
            _evict(base, keep=key, limit_bytes=settings.limit_bytes - _bytes_needed(folder, size))
            _build(folder, size, target, progress=progress, workers=workers)
        os.utime(target / "meta.json")
        return DecodedFolder(
            images=np.load(target / "images.npy", mmap_mode="r"),
            sizes=np.load(target / "sizes.npy"),
        )


def cache_key(folder: ImageFolder, size: ImageSize) -> str:
    """Fingerprint of the files and of how they are stored; reads no file."""
    digest = hashlib.blake2b(digest_size=16)
    how = (
        _FORMAT,
        DECODER_VERSION,
        size.height,
        size.width,
        size.channels,
        str(folder.root.resolve()),
    )
    digest.update(repr(how).encode())
    root = str(folder.root)
    for relative in folder.paths:
        stat = os.stat(f"{root}/{relative}")  # noqa: PTH116 - one call per image and trial
        digest.update(
            f"{relative}\0{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ctime_ns}\n".encode()
        )
    return digest.hexdigest()


def list_caches(cache_dir: Path | None = None) -> list[CacheEntry]:
    """Caches on disk, the last used first."""
    base = (cache_dir or cache_settings().folder) / "images"
    entries = [_read_entry(meta.parent) for meta in base.glob("*/meta.json")]
    return sorted((e for e in entries if e is not None), key=lambda e: -e.last_used)


def clear_caches(cache_dir: Path | None = None) -> list[CacheEntry]:
    """Remove all caches that nobody is building; maps that are open stay valid.

    Returns:
        What was removed.
    """
    base = (cache_dir or cache_settings().folder) / "images"
    removed = [entry for entry in list_caches(cache_dir) if _remove(entry.path)]
    _remove_leftovers(base)
    return removed


def _read_entry(path: Path) -> CacheEntry | None:
    """A cache's entry, or None where it has just been removed."""
    try:
        meta = json.loads((path / "meta.json").read_text())
        return CacheEntry(
            path=path,
            source=meta["source"],
            num_images=meta["num_images"],
            size=ImageSize(**meta["size"]),
            num_bytes=sum(file.stat().st_size for file in path.iterdir()),
            last_used=(path / "meta.json").stat().st_mtime,
        )
    except FileNotFoundError:
        return None


def _remove(path: Path) -> bool:
    with exclusive_if_free(path.with_name(f"{path.name}.lock")) as is_ours:
        if is_ours:
            shutil.rmtree(path, ignore_errors=True)
            shutil.rmtree(path.with_name(f"{path.name}.tmp"), ignore_errors=True)
        return is_ours


def _remove_leftovers(base: Path) -> None:
    """Remove what killed builders left behind; what is being built is locked and stays."""
    for draft in base.glob("*.tmp"):
        _remove(draft.with_suffix(""))


def _evict(base: Path, *, keep: str, limit_bytes: int) -> None:
    """Drop caches, the longest unused first, until the rest is within the bound."""
    _remove_leftovers(base)
    entries = [e for e in list_caches(base.parent) if e.path.name != keep]
    total = sum(e.num_bytes for e in entries)
    while entries and total > limit_bytes:
        oldest = entries.pop()
        if _remove(oldest.path):
            _logger.info("image cache of %s dropped to stay within the bound", oldest.source)
            total -= oldest.num_bytes


def _bytes_needed(folder: ImageFolder, size: ImageSize) -> int:
    return len(folder.paths) * (size.height * size.width * size.channels + 8)


def _build(
    folder: ImageFolder,
    size: ImageSize,
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
            f"{target.parent}: {needed / 1e9:.1f} GB needed for decoded images of {folder.root}, "
            f"{free / 1e9:.1f} GB free; set HPO_CACHE_DIR to a larger disk or dataset.cache=false"
        )
    with _beside(target) as draft:
        shape = (len(folder.paths), size.height, size.width, size.channels)
        images = np.lib.format.open_memmap(
            draft / "images.npy", mode="w+", dtype=np.uint8, shape=shape
        )
        paths = [folder.root / p for p in folder.paths]
        np.save(
            draft / "sizes.npy",
            decode_into(images, paths, size, progress=progress, workers=workers),
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
        "%d images of %s decoded in %.1f s", len(paths), folder.root, time.monotonic() - started
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
