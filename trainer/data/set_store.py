"""A set of arrays in the cache folder: built once, by the first process that needs it.

A set is a folder `<cache>/<kind>/<key>/` with `.npy` files and `meta.json`. Builders hold a lock,
write beside and rename, so a reader sees a whole set or none, whoever is killed when. Which sets
there are, and which may go, is `trainer.data.cached_sets`.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
import weakref
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from trainer.amounts import size_text
from trainer.data.cached_sets import META, evict, in_use_path
from trainer.data.location import cache_settings, exclusive, shared
from trainer.errors import InfrastructureError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ROOM_LEFT_BYTES = 64_000_000

_T = TypeVar("_T")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPlan:
    """Which set is wanted, and how it is made where it is not there."""

    kind: str
    """One of `trainer.data.cached_sets.KINDS`."""
    key: str
    """A fingerprint of all that its content depends on."""
    num_bytes: int
    """What it will take on disk."""
    what: str
    """For messages, as `decoded images of <folder>`."""
    build: Callable[[Path], dict[str, Any]]
    """Writes the arrays into a folder and returns what `meta.json` shall hold."""


def find_or_build(plan: SetPlan, read: Callable[[Path], _T], cache_dir: Path | None = None) -> _T:
    """Return what `read` makes of the set's folder; nobody removes the set meanwhile.

    Args:
        plan: the set.
        read: opens the arrays; what it keeps mapped it marks by `keep_while_mapped`.
        cache_dir: defaults to the user's cache folder.

    Raises:
        InfrastructureError: not enough room on the disk.
    """
    settings = cache_settings()
    root = cache_dir or settings.folder
    target = root / plan.kind / plan.key
    with exclusive(target.with_name(f"{plan.key}.lock")):
        if not target.is_dir():
            evict(root, keep=target, limit_bytes=settings.limit_bytes - plan.num_bytes)
            _build(plan, target)
        os.utime(target / META)
        return read(target)


def map_array(path: Path) -> Any:
    """Map one array of a set read-only, and mark the set as used until no view of it is left."""
    array = np.load(path, mmap_mode="r")
    weakref.finalize(array._mmap, os.close, shared(in_use_path(path.parent)))
    return array


def _build(plan: SetPlan, target: Path) -> None:
    started = time.monotonic()
    free = shutil.disk_usage(target.parent).free
    if free < plan.num_bytes + _ROOM_LEFT_BYTES:
        raise InfrastructureError(
            f"{target.parent}: {size_text(plan.num_bytes)} needed for {plan.what}, "
            f"{size_text(free)} free; set HPO_CACHE_DIR to a larger disk or dataset.cache=false"
        )
    with _beside(target) as draft:
        meta = plan.build(draft)
        (draft / META).write_text(json.dumps(meta), encoding="utf-8")
    _logger.info("%s: made in %.1f s", plan.what, time.monotonic() - started)


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
