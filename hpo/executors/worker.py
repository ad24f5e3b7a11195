"""Runs one launch in a worker, of a trial or a batch: calls the trainer, names its failure.

Shared by all executors; runs where torch may be imported, but imports none of it itself.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hpo.core.diverted import diverted
from hpo.core.protocols import Trainer, takes
from hpo.core.reports import ReportError, checked_receipt, checked_report
from hpo.core.trainer_extras import BatchTrainer
from hpo.core.trial import Launch
from hpo.core.trial_failures import describe_failure, exits_as_failures
from hpo.study.trainers import demand_mapping, find_trainer

logger = logging.getLogger(__name__)

PROGRESS_EVERY_S = 2.0
"""A worker says at most this often how far it is before the first epoch."""

_NOT_SEEN = "is not there for a worker on another computer; give --out a path that all nodes see"

_TELL = frozenset({"probe", "evaluate", "export"})
"""Methods that return facts by name."""

ReportEpoch = Callable[[int, Mapping[str, Any]], bool]
"""Called as a trainer's `Report`, with the trial's number first."""

ShowProgress = Callable[[int, str], None]
"""Called with a trial's number and what it does, see `hpo.core.events.TrialProgress`."""


def run_launch(
    trainer_name: str,
    launch: Launch,
    report: ReportEpoch,
    show: ShowProgress = lambda _number, _text: None,
) -> dict[int, dict[str, Any]]:
    """Train one trial, or those of a batch together.

    Args:
        trainer_name: registered name of the trainer; for a batch a `BatchTrainer`.
        launch: what to train.
        report: what it raises other than `Exception` ends the launch at once.
        show: called with the number of the first trial and what is done before epochs end.

    Returns:
        For each number `{"receipt": ...}`, or `{"failure": {"kind", "message"}}` with the traceback
        in the log of the first trial. What ends a whole batch is the failure of all.
    """
    members, first = launch.members or (launch,), launch.number
    folder = Path(launch.folder)
    outcomes: dict[int, dict[str, Any]] = {}
    if not folder.parent.is_dir():  # which the driver has made
        unseen = {"kind": "spec", "message": f"{folder.parent} {_NOT_SEEN}"}
        return {member.number: {"failure": unseen} for member in members}
    try:
        for member in members[1:]:
            with (Path(member.folder) / "log.txt").open("a", encoding="utf-8") as stream:
                stream.write(f"trained together with trial {first}: see the log.txt of that\n")
        with trial_log(folder):
            try:
                with exits_as_failures():
                    trainer, told = find_trainer(trainer_name), partial(show, first)
                    fit = _fit_together if launch.members else _fit
                    found = fit(trainer, launch, report, told)
            except Exception as error:
                logger.exception("trial %s failed", ", ".join(str(m.number) for m in members))
                return _all_failed(members, error, folder)
            for member, outcome in zip(members, found, strict=True):
                if isinstance(outcome, Exception):
                    logger.error("trial %d failed", member.number, exc_info=outcome)
                    failure = describe_failure(outcome, Path(member.folder))
                    outcomes[member.number] = {"failure": failure}
                else:
                    outcomes[member.number] = {"receipt": outcome}
    except OSError as error:  # the log could not be written to its end
        return _all_failed(members, error, folder)
    return outcomes


def _all_failed(
    members: Sequence[Launch], error: Exception, folder: Path
) -> dict[int, dict[str, Any]]:
    return {member.number: {"failure": describe_failure(error, folder)} for member in members}


def _fit(
    trainer: Trainer, launch: Launch, report: ReportEpoch, show: Callable[[str], None]
) -> Sequence[dict[str, Any] | Exception | None]:
    resume_from = Path(launch.resume_from) if launch.resume_from else None
    more = _progress_of(trainer.fit, show)
    if launch.start_epoch is not None:
        more["start_epoch"] = launch.start_epoch
    told = _checked(report, launch.number)
    return [_receipt_of(trainer.fit(launch.spec, told, resume_from, **more))]


def _checked(report: ReportEpoch, number: int) -> Callable[[Any], bool]:
    """A trainer's `Report`, which raises in its `fit` what is wrong with a line."""
    return lambda payload: report(number, checked_report(payload))


def _receipt_of(outcome: Any) -> dict[str, Any] | Exception | None:
    if outcome is None or isinstance(outcome, Exception):
        return outcome
    try:
        return checked_receipt(outcome)
    except ReportError as error:
        return error


def _fit_together(
    trainer: Trainer, launch: Launch, report: ReportEpoch, show: Callable[[str], None]
) -> Sequence[dict[str, Any] | Exception | None]:
    if not isinstance(trainer, BatchTrainer):
        raise TypeError(f"{trainer.name} trains no trials together")
    told = [_checked(report, member.number) for member in launch.members]
    outcomes = trainer.fit_heads(
        [member.spec for member in launch.members],
        lambda place, payload: told[place](payload),
        **_progress_of(trainer.fit_heads, show),
    )
    if len(outcomes) != len(told):
        raise ReportError(f"fit_heads: must return {len(told)} receipts, got {len(outcomes)}")
    return [_receipt_of(outcome) for outcome in outcomes]


def _progress_of(fit: Callable[..., Any], show: Callable[[str], None]) -> dict[str, Any]:
    """The argument `progress` for a `fit` that takes it, which passes on a call now and then."""
    if not takes(fit, "progress"):
        return {}
    last, shown = -PROGRESS_EVERY_S, ""

    def progress(what: str, done: int, total: int) -> None:
        nonlocal last, shown
        now = time.monotonic()
        if what == shown and now - last < PROGRESS_EVERY_S:
            return
        last, shown = now, what
        show(f"{what} {done}/{total}" if total else what)

    return {"progress": progress}


@contextlib.contextmanager
def trial_log(folder: Path) -> Iterator[None]:
    """Send log records, prints and warnings of this thread to `log.txt` of a trial.

    Records of threads that have no such log go there too, and to where they went before.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log.txt").open("a", encoding="utf-8", buffering=1) as stream:
        handler = logging.StreamHandler(stream)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        with _LOGS.taking(handler), diverted(stream):
            yield


class _TrialLogs:
    """Handlers of the trials that run in this process, each in a thread of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handlers: dict[int, logging.Handler] = {}
        self._others: list[logging.Handler] = []
        self._level = logging.WARNING

    @contextlib.contextmanager
    def taking(self, handler: logging.Handler) -> Iterator[None]:
        """Have a handler take what the calling thread logs."""
        root, thread = logging.getLogger(), threading.get_ident()
        handler.addFilter(lambda record: self._handlers.get(record.thread or 0, handler) is handler)
        with self._lock:
            if not self._handlers:
                self._level, self._others = root.level, list(root.handlers)
                for other in self._others:
                    other.addFilter(self._is_elsewhere)
                _set_level(root, logging.INFO)
            self._handlers[thread] = handler
            root.addHandler(handler)
        try:
            yield
        finally:
            with self._lock:
                root.removeHandler(handler)
                self._handlers.pop(thread, None)
                if not self._handlers:
                    _set_level(root, self._level)
                    for other in self._others:
                        other.removeFilter(self._is_elsewhere)

    def _is_elsewhere(self, record: logging.LogRecord) -> bool:
        """Whether a record is none of a trial's, so that others show it as always."""
        harness = record.name.startswith("hpo.") and record.name != __name__
        return record.thread not in self._handlers or harness


def _set_level(logger: logging.Logger, level: int) -> None:
    """Set a level that is another one: what is set empties the caches of all loggers."""
    if logger.level != level:
        logger.setLevel(level)


_LOGS = _TrialLogs()


def call_method(trainer_name: str, method: str, args: tuple[Any, ...]) -> Any:
    """Call one method of a trainer."""
    with exits_as_failures():
        trainer = find_trainer(trainer_name)
        found = getattr(trainer, method)(*args)
    return demand_mapping(found, trainer, method) if method in _TELL else found
