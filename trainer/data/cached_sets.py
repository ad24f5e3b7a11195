"""Lists and removes sets of decoded images and of features, and unpacked copies; needs no torch.

Who maps a set holds a shared lock on `<key>.use` until the map is gone, and who has named an
archive until its process ends, so that neither the bound nor `clear_caches` takes it away from a
trial: its next trial would make it again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainer.amounts import size_text
from trainer.data.framing import ImageSize
from trainer.data.location import cache_settings, exclusive_if_free
from trainer.data.origin import STAGED, origin
from trainer.errors import SpecError

KINDS = {"images": "decoded pictures", "features": "features", "staged": "unpacked files"}
"""Folders of the cache that hold sets, and what they are: the last are copies of sources."""

META = "meta.json"
"""What a set says of itself (a copy: `STAGED`); the time of its last use is this file's."""

_UNFINISHED = ".tmp"
"""Ending of what is being built (`trainer.durable_files.beside`) or removed."""

_PARTS = ".parts"
"""Before that ending: parts of what is being built that other processes compute."""

_KEY = re.compile(r"[0-9a-f]{32}")
"""Names of sets; the folder may be one of the user's, who keeps other things in it."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry:
    """One set on disk, for listing."""

    path: Path
    kind: str
    """One of `KINDS`."""
    source: str
    num_images: int
    """Of a copy, files."""
    size: ImageSize | None = None
    """Of the stored images, or of those that the trunk saw; None for a copy."""
    views: int = 0
    """Pictures made of each image before the trunk saw them; 0 for images."""
    num_features: int = 0
    """Length of a feature vector; 0 for images."""
    trunk: str = ""
    """`model.backbone` of the features."""
    num_bytes: int
    last_used: float
    """Seconds since 1970."""
    is_in_use: bool
    """Whether a process has it mapped, or has asked for the copy."""

    @property
    def images_of(self) -> str:
        """Where the images come from as their user knows it: no folder of the cache."""
        return origin(self.source)

    @property
    def name(self) -> str:
        """A short name to clear it by."""
        return self.path.name[:12]

    def as_dict(self) -> dict[str, Any]:
        """The entry as plain data."""
        facts = asdict(self)
        size = facts.pop("size") or {}
        told = {key.removeprefix("num_").removeprefix("is_"): v for key, v in facts.items()}
        del told["path"]
        return {"name": self.name, "images_of": self.images_of, **told, **size}


def list_caches(cache_dir: Path | None = None) -> list[CacheEntry]:
    """Sets on disk, of all kinds, the last used first."""
    root = cache_dir or cache_settings().folder
    entries = [_read_entry(path) for path in _folders(root) if path.suffix != _UNFINISHED]
    return sorted((e for e in entries if e is not None), key=lambda e: -e.last_used)


def clear_caches(
    cache_dir: Path | None = None, *, names: Sequence[str] = (), older_than_s: float = 0.0
) -> list[CacheEntry]:
    """Remove sets that nobody uses or builds.

    Args:
        cache_dir: defaults to the user's cache folder.
        names: those to remove, by beginnings of their names or by their sources; default: all.
        older_than_s: leave those that were used within so many seconds.

    Returns:
        What was removed.

    Raises:
        SpecError: a name fits no set.
    """
    entries = list_caches(cache_dir)
    for name in names:
        if not any(_fits(e, name) for e in entries):
            raise SpecError(
                f"{name}: no decoded pictures, features or unpacked files of that name or source; "
                "`hpo cache ls` lists them"
            )
    due = time.time() - older_than_s
    chosen = [e for e in entries if not names or any(_fits(e, name) for name in names)]
    # No age was asked for: a clock that was set back makes sets of the future, which go as well.
    is_due = [e for e in chosen if not older_than_s or e.last_used <= due]
    removed = [e for e in is_due if _remove(e.path)]
    if not names:
        _remove_leftovers(cache_dir or cache_settings().folder)
    return removed


def evict(root: Path, target: Path, *, num_bytes: int, limit_bytes: int, what: str) -> None:
    """Drop sets of any kind, the longest unused first, until a new one fits within the bound.

    Args:
        root: the cache folder.
        target: the set that room is made for.
        num_bytes: what it will take.
        limit_bytes: the bound of all together.
        what: the set, for messages.
    """
    _remove_leftovers(root)
    entries = [e for e in list_caches(root) if e.path != target]
    total = num_bytes + sum(e.num_bytes for e in entries)
    while entries and total > limit_bytes:
        oldest = entries.pop()
        if _remove(oldest.path):
            _logger.info(
                "%s of %s dropped from the cache to stay within the bound",
                *(KINDS[oldest.kind], oldest.images_of),
            )
            total -= oldest.num_bytes
    if total > limit_bytes:
        _logger.warning(
            "%s: needs %s%s, and HPO_CACHE_GB allows %s for all; raise it, or sets that are "
            "removed to make room are made again",
            what,
            size_text(num_bytes),
            f" beside {size_text(total - num_bytes)} in use" if total > num_bytes else "",
            size_text(limit_bytes),
        )


def in_use_path(path: Path) -> Path:
    """The file that users of a set lock."""
    return path.with_name(f"{path.name}.use")


def parts_path(folder: Path, key: str) -> Path:
    """The folder of the parts of a set that is being built (`trainer.features.parts`)."""
    return folder / f"{key}{_PARTS}{_UNFINISHED}"


def is_key(name: str) -> bool:
    """Whether a folder may be a set by its name."""
    return _KEY.fullmatch(name) is not None


def left_record(place: Path) -> str:
    """The source of a copy that was removed; empty where none is known."""
    try:
        return str(json.loads(_left_file(place).read_text(encoding="utf-8"))["source"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _left_file(place: Path) -> Path:
    return place.with_name(f"{place.name}.json")


def _fits(entry: CacheEntry, name: str) -> bool:
    wanted = name.rstrip("/")
    return entry.path.name.startswith(name) or wanted in (entry.source, entry.images_of)


def _read_entry(path: Path) -> CacheEntry | None:
    """A set's entry, or None where it has just been removed, or is damaged."""
    record = path / (STAGED if path.parent.name == "staged" else META)
    try:
        meta = json.loads(record.read_text(encoding="utf-8"))
        with exclusive_if_free(in_use_path(path)) as is_free:
            is_in_use = not is_free
        facts: dict[str, Any] = {
            "path": path,
            "kind": path.parent.name,
            "source": meta["source"],
            "last_used": record.stat().st_mtime,
            "is_in_use": is_in_use,
        }
        if record.name == STAGED:
            return CacheEntry(**facts, num_images=meta["files"], num_bytes=meta["bytes"])
        return CacheEntry(
            **facts,
            num_images=meta["num_images"],
            size=ImageSize(**meta["size"]),
            num_bytes=sum(file.stat().st_size for file in path.iterdir()),
            views=meta.get("views", 0),
            num_features=meta.get("num_features", 0),
            trunk=meta.get("trunk", ""),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _folders(root: Path) -> list[Path]:
    """Sets, whole or not, and what is left of them: nothing that others have put there."""
    found = (path for kind in KINDS for path in (root / kind).glob("*/"))
    return [path for path in found if is_key(_key(path)) and _is_of_ours(path)]


def _key(path: Path) -> str:
    # Parts have the ending of what is unfinished, and have it twice while they are removed.
    name = path.name.removesuffix(_UNFINISHED).removesuffix(_UNFINISHED)
    return name.removesuffix(_PARTS)


def _is_of_ours(path: Path) -> bool:
    """Whether all that a folder holds is what a set is made of."""
    try:
        names = [file.name for file in path.iterdir()]
    except OSError:  # it has just been removed
        return False
    if path.parent.name == "staged":
        is_known = set(names) <= {"files", "fetched", STAGED}
    else:
        is_known = all(n == META or n.endswith(".npy") for n in names)
    return is_known and not path.is_symlink()


def _remove(path: Path) -> bool:
    target = path.with_name(_key(path))
    with (
        exclusive_if_free(target.with_name(f"{target.name}.lock")) as is_ours,
        exclusive_if_free(in_use_path(target)) as is_unused,
    ):
        if is_ours and is_unused:
            if path.suffix == _UNFINISHED:
                shutil.rmtree(path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):  # of a set, which is made of its pictures again
                    (path / STAGED).replace(_left_file(path))
                discard(path)
        return is_ours and is_unused


def discard(path: Path) -> None:
    """Remove a set; of one that a kill has left half removed nothing is taken for a set."""
    leftover = path.with_name(f"{path.name}{_UNFINISHED}")
    shutil.rmtree(leftover, ignore_errors=True)
    with contextlib.suppress(OSError):
        path.rename(leftover)
    shutil.rmtree(leftover, ignore_errors=True)


def _remove_leftovers(root: Path) -> None:
    """Remove what was left behind by a kill, or by a cut of the power, and is no set.

    What is being built is locked and stays.
    """
    for path in _folders(root):
        if path.suffix == _UNFINISHED or _read_entry(path) is None:
            _remove(path)
