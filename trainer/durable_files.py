"""Writes files and folders whole or not at all, and waits until they are on the disk."""

from __future__ import annotations

import ctypes
import glob
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

_PROBE_BYTES = 1 << 16
_MANY_FILES = 300
"""To wait for so many one by one takes longer than for all that their disk has to write."""


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file, make it durable, and put it in place by one rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except RuntimeError:  # of torch's writer, which does not say what the disk has said
        _demand_room(temporary)
        raise
    finally:
        temporary.unlink(missing_ok=True)
    _sync(path.parent)


def remove_drafts(folder: Path, name: str = "") -> None:
    """Remove what processes left that were killed in `write_atomically`; none may be at work.

    Args:
        folder: where they wrote.
        name: of the file that was written; default: any.
    """
    for draft in folder.glob(f".{glob.escape(name)}*.tmp"):
        draft.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8 by one rename."""
    write_atomically(path, partial(Path.write_text, data=text, encoding="utf-8"))


@contextmanager
def beside(target: Path, *, prefix: str = "") -> Iterator[Path]:
    """A folder that takes the target's place once it is whole and on the disk.

    The caller keeps others away.

    Args:
        target: what lies there goes then; a link stays, and what it leads to goes.
        prefix: of the folder's name until then; a dot hides it from who looks at the place.
    """
    target = target.resolve() if target.is_symlink() else target
    draft = target.with_name(f"{prefix}{target.name}.tmp")
    before = target.with_name(f".{target.name}.old")
    if before.exists() and not target.exists():
        before.rename(target)  # a kill came between the two renames below
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        yield draft
        _sync_tree(draft)
        shutil.rmtree(before, ignore_errors=True)
        if target.exists():
            target.rename(before)
        draft.rename(target)
        _sync(target.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    shutil.rmtree(before, ignore_errors=True)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _demand_room(file: Path) -> None:
    """Write a little more to a file that could not be finished.

    Raises:
        OSError: what the disk says.
    """
    with file.open("ab") as stream:
        stream.write(bytes(_PROBE_BYTES))
        stream.flush()
        os.fsync(stream.fileno())


def _sync_tree(folder: Path) -> None:
    """Wait until all that lies in a folder is on the disk."""
    paths = [folder, *folder.rglob("*")]
    if len(paths) > _MANY_FILES:
        _sync(folder, getattr(ctypes.CDLL(None), "syncfs", lambda _descriptor: os.sync()))
        return
    for path in paths:
        _sync(path)


def _sync(path: Path, how: Callable[[int], object] | None = None) -> None:
    """Wait until a file, or the names in a folder, are on the disk; `how` in place of fsync."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:  # not every platform opens folders; a link may lead nowhere
        return
    try:
        (how or os.fsync)(descriptor)
    finally:
        os.close(descriptor)
