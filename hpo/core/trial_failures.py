"""Classifies trial failures: retried, avoided by samplers, or ending the search."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from hpo.core.errors import HpoError
from hpo.core.machine_faults import describe_fault
from hpo.core.process.extras import explain_missing
from hpo.core.trial import FAILURE_KINDS, Measurement, TrialRecord

_MAX_SAME_FAILURES = 3
"""This many trials in a row with the same cause end the search."""
_MAX_REFUSED = 500
"""This many proposals in a row that are all refused end it: the algorithm has no others to make."""
MAX_RETRIES = 2
"""How often a trial whose worker was lost is started again without having trained an epoch more."""
INFEASIBLE = frozenset({"out_of_memory", "diverged"})
"""Causes that lie in a trial's parameters: samplers learn to keep away from them."""

NO_MEMORY = ("out of memory", "alloc_failed", "allocate memory")
"""In what devices, their libraries and systems say, lower case."""

LOST = {"kind": "infrastructure", "message": "the worker process was lost"}
"""A worker that was killed, ran out of memory, crashed below Python, or whose node is gone."""


def is_infeasible(trial: TrialRecord) -> bool:
    """Whether a trial failed by its parameters or was refused for them; another one need not."""
    return trial.is_refused or (trial.error is not None and trial.error["kind"] in INFEASIBLE)


def describe_failure(error: BaseException, folder: Path | None = None) -> dict[str, str]:
    """Give an exception one of the named causes and one line.

    Args:
        error: what was raised.
        folder: what was written to, for faults of the disk that name no path.
    """
    kind = str(getattr(error, "kind", ""))
    if kind not in FAILURE_KINDS:
        kind = _guess_kind(error)
    fault = describe_fault(error, [] if folder is None else [folder])
    missing = explain_missing(error) if isinstance(error, ModuleNotFoundError) else ""
    text = (fault or missing or str(error)).strip().splitlines()
    message = text[0] if text else type(error).__name__
    if kind == "code" and not missing:
        message = f"{type(error).__name__}: {message}"
    return {"kind": kind, "message": message[:500]}


class TrainerExitError(HpoError):
    """A trainer called `sys.exit`, which ends a program and is no result of a call."""

    kind = "code"


def describe_exit(end: SystemExit) -> str:
    """What to do about a call of `sys.exit`."""
    return f"the trainer called sys.exit({end.code!r}); have it return, or raise what went wrong"


@contextlib.contextmanager
def exits_as_failures() -> Iterator[None]:
    """Turn `sys.exit` in a trainer's code into an error; libraries call it at Ctrl-C, too."""
    try:
        yield
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from end
        raise TrainerExitError(describe_exit(end)) from end


def error_line(error: Exception) -> str:
    """One line about an error of a call in a worker, wherever the worker was."""
    return str(error) if isinstance(error, HpoError) else describe_failure(error)["message"]


def _guess_kind(error: BaseException) -> str:
    names = {base.__name__ for base in type(error).__mro__}
    is_full = isinstance(error, RuntimeError) and any(w in str(error).lower() for w in NO_MEMORY)
    if "OutOfMemoryError" in names or isinstance(error, MemoryError) or is_full:
        return "out_of_memory"
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
        return "data"
    if isinstance(error, OSError):
        return "infrastructure"
    return "code"


class Retries:
    """Allows a trial whose worker was lost to be started again, as long as that leads anywhere."""

    def __init__(self) -> None:
        self._lost_at: dict[int, tuple[int, int]] = {}

    def allow(self, trial: TrialRecord) -> bool:
        """Count one more loss; False when the last starts have all been lost in the same epoch."""
        epoch, count = self._lost_at.get(trial.number, (-1, 0))
        count = count + 1 if epoch == trial.epochs else 1
        self._lost_at[trial.number] = (trial.epochs, count)
        return count <= MAX_RETRIES


def describe_retry(trial: TrialRecord, message: str) -> str:
    """What people are told when a trial is started again."""
    return (
        f"trial {trial.number}: {message}; starting it again from epoch {trial.epochs} (retry "
        f"{trial.retries}; at most {MAX_RETRIES} in one epoch)"
    )


def describe_not_finite(measurement: Measurement) -> dict[str, str]:
    """The failure of a trial whose metric is not a number."""
    return {
        "kind": "diverged",
        "message": f"the metric of epoch {measurement.epoch} is {measurement.value}, not a number",
    }


def shared_cause(ended: Iterable[TrialRecord]) -> str:
    """What the last trials have all failed with, or were refused for, if that is enough to give up.

    A cause that lies in the parameters is enough only while no trial at all has a result.

    Args:
        ended: the trials that have ended, in that order.
    """
    trials = list(ended)
    newest = trials[-_MAX_REFUSED:]
    if len(newest) == _MAX_REFUSED and all(t.is_refused for t in newest):
        why = (newest[-1].error or {})["message"]
        return f"the last {_MAX_REFUSED} proposals were refused, the newest by: {why}"
    able = [t for t in trials if not t.is_refused]
    last = able[-_MAX_SAME_FAILURES:]
    causes = {_cause(t) for t in last}
    if len(last) < _MAX_SAME_FAILURES or len(causes) != 1 or last[-1].error is None:
        return ""
    if is_infeasible(last[-1]) and any(t.value is not None for t in able):
        return ""
    return last[-1].error["message"]


def _cause(trial: TrialRecord) -> tuple[str, str]:
    """What trials with the same trouble have in common: no epoch, no amount, no folder, no id."""
    if trial.error is None:
        return "", ""
    kind, message = trial.error["kind"], trial.error["message"]
    if kind in INFEASIBLE:
        return kind, ""
    if kind == "infrastructure":
        return kind, re.sub(r"\S*\d\S*", "N", message)
    return kind, re.sub(r"trials/\d+", "trials/N", message)
