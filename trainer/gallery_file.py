"""A gallery on disk: one writer at a time, every change whole or not at all, and the way back.

```python
with changing(folder / "gallery.npz") as change:      # waits until no other process changes it
    change.index = change.index.extended(new)         # saved when the block ends without an error
undo(folder / "gallery.npz")                          # as it was before
```

A reader needs no lock: the file is replaced by one rename, after its bytes are on the disk.
Whoever keeps an index loaded compares `stamp(path)` with the one it was loaded at.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from trainer.data.location import exclusive
from trainer.durable_files import link_or_copy, remove_drafts, write_atomically
from trainer.errors import DataError
from trainer.gallery import GalleryIndex

KEPT = 5
"""Changes that can be undone."""


@dataclass(slots=True)
class Change:
    """A gallery while it is changed: `index` is what will be saved."""

    index: GalleryIndex


def stamp(path: Path) -> tuple[int, int, int] | None:
    """Return what differs once a file was replaced; None without a file."""
    with contextlib.suppress(FileNotFoundError):
        facts = path.stat()
        return facts.st_ino, facts.st_mtime_ns, facts.st_size
    return None


@contextlib.contextmanager
def changing(path: Path) -> Iterator[Change]:
    """Hold a gallery for a change; the index that stands in the change at the end is saved.

    Raises:
        DataError: the file is missing or damaged.
    """
    with _locked(path):
        before = GalleryIndex.load(path)
        change = Change(before)
        yield change
        if change.index is not before:
            kept = _remember(path)
            try:
                change.index.save(path)
            except BaseException:
                kept.unlink()
                raise
            for old in _history(path)[:-KEPT]:
                old.unlink()


def undo(path: Path, check: Callable[[GalleryIndex], object] = bool) -> GalleryIndex:
    """Put a gallery back to what it was before its last change, and return it.

    Args:
        path: the gallery's file.
        check: is called with what would be put back; nothing is where it raises.

    Raises:
        DataError: no change is kept.
    """
    with _locked(path):
        kept = _history(path)
        if not kept:
            raise DataError(f"{path}: there is no change to undo; the last {KEPT} are kept")
        index = GalleryIndex.load(kept[-1])
        check(index)
        kept[-1].replace(path)
        return index


def begin(path: Path, index: GalleryIndex) -> None:
    """Write the gallery of a new export; the changes of the one that it replaces are forgotten."""
    with _locked(path) if path.exists() else contextlib.nullcontext():
        index.save(path)
        shutil.rmtree(_history_folder(path), ignore_errors=True)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    if not path.parent.is_dir():
        raise DataError(f"{path}: no such gallery index; `ml_recog export` writes one")
    with exclusive(path.with_name(f".{path.name}.lock")):
        remove_drafts(path.parent, path.name)
        remove_drafts(_history_folder(path))
        yield


def _history(path: Path) -> list[Path]:
    """Return the galleries before the last changes, the newest last.

    A second name of the present file was kept for a change that a kill cut short, and goes.
    """
    kept = sorted(_history_folder(path).glob("[0-9]*.npz"))
    while kept and path.is_file() and kept[-1].samefile(path):
        kept.pop().unlink()
    return kept


def _history_folder(path: Path) -> Path:
    return path.with_name(f"{path.stem}.history")


def _remember(path: Path) -> Path:
    """Keep the present file beside the earlier ones, at no cost where the disk knows links."""
    kept = _history(path)
    number = int(kept[-1].stem) + 1 if kept else 1
    _history_folder(path).mkdir(exist_ok=True)
    target = _history_folder(path) / f"{number:06d}.npz"
    write_atomically(target, partial(link_or_copy, path))
    return target
