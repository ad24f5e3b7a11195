"""Turns what the machine refuses (disks, folders, limits) into one line: where, what, and a remedy.

For `ml_recog` by itself; a harness that calls this package has its own.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

_MAKE_ROOM = "make room there (`df -h` and `df -i` show bytes and inodes), or use another folder"
_RIGHTS = "give this user the right to write there, or use another folder"
_MOUNT = "see that the disk is mounted and answers"
_LOCKS = "use a disk that has file locks (Lustre has them where it is mounted with `-o flock`)"
_REMOTE_IO = getattr(errno, "EREMOTEIO", errno.EIO)  # Linux alone has it
_REMEDIES: Mapping[int, str] = {
    errno.ENOSPC: _MAKE_ROOM,
    errno.EDQUOT: _MAKE_ROOM,
    errno.EFBIG: "raise the limit on file sizes (`ulimit -f`)",
    errno.EROFS: "mount it writable, or use another folder",
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.ENOENT: "see that it is there",
    errno.ENOTDIR: "move the file away that stands where a folder is needed",
    errno.EEXIST: "move away what stands there",
    errno.EISDIR: "move the folder away that stands where a file is needed",
    errno.ENAMETOOLONG: "use a shorter path",
    errno.ELOOP: "mend the link, which leads back to itself",
    **dict.fromkeys((errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENXIO), _MOUNT),
    **dict.fromkeys((errno.ENOTCONN, _REMOTE_IO, errno.EHOSTDOWN), _MOUNT),
    errno.ENOLCK: _LOCKS,
    errno.ENOSYS: _LOCKS,
    errno.EOPNOTSUPP: _LOCKS,
    errno.EMFILE: "raise the limit on open files (`ulimit -n 65536`)",
    errno.ENFILE: "close programs: the machine can open no more files",
    errno.EAGAIN: "raise the limit on processes (`ulimit -u`), or end some",
    errno.ENOMEM: "close other programs",
}

_TEMPORARY_NAMES = ("tmp", "ml-recog-", "ml_recog_", "pymp-", "torchinductor_")
"""How names begin that are made in the folder for temporary files."""


def describe_fault(error: BaseException) -> str:
    """Describe an error that the machine is the cause of in one line; empty for any other."""
    if isinstance(error, RuntimeError):
        return _describe_limit(str(error))
    if not isinstance(error, OSError) or (number := error.errno or 0) not in _REMEDIES:
        return ""
    said = error.strerror or os.strerror(number)
    named = error.filename if error.filename2 is None else error.filename2
    if named is None and number == errno.ENOENT:
        return _describe_nowhere(said)
    remedy = _REMEDIES[number]
    if not isinstance(named, str | bytes):
        return f"{said}; {remedy}"
    path = os.fsdecode(named)
    return f"{path}: {said}; {remedy.replace('use another folder', _way_around(path))}"


def _describe_limit(text: str) -> str:
    """What Python says of a missing home folder and of a limit on processes."""
    if "home directory" in text:
        return (
            "HOME: must name a folder, and is not set for a user who has none; set it, or write "
            "whole paths in place of ~"
        )
    if "can't start new thread" in text:
        return f"no new thread can be started; {_REMEDIES[errno.EAGAIN]}"
    return ""


def _describe_nowhere(said: str) -> str:
    """Where nothing is named, it is the folder for temporary files, or the working folder."""
    try:
        tempfile.gettempdir()
        Path.cwd()
    except OSError as error:
        if error.filename is None and "temporary" in str(error):
            return f"TMPDIR: must name a folder that can be written; {said.lower()}"
        return "the working folder is no longer there; change to one that is (`cd`)"
    return f"{said}; {_REMEDIES[errno.ENOENT]}"


def _way_around(path: str) -> str:
    """How to have another folder used than the one that a path lies in."""
    from trainer.data.location import choose_cache_folder
    from trainer.errors import SpecError

    place = Path(path).absolute()
    try:
        if place.is_relative_to(choose_cache_folder().path):
            return "set HPO_CACHE_DIR to another folder"
        temporary = Path(tempfile.gettempdir())
    except (SpecError, OSError):
        return "use another folder"  # the caller refuses a folder that cannot be used
    names = place.relative_to(temporary).parts if place.is_relative_to(temporary) else ("",)
    # What the user has put there by name stays the user's.
    is_ours = not names or names[0].startswith(_TEMPORARY_NAMES)
    return "set TMPDIR to another folder" if is_ours else "use another folder"
