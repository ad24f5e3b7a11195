"""The decoded-image cache: a folder's images as one uint8 memory map shared by all trials.

A cache is a set of the kind `images` (`trainer.data.set_store`) with `images.npy` (N, H, W, C) and
`sizes.npy` (upright height and width of the files). Its key is made of the files' paths, sizes and
times, the stored size, how they were brought to it, and the decoder's version: a file that changes
gives another key.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.data.decode import DECODER_VERSION
from trainer.data.decoding import DecodedFolder, decode_into
from trainer.data.framing import SQUASHED, Framing, ImageSize
from trainer.data.names import name_bytes
from trainer.data.set_store import find_or_build, map_array, new_array

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.data.decoding import Progress
    from trainer.data.folder import ImageFolder

_FORMAT = 1


def open_cached_images(
    folder: ImageFolder,
    size: ImageSize,
    framing: Framing = SQUASHED,
    *,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
) -> DecodedFolder:
    """Images of a folder at one size, decoded by whoever comes first, and the files' own sizes.

    Args:
        folder: what `scan_folder` found.
        size: stored height, width and channels.
        framing: how files are brought to that size.
        cache_dir: defaults to the user's cache folder.
        progress: called with (what, done, total) while decoding.
        workers: decoding threads; default: the cores this process may use.

    Returns:
        The images as a read-only uint8 memory map of shape (N, height, width, channels), and sizes.

    Raises:
        ImageError: files that cannot be decoded; all are counted, the first is named.
        InfrastructureError: not enough room on the disk.
    """

    def build(draft: Path) -> dict[str, Any]:
        shape = (len(folder.paths), size.height, size.width, size.channels)
        images = new_array(draft / "images.npy", np.uint8, shape)
        paths = [folder.root / p for p in folder.paths]
        sizes = decode_into(images, paths, size, framing, progress=progress, workers=workers)
        np.save(draft / "sizes.npy", sizes)
        images.flush()
        return {
            "source": str(folder.root),
            "num_images": len(paths),
            "size": asdict(size),
            "format": _FORMAT,
        }

    return find_or_build(
        cache_key(folder, size, framing),
        _read,
        build,
        kind="images",
        num_bytes=len(folder.paths) * (size.height * size.width * size.channels + 8),
        what=f"decoded pictures of {folder.shown}",
        cache_dir=cache_dir,
    )


def _read(target: Path) -> DecodedFolder:
    images = map_array(target / "images.npy")
    return DecodedFolder(images=images, sizes=np.load(target / "sizes.npy"))


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
