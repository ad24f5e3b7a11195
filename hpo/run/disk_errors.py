"""Classifies disk errors that suspend the search instead of failing the trial."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hpo.core.errors import HpoError, RunError
from hpo.core.events import TrialSuspended
from hpo.core.machine_faults import REMOTE_IO, find_fault
from hpo.core.protocols import Emit
from hpo.core.trial import TrialRecord
from hpo.run.next_commands import resume_command
from hpo.run.run_dir import RunDir

OUT_OF_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REFUSED = (
    *(errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE),
    *(errno.ENOTDIR, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, REMOTE_IO, errno.EHOSTDOWN),
)
_PROBE_FILE = ".probe"
PROBE_BYTES = 1 << 16
VAGUE = (errno.EIO, errno.EACCES)
"""What a database may say on a full disk, too: an I/O error, or a file that it cannot open."""


class OutOfRoomError(RunError):
    """The disk that holds a run is full, or somebody's quota on it is used up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a folder takes no more files."""

    words: str
    is_room: bool
    """Whether it is over once somebody makes room."""

    def as_error(self, run: RunDir) -> RunError:
        """The error that ends a search by it."""
        told = f"{run}: {self.words}, then {_again(run)}"
        return (OutOfRoomError if self.is_room else RunError)(told)


def as_run_error(run: RunDir, error: Exception) -> RunError | None:
    """Put a fault of the disk that holds a run into one line; None when the error is none."""
    fault = find_fault(error)
    if fault is None or fault.number not in (*OUT_OF_ROOM, *REFUSED):
        return None
    if fault.path and not Path(fault.path).absolute().is_relative_to(run.path):
        return None
    where = f" ({fault.path})" if fault.path else ""
    return RunError(f"{run}: {_words(fault.said, fault.number, where)}, then {_again(run)}")


@contextlib.contextmanager
def explain_disk_faults(run: RunDir) -> Iterator[None]:
    """Turn faults of the disk that holds a run into one line about the run."""
    try:
        yield
    except HpoError:
        raise
    except Exception as error:
        told = as_run_error(run, error)
        if told is None:
            raise
        raise told from error


def demand_storage(
    run: RunDir | None, trial: TrialRecord, failure: Mapping[str, str], emit: Emit
) -> None:
    """Keep a trial that failed because the run's disk takes no files: it is not to blame.

    Raises:
        RunError: to end the search where the disk takes none.
    """
    if run is None:
        return
    problem = find_problem(run.trial_dir(trial.number), failure["message"])
    if problem:
        emit(TrialSuspended(trial=trial.number, epoch=trial.epochs, reason=problem.words))
        raise problem.as_error(run)


def find_problem(folder: Path, told: str = "") -> Problem | None:
    """Say why a folder takes no more files; None while it does.

    Args:
        folder: where to write a few kilobytes for a moment.
        told: what somebody who wrote there has failed with; a disk may have room for the probe and
            none for a checkpoint.
    """
    for number in OUT_OF_ROOM:
        if os.strerror(number) in told:
            return Problem(words=_words(os.strerror(number), number), is_room=True)
    probe = folder / _PROBE_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(bytes(PROBE_BYTES))
    except OSError as error:
        words = _words(error.strerror or str(error), error.errno)
        return Problem(words=words, is_room=error.errno in OUT_OF_ROOM)
    finally:
        with contextlib.suppress(OSError):  # what could not be written cannot always be removed
            probe.unlink(missing_ok=True)
    return None


def out_of_room(error: BaseException, *, is_short: bool) -> str:
    """What an error says of a full disk; empty where it is another one.

    Args:
        error: of any write of the driver; what caused it is looked at too.
        is_short: whether next to nothing is free, so that a database's vague errors come of it.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OutOfRoomError):
            return os.strerror(errno.ENOSPC)
        vague = VAGUE if is_short and isinstance(seen, sqlite3.Error) else ()
        if (fault := find_fault(seen)) and fault.number in (*OUT_OF_ROOM, *vague):
            return fault.said
        seen = seen.__cause__ or seen.__context__
    return ""


def _words(said: str, number: int | None, where: str = "") -> str:
    mend = "make room" if number in OUT_OF_ROOM else "make it writable"
    return f"its disk takes no more files: {said}{where}; {mend}"


def _again(run: RunDir) -> str:
    """What is to be done once the disk takes files."""
    if run.start_words is None:  # no search of this process
        return "give the same command again"
    return f"`{resume_command(run)}` goes on after the last finished epoch"
