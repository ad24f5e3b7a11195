"""Faults of the disk that holds a run: no trial's fault, and over once it takes files again."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from hpo.core.errors import RunError
from hpo.core.events import Emit
from hpo.core.rundir import RunDir
from hpo.core.trial import TrialRecord

OUT_OF_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE)
PROBE_FILE = ".probe"
PROBE_BYTES = 1 << 16


def as_run_error(run: Path, error: OSError) -> RunError | None:
    """Put a fault of the disk into one line for people; None when the error is none."""
    if error.errno not in (*OUT_OF_ROOM, *REFUSED):
        return None
    said = error.strerror or os.strerror(error.errno)
    where = f" ({error.filename})" if error.filename else ""
    return RunError(f"{run}: {_words(said, error.errno, where)}")


@contextlib.contextmanager
def disk_faults_told(run: Path) -> Iterator[None]:
    """Turn faults of the disk into one line about the run."""
    try:
        yield
    except OSError as error:
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
        emit("trial_suspended", trial=trial.number, epoch=trial.epochs, reason=problem)
        raise RunError(f"{run}: {problem}")


def find_problem(folder: Path, told: str = "") -> str:
    """Say why a folder takes no more files; empty while it does.

    Args:
        folder: where to write a few kilobytes for a moment.
        told: what somebody who wrote there has failed with; a disk may have room for the probe and
            none for a checkpoint.
    """
    for number in OUT_OF_ROOM:
        if os.strerror(number) in told:
            return _words(os.strerror(number), number)
    probe = folder / PROBE_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(bytes(PROBE_BYTES))
    except OSError as error:
        return _words(error.strerror or str(error), error.errno)
    finally:
        _remove(probe)
    return ""


def _words(said: str, number: int | None, where: str = "") -> str:
    mend = "make room" if number in OUT_OF_ROOM else "make it writable"
    return (
        f"its disk takes no more files: {said}{where}; {mend}, then `hpo resume` goes on "
        "after the last finished epoch"
    )


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # what could not be written cannot always be removed
