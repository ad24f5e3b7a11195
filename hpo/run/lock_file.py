"""Lock files, by which processes keep each other out while one is at work."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from hpo.core.errors import RunError

_ATTEMPTS = 20
"""A reader's look at a lock takes microseconds; who works under it stays."""


def is_locked(file: Path) -> bool:
    """Whether some process holds a lock file for itself at this moment."""
    try:
        with file.open("r") as handle:
            _lock(handle, fcntl.LOCK_SH, file)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@contextlib.contextmanager
def hold(
    file: Path,
    refusal: Callable[[], str],
    *,
    is_shared: bool = False,
    attempts: int = _ATTEMPTS,
) -> Iterator[int]:
    """Hold a lock file; yields its descriptor.

    Args:
        file: is made where it is not there.
        refusal: gives what is said while another process holds it.
        is_shared: whether others may hold it, too, that say the same.
        attempts: how often it is tried, every hundredth of a second.

    Raises:
        RunError: when another process holds it.
    """
    kind = fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX
    with file.open("a+") as handle:
        for attempt in range(attempts):
            try:
                _lock(handle, kind, file)
                break
            except BlockingIOError as error:
                if attempt + 1 == attempts:
                    raise RunError(refusal()) from error
                time.sleep(0.01)
        yield handle.fileno()


def _lock(handle: IO[str], kind: int, file: Path) -> None:
    """Take a lock or fail at once; an error (a disk without locks, for one) names the file."""
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except OSError as error:
        error.filename = str(file)
        raise
