"""Writes files and folders whole or not at all, and waits until they are on the disk.

Without the wait, a cut of the power can leave the new name on the disk and nothing in the file.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def write_atomically(path: Path, text: str, *, is_durable: bool = True) -> None:
    """Write a file by a temporary name and a rename, so that readers never see half of it.

    Args:
        path: the file; folders above it are made.
        text: its content.
        is_durable: whether to wait for the disk; not worth it for what is written all the time and
            can be made again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    try:
        with draft.open("x", encoding="utf-8") as stream:
            stream.write(text)
            if is_durable:
                stream.flush()
                os.fsync(stream.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    if is_durable:
        _sync(path.parent)


def rename_durably(draft: Path, target: Path) -> None:
    """Give a folder its name once all that lies in it is on the disk."""
    sync_tree(draft)
    draft.rename(target)
    _sync(target.parent)


def sync_tree(folder: Path) -> None:
    """Wait until all that lies in a folder is on the disk."""
    for place, _, names in os.walk(folder):
        for name in names:
            _sync(Path(place, name))
        _sync(Path(place))


def _sync(path: Path) -> None:
    """Wait until a file or a folder's names are on the disk; not every disk does so for folders."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
