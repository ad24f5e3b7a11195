"""Locates the cache folder and its size limit.

The one reader of the environment in this package but for credentials (`s3.py`), and the locks that
keep processes apart.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_LIMIT_GB = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """Folder and bound of the caches."""

    folder: Path
    limit_bytes: int


def cache_settings() -> CacheSettings:
    """Read HPO_CACHE_DIR, HPO_CACHE_GB and XDG_CACHE_HOME.

    Returns:
        By default `~/.cache/hpo-recognition` and 20 GB.

    Raises:
        SpecError: HPO_CACHE_GB is not a positive number.
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = os.environ.get("HPO_CACHE_DIR") or Path(base) / "hpo-recognition"
    text = os.environ.get("HPO_CACHE_GB", str(DEFAULT_LIMIT_GB))
    try:
        limit_gb = float(text)
    except ValueError:
        limit_gb = -1.0
    if not limit_gb > 0:
        raise SpecError(f"HPO_CACHE_GB: a positive number of gigabytes must be given, got {text!r}")
    return CacheSettings(
        folder=Path(folder).expanduser().absolute(), limit_bytes=int(limit_gb * 1e9)
    )


def torch_hub_folder() -> Path:
    """Where torch keeps what it fetched (`torch.hub.get_dir`), read without torch."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    home = os.environ.get("TORCH_HOME") or Path(base) / "torch"
    return Path(home).expanduser() / "hub"


@contextmanager
def exclusive(lock_path: Path) -> Iterator[None]:
    """Hold a file lock; the system drops it if this process dies."""
    import fcntl

    lock_path.parent.mkdir(parents=True, exist_ok=True)
    with lock_path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def exclusive_if_free(lock_path: Path) -> Iterator[bool]:
    """Hold a file lock if nobody else does; yields whether it is held."""
    import fcntl

    lock_path.parent.mkdir(parents=True, exist_ok=True)
    with lock_path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def shared(lock_path: Path) -> int:
    """Take a shared file lock; it lasts until the returned descriptor is closed."""
    import fcntl

    lock_path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT, 0o644)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor
