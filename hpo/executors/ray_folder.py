"""Where a private Ray keeps its sockets and logs: a writable folder with a short path.

Ray lets every user write into the folders that it makes, and whoever does can take the place of a
process of the search. So they lie in a folder that nobody else can enter.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hpo.core.bytes import why_not_writable
from hpo.core.errors import MachineError
from hpo.core.own_folder import hold, is_own, remove_if_left, why_not_own

LONGEST_SOCKET = 107
"""Bytes that Linux allows for the path of a socket."""
_SOCKET = "session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store.9"
"""The longest path below Ray's folder at which it opens a socket."""
_MARK = ".of-a-search"
"""A file in the folder of a Ray that a search has started; a search holds that folder's lock."""
SHORT = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - tried where the user's own does not serve

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RayFolder:
    """The folder, and why it is not where the environment says."""

    path: Path
    warning: str = ""
    """One line; empty where the environment's folder is used."""


def choose_ray_folder() -> RayFolder:
    """Choose the folder: below RAY_TMPDIR, else below TMPDIR, else below another that serves.

    Raises:
        MachineError: RAY_TMPDIR names one that does not serve, or none does.
    """
    if named := os.environ.get("RAY_TMPDIR"):
        folder = _folder_in(Path(named).absolute())
        if why := _why_unfit(folder):
            raise MachineError(
                f"RAY_TMPDIR: must be a folder with a short path that can be written, and {why}; "
                "set it to another folder"
            )
        return RayFolder(path=folder)
    reasons: list[str] = []
    for folder in map(_folder_in, _parents()):
        if why := _why_unfit(folder):
            reasons.append(why)
        else:
            return RayFolder(path=folder, warning=_warning(folder, reasons))
    raise MachineError(
        f"TMPDIR: must be a folder with a short path that can be written, and {reasons[0]}; set "
        "it, or run one trial at a time with --in-process"
    )


def hold_session(session: Path) -> Callable[[], None]:
    """Hold the folder of a Ray that has just started; returns what removes it in the end.

    It has the logs of each worker, and a folder for each trial.
    """
    descriptor = hold(session)
    (session / _MARK).touch()

    def remove() -> None:
        shutil.rmtree(session, ignore_errors=True)
        with contextlib.suppress(OSError):  # what was written meanwhile goes with the next start
            (session / _MARK).touch()
        os.close(descriptor)

    return remove


def remove_left_sessions(folder: Path) -> None:
    """Remove what searches that were killed have left in Ray's folder; never what another holds."""
    for mark in folder.glob(f"session_*/{_MARK}"):
        remove_if_left(mark.parent)


def _parents() -> Iterator[Path]:
    """Folders for temporary files, the user's own first."""
    if named := os.environ.get("TMPDIR"):
        yield Path(named).absolute()
    yield from map(Path, SHORT)


def _folder_in(parent: Path) -> Path:
    """Ray's folder: where others may enter, too, within one of this user's own."""
    own = parent if is_own(parent, alone=True) else parent / f"ray-{os.geteuid()}"
    return own / "ray"


def _why_unfit(folder: Path) -> str:
    """Why Ray cannot keep its files there; empty where it can, and the folder around it is made."""
    length = len(os.fsencode(folder / _SOCKET))
    if length > LONGEST_SOCKET:
        return (
            f"{folder.parent} is too long by {length - LONGEST_SOCKET} bytes for Ray's sockets, "
            f"whose paths Linux limits to {LONGEST_SOCKET}"
        )
    if why := why_not_writable(folder) or why_not_own(folder.parent):
        return f"{folder.parent} cannot be used ({why})"
    if not is_own(folder.parent, alone=True):  # Ray of an earlier release made it, for everybody
        folder.parent.chmod(stat.S_IRWXU)
    return ""


def _warning(folder: Path, reasons: list[str]) -> str:
    if not reasons or not os.environ.get("TMPDIR"):
        return ""
    return f"TMPDIR: {reasons[0]}; Ray keeps its files in {folder} instead"
