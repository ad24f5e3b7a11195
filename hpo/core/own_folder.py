"""Folders of this user's own where every user may write, as among the temporary files.

Their names are easy to guess, and another user of the machine may have taken them.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from hpo.core.errors import MachineError


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
