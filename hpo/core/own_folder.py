"""Folders of this user's own where every user may write, as among the temporary files.

Names that are easy to guess may have been taken by another user of the machine.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hpo.core.errors import MachineError

_HELD = ".held"
"""Ending of folders that a process locks while it uses them; without a lock they are unused."""


@contextlib.contextmanager
def scratch_folder(name: str) -> Iterator[Path]:
    """A folder among the temporary files while the block lasts.

    What is left of processes that were killed goes: such folders of this name that nobody holds.
    """
    base = Path(tempfile.gettempdir())
    for left in base.glob(f"{name}-*{_HELD}"):
        remove_if_left(left)
    draft = Path(tempfile.mkdtemp(prefix=f".{name}-"))
    folder = draft.with_name(f"{draft.name[1:]}{_HELD}")
    descriptor = hold(draft)
    try:
        draft.rename(folder)  # seen by others from now on, when it is locked
        yield folder
    finally:
        for path in (folder, draft):  # the draft, where it could not be renamed
            shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


def hold(folder: Path) -> int:
    """Lock a folder until the returned descriptor is closed, or this process ends."""
    descriptor = os.open(folder, os.O_RDONLY)
    with contextlib.suppress(OSError):  # a disk without locks: nobody removes it, either
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def remove_if_left(folder: Path) -> None:
    """Remove a folder of this user's that was held once, and is no longer."""
    if not is_own(folder):
        return
    with contextlib.suppress(OSError):  # it is held, or has just been removed
        descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(descriptor)


def temporary_place(name: str) -> Path:
    """Where a folder of this user's own lies among the temporary files; it is not made."""
    return Path(tempfile.gettempdir()) / f"{name}-{os.geteuid()}"


def make_own(folder: Path) -> Path:
    """Make a folder for this user alone, unless it is there; return it.

    Raises:
        MachineError: it cannot be made, or is another user's, or a link.
    """
    if why := why_not_own(folder):
        raise MachineError(
            f"{folder}: must be a folder of yours, and cannot be used: {why}; remove it, or set "
            "TMPDIR to a folder that is yours alone"
        )
    return folder


def why_not_own(folder: Path) -> str:
    """Make a folder for this user alone, unless it is there; say why it is none, else nothing."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        return error.strerror or str(error)
    return "" if is_own(folder) else "it is a link, or another user's"


def is_own(folder: Path, *, alone: bool = False) -> bool:
    """Whether it is a folder, and no link to one, that belongs to this user.

    Args:
        folder: need not be there.
        alone: whether nobody else can reach what is in it, either.
    """
    try:
        facts = folder.lstat()
    except OSError:
        return False
    if alone and facts.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return False
    return stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid()
