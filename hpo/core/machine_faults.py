"""Turns what the machine refuses (disks, folders, limits) into one line: where, what, and a remedy.

The counterpart for `ml_recog` by itself, which can import nothing from here, is
`trainer.machine_faults`; both say the same.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpo.core.bytes import why_not_writable
from hpo.core.process.streams import NAMES

_MAKE_ROOM = "make room there (`df -h` and `df -i` show bytes and inodes)"
_RIGHTS = "give this user the right to write there"
_MOUNT = "see that the disk is mounted and answers"
_LOCKS = "use a disk that has file locks (Lustre has them where it is mounted with `-o flock`)"
REMOTE_IO = getattr(errno, "EREMOTEIO", errno.EIO)  # Linux alone has it
REMEDIES: Mapping[int, str] = {
    errno.ENOSPC: _MAKE_ROOM,
    errno.EDQUOT: _MAKE_ROOM,
    errno.EFBIG: "raise the limit on file sizes (`ulimit -f`)",
    errno.EROFS: "mount it writable",
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.ENOENT: "see that it is there",
    errno.ENOTDIR: "move the file away that stands where a folder is needed",
    errno.EEXIST: "move away what stands there",
    errno.EISDIR: "move the folder away that stands where a file is needed",
    errno.ENAMETOOLONG: "use a shorter path",
    errno.ELOOP: "mend the link, which leads back to itself",
    errno.EIO: _MOUNT,
    errno.ESTALE: _MOUNT,
    errno.ENODEV: _MOUNT,
    errno.ENXIO: _MOUNT,
    errno.ENOTCONN: _MOUNT,
    REMOTE_IO: _MOUNT,
    errno.EHOSTDOWN: _MOUNT,
    errno.ENOLCK: _LOCKS,
    errno.ENOSYS: _LOCKS,
    errno.EOPNOTSUPP: _LOCKS,
    errno.EMFILE: "raise the limit on open files (`ulimit -n 65536`)",
    errno.ENFILE: "close programs: the machine can open no more files",
    errno.EAGAIN: "raise the limit on processes (`ulimit -u`), or end some",
    errno.ENOMEM: "close other programs, or run fewer trials at a time",
}
"""What helps against each fault; others are no fault of the machine."""
_NOT_OF_A_PLACE = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM, errno.ENOENT, errno.EEXIST}
)
"""Faults against which another folder does not help."""
_TEMPORARY_NAMES = ("tmp", "hpo-", "ml-recog-", "ml_recog_", "ray", "pymp-", "torchinductor_")
"""How names begin that are made in the folder for temporary files."""
_OF_A_DATABASE: Mapping[int, int] = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
    sqlite3.SQLITE_IOERR: errno.EIO,
    sqlite3.SQLITE_PERM: errno.EACCES,
    sqlite3.SQLITE_NOLFS: errno.EFBIG,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What the machine has refused."""

    number: int
    """As in `errno`."""
    said: str
    path: str = ""
    """Where; empty where the error does not say."""


def find_fault(error: BaseException) -> Fault | None:
    """Find the refusal that an error is, or was raised from; None where there is none."""
    for cause in _causes(error):
        if getattr(cause, "filename", None) in NAMES.values():
            return None  # `start` tells of its own output
        if isinstance(cause, OSError) and (number := cause.errno or 0) in REMEDIES:
            said = cause.strerror or os.strerror(number)
            return Fault(number=number, said=said, path=_path_of(cause))
        if isinstance(cause, sqlite3.Error):
            code = (getattr(cause, "sqlite_errorcode", None) or 0) & 0xFF
            if code in _OF_A_DATABASE:
                return Fault(number=_OF_A_DATABASE[code], said=str(cause))
    return None


def describe_fault(error: BaseException, folders: Sequence[Path] = ()) -> str:
    """Describe an error that the machine is the cause of in one line; empty for any other.

    Args:
        error: any error.
        folders: where it can have been, for errors that do not say so, as a write to a full disk.
    """
    fault = find_fault(error)
    if fault is None:
        return next(filter(None, map(_describe_limit, _causes(error))), "")
    if fault.number == errno.ENOENT and not fault.path:
        return _describe_nowhere(fault.said)
    where = fault.path or _refusing(folders)
    remedy = REMEDIES[fault.number]
    if where and fault.number not in _NOT_OF_A_PLACE:
        remedy += f", or {_way_around(where)}"
    return f"{where}: {fault.said}; {remedy}" if where else f"{fault.said}; {remedy}"


def _describe_limit(error: BaseException) -> str:
    """What Python says of a missing home folder and of a limit on processes."""
    text = str(error) if isinstance(error, RuntimeError) else ""
    if "home directory" in text:
        return (
            "HOME: must name a folder, and is not set for a user who has none; set it, or write "
            "whole paths in place of ~"
        )
    if "can't start new thread" in text:
        return f"no new thread can be started; {REMEDIES[errno.EAGAIN]}"
    return ""


def _describe_nowhere(said: str) -> str:
    """Where nothing is named, it is the working folder, or that for temporary files."""
    if not temporary_folder():
        return f"TMPDIR: must name a folder that can be written; {said.lower()}"
    try:
        Path.cwd()
    except OSError:
        return "the working folder is no longer there; change to one that is (`cd`)"
    return f"{said}; {REMEDIES[errno.ENOENT]}"


def temporary_folder() -> str:
    """The folder for temporary files; empty where none can be written."""
    try:
        return tempfile.gettempdir()
    except OSError:
        return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__


def _path_of(error: OSError) -> str:
    """The path that an error names; of two, as of a rename, the one that was written."""
    named = error.filename if error.filename2 is None else error.filename2
    return os.fsdecode(named) if isinstance(named, str | bytes) else ""


def _refusing(folders: Sequence[Path]) -> str:
    """The first folder that takes no files now, else the first."""
    return next((str(f) for f in folders if why_not_writable(f)), str(next(iter(folders), "")))


def _way_around(where: str) -> str:
    """How to have another folder used than the one that a path lies in."""
    path = Path(where).absolute()
    for variable, folder in _known_folders():
        if folder and path.is_relative_to(folder):
            return f"set {variable} to another folder"
    temporary = temporary_folder()
    if temporary and path.is_relative_to(temporary):
        # What the user has put there by name stays the user's.
        names = path.relative_to(temporary).parts
        if not names or names[0].startswith(_TEMPORARY_NAMES):
            return "set TMPDIR to another folder"
    return "use another folder"


def _known_folders() -> Iterator[tuple[str, str]]:
    """Folders that a variable chooses, the innermost first."""
    home, temporary = os.environ.get("HOME", ""), temporary_folder()
    caches = os.environ.get("XDG_CACHE_HOME") or (home and f"{home}/.cache")
    cache = os.environ.get("HPO_CACHE_DIR") or (caches and f"{caches}/hpo-recognition")
    yield "HPO_CACHE_DIR", cache and str(Path(cache).absolute())
    yield "HPO_CACHE_DIR", temporary and f"{temporary}/hpo-cache-{os.geteuid()}"
    yield "XDG_CACHE_HOME", caches
    yield "XDG_CONFIG_HOME", os.environ.get("XDG_CONFIG_HOME") or (home and f"{home}/.config")
