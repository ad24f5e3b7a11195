"""A set of arrays in the cache folder: built once, by the first process that needs it.

A set is a folder `<cache>/<kind>/<key>/` with `.npy` files and `meta.json`. Builders hold a lock,
write beside and rename, so a reader sees a whole set or none, whoever is killed when. Which sets
there are, and which may go, is `trainer.data.cached_sets`.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import time
import weakref
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from trainer.amounts import size_text
from trainer.data.cached_sets import META, discard, evict, in_use_path
from trainer.data.location import cache_settings, exclusive, shared
from trainer.durable_files import beside
from trainer.errors import InfrastructureError

if TYPE_CHECKING:
    from collections.abc import Callable

    Mapped = np.memmap[Any, np.dtype[Any]]

_ROOM_LEFT_BYTES = 64_000_000

_DAMAGED = (FileNotFoundError, EOFError, ValueError, KeyError)
"""What reading meets in a set of which files are missing, empty or cut off."""

_T = TypeVar("_T")

_logger = logging.getLogger(__name__)


def find_or_build(
    key: str,
    read: Callable[[Path], _T],
    build: Callable[[Path], dict[str, Any]],
    *,
    kind: str,
    num_bytes: int,
    what: str,
    cache_dir: Path | None = None,
    meanwhile: Callable[[Path], bool] | None = None,
) -> _T:
    """Return what `read` makes of the set's folder; nobody removes the set meanwhile.

    Args:
        key: a fingerprint of all that the set's content depends on.
        read: opens the arrays, by `map_array` where they are large.
        build: writes the arrays into a folder, where the set is not there, and returns what
            `meta.json` shall hold.
        kind: one of `trainer.data.cached_sets.KINDS`.
        num_bytes: what the set will take on disk.
        what: for messages, as `decoded images of <folder>`.
        cache_dir: defaults to the user's cache folder.
        meanwhile: called with the set's folder, which is not there yet, again and again while
            another process builds it; False where there was nothing to do.

    Raises:
        InfrastructureError: not enough room on the disk.
    """
    settings = cache_settings()
    root = cache_dir or settings.folder
    target = root / kind / key
    wait = None if meanwhile is None else partial(meanwhile, target)
    with exclusive(target.with_name(f"{key}.lock"), wait):
        if target.is_dir():
            try:
                os.utime(target / META)
                return read(target)
            except _DAMAGED as e:
                _logger.warning("%s: is damaged (%s), and is made anew", target, str(e))
                discard(target)
        evict(root, target, num_bytes=num_bytes, limit_bytes=settings.limit_bytes, what=what)
        _demand_room(target.parent, num_bytes, what)
        started = time.monotonic()
        with beside(target) as draft:
            meta = build(draft)
            (draft / META).write_text(json.dumps(meta), encoding="utf-8")
        _logger.info("%s: made in %.1f s", what, time.monotonic() - started)
        return read(target)


def new_array(path: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> Mapped:
    """Make an array of a set, mapped to be written, with all of its room on the disk taken.

    A store to a map that finds no room, as within a user's quota, ends the process by a signal.
    """
    array: Mapped = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if allocate := getattr(os, "posix_fallocate", None):  # macOS has none
        with path.open("r+b") as file:
            allocate(file.fileno(), 0, path.stat().st_size)
    return array


def map_array(path: Path) -> Any:
    """Map one array of a set read-only, and mark the set as used until no view of it is left."""
    array = np.load(path, mmap_mode="r")
    weakref.finalize(array._mmap, os.close, shared(in_use_path(path.parent)))
    return array


def _demand_room(folder: Path, num_bytes: int, what: str) -> None:
    free = shutil.disk_usage(folder).free
    if free < num_bytes + _ROOM_LEFT_BYTES:
        raise InfrastructureError(
            f"{folder}: {os.strerror(errno.ENOSPC)}: {size_text(num_bytes)} needed for {what}, "
            f"{size_text(free)} free; make room, or set HPO_CACHE_DIR to a larger disk or "
            "dataset.cache=false"
        )
