"""Lists and removes decoded image sets on disk; needs no torch.

Who maps a cache holds a shared lock on `<key>.use` until the map is gone, so that neither the bound
nor `clear_caches` takes it away from a trial: its next trial would decode again.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.data.framing import ImageSize
from trainer.data.location import cache_settings, exclusive_if_free
from trainer.errors import SpecError

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
    is_in_use: bool
    """Whether a process has it mapped."""

    @property
    def name(self) -> str:
        """A short name to clear it by."""
        return self.path.name[:12]

    def as_dict(self) -> dict[str, Any]:
        """The entry as plain data."""
        return {
            "name": self.name,
            "source": self.source,
            "images": self.num_images,
            "height": self.size.height,
            "width": self.size.width,
            "channels": self.size.channels,
            "bytes": self.num_bytes,
            "last_used": self.last_used,
            "in_use": self.is_in_use,
        }


def list_caches(cache_dir: Path | None = None) -> list[CacheEntry]:
    """Caches on disk, the last used first."""
    base = (cache_dir or cache_settings().folder) / "images"
    entries = [_read_entry(meta.parent) for meta in base.glob("*/meta.json")]
    return sorted((e for e in entries if e is not None), key=lambda e: -e.last_used)


def clear_caches(
    cache_dir: Path | None = None, *, names: Sequence[str] = (), older_than_s: float = 0.0
) -> list[CacheEntry]:
    """Remove caches that nobody uses or builds.

    Args:
        cache_dir: defaults to the user's cache folder.
        names: those to remove, by beginnings of their names or by their sources; default: all.
        older_than_s: leave those that were used within so many seconds.

    Returns:
        What was removed.

    Raises:
        SpecError: a name fits no cache.
    """
    base = (cache_dir or cache_settings().folder) / "images"
    entries = list_caches(cache_dir)
    for name in names:
        if not any(_fits(e, name) for e in entries):
            raise SpecError(
                f"{name}: no decoded images of that name or folder; `hpo cache ls` lists them"
            )
    due = time.time() - older_than_s
    chosen = [e for e in entries if not names or any(_fits(e, name) for name in names)]
    removed = [e for e in chosen if e.last_used <= due and _remove(e.path)]
    if not names:
        _remove_leftovers(base)
    return removed


def evict(base: Path, *, keep: str, limit_bytes: int) -> None:
    """Drop caches, the longest unused first, until the rest is within the bound.

    Args:
        base: the folder of caches.
        keep: key of the one that room is made for.
        limit_bytes: for all others together.
    """
    _remove_leftovers(base)
    entries = [e for e in list_caches(base.parent) if e.path.name != keep]
    total = sum(e.num_bytes for e in entries)
    while entries and total > limit_bytes:
        oldest = entries.pop()
        if _remove(oldest.path):
            _logger.info("image cache of %s dropped to stay within the bound", oldest.source)
            total -= oldest.num_bytes
    if total > limit_bytes:
        _logger.warning(
            "image caches take %.1f GB more than HPO_CACHE_GB allows, as running trials use them",
            (total - limit_bytes) / 1e9,
        )


def in_use_path(path: Path) -> Path:
    """The file that users of a cache lock."""
    return path.with_name(f"{path.name}.use")


def _fits(entry: CacheEntry, name: str) -> bool:
    return entry.path.name.startswith(name) or entry.source == name.rstrip("/")


def _read_entry(path: Path) -> CacheEntry | None:
    """A cache's entry, or None where it has just been removed."""
    try:
        meta = json.loads((path / "meta.json").read_text())
        with exclusive_if_free(in_use_path(path)) as is_free:
            is_in_use = not is_free
        return CacheEntry(
            path=path,
            source=meta["source"],
            num_images=meta["num_images"],
            size=ImageSize(**meta["size"]),
            num_bytes=sum(file.stat().st_size for file in path.iterdir()),
            last_used=(path / "meta.json").stat().st_mtime,
            is_in_use=is_in_use,
        )
    except FileNotFoundError:
        return None


def _remove(path: Path) -> bool:
    with (
        exclusive_if_free(path.with_name(f"{path.name}.lock")) as is_ours,
        exclusive_if_free(in_use_path(path)) as is_unused,
    ):
        if is_ours and is_unused:
            shutil.rmtree(path, ignore_errors=True)
            shutil.rmtree(path.with_name(f"{path.name}.tmp"), ignore_errors=True)
        return is_ours and is_unused


def _remove_leftovers(base: Path) -> None:
    """Remove what killed builders left behind; what is being built is locked and stays."""
    for draft in base.glob("*.tmp"):
        _remove(draft.with_suffix(""))
