"""Locates the cache folder and its size limit.

The one place that chooses the cache folder, for this package and for a harness that asks it
(`RecognitionTrainer.cache_folder`), and the one reader of the environment in this package; also
the locks that keep processes apart.
"""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from trainer.durable_files import beside
from trainer.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_DEFAULT_LIMIT_GB = 20.0
_MOST_GB = 10**9
_PROBE_BYTES = 1 << 14
_PAUSE_S = 0.05
_LIBRARIES = {"MPLCONFIGDIR": "matplotlib", "HF_HOME": "huggingface", "TORCH_HOME": "torch"}
"""Variables that choose where libraries write, and names of folders for them."""

_logger = logging.getLogger(__name__)
_told: set[str] = set()
"""Warnings that this process has given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheFolder:
    """The folder of the caches, and why it is not the usual one."""

    path: Path
    warning: str = ""
    """One line; empty where the usual folder is used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """Folder and bound of the caches."""

    folder: Path
    limit_bytes: int


def cache_settings() -> CacheSettings:
    """Read HPO_CACHE_DIR, HPO_CACHE_GB and XDG_CACHE_HOME; warns once where a folder stands in.

    Returns:
        By default `~/.cache/hpo-recognition` and 20 GB.

    Raises:
        SpecError: HPO_CACHE_GB is no such number, or no folder can be written
            (`choose_cache_folder`).
    """
    text = os.environ.get("HPO_CACHE_GB", str(_DEFAULT_LIMIT_GB))
    try:
        limit_gb = float(text)
    except ValueError:
        limit_gb = -1.0
    if not 0 < limit_gb <= _MOST_GB:
        raise SpecError(
            f"HPO_CACHE_GB: a positive number of gigabytes must be given, {_MOST_GB:,} at most, "
            f"got {text!r}"
        )
    chosen = choose_cache_folder()
    if chosen.warning and chosen.warning not in _told:
        _told.add(chosen.warning)
        _logger.warning("%s; set HPO_CACHE_DIR to a folder that can be written", chosen.warning)
    lend_folders(chosen.path)
    return CacheSettings(folder=chosen.path, limit_bytes=int(limit_gb * 1e9))


def choose_cache_folder() -> CacheFolder:
    """Choose the folder: HPO_CACHE_DIR, else `hpo-recognition` below XDG_CACHE_HOME or `~/.cache`.

    Where the user has not named one and the usual one cannot be written, as for a user without a
    home folder in a container, it is one among the temporary files, the same for all processes of
    that user. Nothing is created yet, except that one.

    Raises:
        SpecError: HPO_CACHE_DIR names a folder that cannot be written, or no folder can.
    """
    named = os.environ.get("HPO_CACHE_DIR")
    if named:
        folder = _expanded(named)
        if why := why_not_writable(folder):
            raise SpecError(
                f"HPO_CACHE_DIR: must be a folder that can be written, and {folder} is not: {why}; "
                "set it to another folder"
            )
        return CacheFolder(path=folder)
    base = _users_caches()
    if base is None:
        place, why = "the cache folder", "HOME is not set and this user has none"
    else:
        usual = base / "hpo-recognition"
        place, why = str(usual), why_not_writable(usual)
        if not why:
            return CacheFolder(path=usual)
    return _among_temporary_files(place, why)


def lend_folders(folder: Path) -> None:
    """Let libraries write below a folder where they cannot below the user's own.

    They would fail, or warn and leave a new folder among the temporary files at every start.
    """
    base = _users_caches()
    if base is None or why_not_writable(base):
        for variable, name in _LIBRARIES.items():
            os.environ.setdefault(variable, str(folder / name))


def _users_caches() -> Path | None:
    """XDG_CACHE_HOME, which its specification wants to be absolute, else `~/.cache`."""
    xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        return xdg if xdg.is_absolute() else Path.home().absolute() / ".cache"
    except RuntimeError:
        return None


def why_not_writable(folder: Path) -> str:
    """Say why nothing can be written into a folder that is there or is to be made; empty if it can.

    A file without a name is made, and filled a little, where the folder is or in the nearest folder
    above that exists.
    """
    try:
        nearest = next(filter(_is_there, (folder, *folder.parents)))
        if not nearest.is_dir():
            return f"{nearest} is not a folder"
        with tempfile.TemporaryFile(dir=nearest) as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _is_there(path: Path) -> bool:
    """Whether there is anything, a link to nothing included; raises where that cannot be seen."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _expanded(named: str) -> Path:
    try:
        return Path(named).expanduser().absolute()
    except RuntimeError:
        raise SpecError(
            f"HPO_CACHE_DIR: must be a folder, got {named!r}, and there is no home folder to put "
            "in place of ~; write the whole path"
        ) from None


def _among_temporary_files(place: str, why: str) -> CacheFolder:
    """A folder of this user's own; what others could have put there is not taken."""
    problem = f"{place} cannot be used ({why})"
    try:
        folder = Path(tempfile.gettempdir()) / f"hpo-cache-{os.geteuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        facts = folder.lstat()
        is_own = stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid()
        why_not = why_not_writable(folder) if is_own else "it is somebody else's"
    except OSError as error:
        folder, why_not = Path(error.filename or "TMPDIR"), error.strerror or str(error)
    if why_not:
        raise SpecError(
            f"cache: {problem}, and neither can {folder} ({why_not}); set HPO_CACHE_DIR to a "
            "folder that can be written"
        )
    return CacheFolder(
        path=folder,
        warning=f"{problem}; what is derived from the pictures goes to {folder}, which may not "
        "last",
    )


def torch_hub_folder() -> Path:
    """Where torch keeps what it fetched (`torch.hub.get_dir`), read without torch."""
    named = os.environ.get("TORCH_HOME")
    if not named:
        xdg = os.environ.get("XDG_CACHE_HOME")
        base = Path(xdg) if xdg else _users_caches() or choose_cache_folder().path
        named = str(base / _LIBRARIES["TORCH_HOME"])
    return Path(named).expanduser() / "hub"


@contextmanager
def exclusive(lock_path: Path, meanwhile: Callable[[], bool] | None = None) -> Iterator[None]:
    """Hold a file lock; the system drops it if this process dies.

    A write below that fails without saying where, as on a full disk, is told to be in its folder.

    Args:
        lock_path: the file.
        meanwhile: called again and again while others hold it; False where there was nothing to do.
    """
    lock_path.parent.mkdir(parents=True, exist_ok=True)
    with lock_path.open("a") as file:
        try:
            while meanwhile is not None and not _is_taken(file):
                if not meanwhile():
                    time.sleep(_PAUSE_S)
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        except OSError as error:
            if error.errno is not None and error.filename is None:
                error.filename = str(lock_path.parent)
            raise


def make_once(target: Path, record: str, fill: Callable[[Path], None]) -> None:
    """Have a folder filled that does not hold its record yet: whole or not at all, by one process.

    Args:
        target: the folder.
        record: name of a file that `fill` writes into it.
        fill: called with a folder beside the target.
    """
    with exclusive(target.with_name(f"{target.name}.lock")):
        kept = target / record
        if not (kept.is_file() and kept.stat().st_size):  # empty after a cut of the power
            with beside(target) as draft:
                fill(draft)


@contextmanager
def exclusive_if_free(lock_path: Path) -> Iterator[bool]:
    """Hold a file lock if nobody else does; yields whether it is held.

    One of another user's, who shares the cache folder, is not held.
    """
    lock_path.parent.mkdir(parents=True, exist_ok=True)
    try:
        opened = lock_path.open("a")
    except PermissionError:
        yield False
        return
    with opened as file:
        yield _is_taken(file)


def _is_taken(file: IO[str]) -> bool:
    """Lock an open file if nobody else holds it; returns whether that was done."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def shared(lock_path: Path) -> int:
    """Take a shared file lock; it lasts until the returned descriptor is closed."""
    lock_path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT, 0o644)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor
