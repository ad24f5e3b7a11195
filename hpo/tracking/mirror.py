"""The listener that keeps MLflow up to date from a thread of its own.

Events only wake the thread and carry what the ledger does not keep (why a trial was stopped). What
is written is always the difference between the ledger and what has already arrived, so a slow
server, a lost one and a resumed search are the same case.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from hpo.core.events import Event
from hpo.core.rundir import RunDir
from hpo.core.trial import TrialRecord, TrialState
from hpo.tracking.rows import Study, log_axes
from hpo.tracking.store import (
    connect,
    ensure_experiment,
    expected_errors,
    is_refusal,
    shown,
)
from hpo.tracking.study_run import StudyRun
from hpo.tracking.summary import winner
from hpo.tracking.trial_runs import TrialRuns

logger = logging.getLogger(__name__)

ROUND_SECONDS = 1.0
"""Time between two rounds of writing; what happens meanwhile goes into one batch per run."""
FIRST_WAIT_SECONDS = 5.0
LONGEST_WAIT_SECONDS = 60.0
"""After a failure the thread waits this long at most before it tries again."""
CLOSE_SECONDS = 30.0
"""How long the end of a search waits for MLflow without seeing it move."""
LONGEST_CLOSE_SECONDS = 120.0
"""How long it waits at most."""
CLOSE_ATTEMPTS = 3

_WAKING = ("trial_started", "epoch", "trial_finished", "confirmed", "trial_suspended")
_ENDINGS = {
    "finished": ("finished", "FINISHED"),
    "interrupted": ("interrupted", "KILLED"),
    "error": ("failed", "FAILED"),
}
"""Last event -> (state in words, MLflow's status) of the parent run."""
_RUNNING = ("running", "RUNNING")
_CLOSED = ("interrupted", "KILLED")


class MlflowMirror:
    """Writes a study to MLflow as it happens; implements `hpo.core.events.Listener`.

    Args:
        run: the run directory, whose files become artifacts.
        study_name: the experiment.
        study_uuid: what parent and child runs are found again by.
        direction: `maximize` or `minimize`.
        metric: name of the monitored metric.
        tracking_uri: MLflow's address, see `default_tracking_uri`.
        summary: what was searched and how, for the parent's params.
        snapshot: returns copies of all trial records; called from the mirror's thread.
    """

    def __init__(
        self,
        run: RunDir,
        *,
        study_name: str,
        study_uuid: str,
        direction: str,
        metric: str = "val_precision_at_1",
        tracking_uri: str,
        summary: Mapping[str, Any],
        snapshot: Callable[[], list[TrialRecord]],
    ) -> None:
        self._study = Study(
            run=run,
            name=study_name,
            uuid=study_uuid,
            direction=direction,
            metric=metric,
            summary=summary,
        )
        self._uri = tracking_uri
        self._snapshot = snapshot
        self._inbox: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._runs: tuple[StudyRun, TrialRuns] | None = None
        self._first_time = self._last_time = 0.0
        self._live: set[int] = set()
        self._reasons: dict[int, str] = {}
        self._refused: dict[int, str] = {}
        self._ending: tuple[str, str] | None = None
        self._is_away = False
        self._is_complete = False
        self._is_abandoned = False
        self._moved = 0.0
        self._files_missing = ""
        self._problem = ""
        self._arrived: set[int] = set()

    # What the search calls ---------------------------------------------------------------------

    def hear(self, event: Event) -> None:
        """Take note of an event; costs microseconds."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
            self._thread.start()
        self._inbox.put(event)

    def close(self) -> None:
        """Write what is left while that moves on, and say what is missing in the end."""
        if self._thread is None:
            return
        self._inbox.put(None)
        until = time.monotonic() + LONGEST_CLOSE_SECONDS
        self._moved = time.monotonic()
        while self._thread.is_alive() and time.monotonic() < min(
            until, self._moved + CLOSE_SECONDS
        ):
            self._thread.join(0.1)
        self._thread, self._is_abandoned = None, True
        if not self._is_complete:
            logger.warning(
                "MLflow at %s is incomplete: %s; `hpo resume %s` writes the rest",
                shown(self._uri),
                self._describe_gaps(),
                self._study.run,
            )

    # The thread --------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            self._reasons = read_reasons(self._study.run)
            self._loop()
        except Exception:  # a fault in the mirror must not take the search with it
            if not self._is_abandoned:
                logger.warning("the MLflow mirror has ended by a fault of its own", exc_info=True)

    def _loop(self) -> None:
        wait, is_reached = 0.0, True
        while self._listen(wait, idle=is_reached):
            is_reached = self._try_round()
            later = min(max(2 * wait, FIRST_WAIT_SECONDS), LONGEST_WAIT_SECONDS)
            wait = ROUND_SECONDS if is_reached else later
        for attempt in range(CLOSE_ATTEMPTS):
            time.sleep(attempt)
            if self._is_abandoned or self._try_round(closing=True):
                return

    def _listen(self, seconds: float, *, idle: bool) -> bool:
        """Take in events for so long; False once the search is over.

        Args:
            seconds: time to wait.
            idle: whether to wait on until there is an event.
        """
        until = time.monotonic() + seconds
        while True:
            left = max(0.0, until - time.monotonic())
            try:
                event = self._inbox.get(timeout=None if idle else left)
            except queue.Empty:
                return True
            if event is None:
                return False
            self._note(event)
            idle = False

    def _note(self, event: Event) -> None:
        name, number = event["event"], event.get("trial")
        self._last_time = event["time"]
        self._first_time = self._first_time or self._last_time
        self._ending = _ENDINGS.get(name, self._ending)
        if name not in _WAKING or number is None:
            return
        if name in ("trial_started", "epoch"):
            self._live.add(number)
        else:
            self._live.discard(number)
        if event.get("reason"):
            self._reasons[number] = event["reason"]

    def _try_round(self, *, closing: bool = False) -> bool:
        """Write everything that MLflow does not have yet; False when it cannot be reached."""
        try:
            errors = expected_errors()
        except ImportError as error:
            self._warn_away(error)
            return False
        try:
            self._round(closing=closing)
        except errors as error:
            self._runs = None  # what arrived is asked again before anything is created
            self._warn_away(error)
            return False
        if self._is_away:
            logger.info("MLflow at %s answers again", shown(self._uri))
            self._is_away = False
        return True

    def _round(self, *, closing: bool) -> None:
        if closing:
            self._live.clear()
            self._refused.clear()
        search, trials = self._runs = self._runs or self._open()
        records = self._snapshot()
        axes = log_axes(records)
        for record in records:
            self._write_trial(trials, record, axes)
            self._moved = time.monotonic()
        state, status = self._ending or (_CLOSED if closing else _RUNNING)
        search.write(records, state, status, self._last_time)
        if closing:
            best = winner(records, self._study.direction)
            trials.mark_winner(None if best is None else best.number)
        self._write_files(search, trials, records)
        if closing:
            gaps = [f"trial {n}: {m}" for n, m in self._refused.items()]
            gaps += [f"artifacts: {self._files_missing}"] if self._files_missing else []
            self._problem, self._is_complete = "; ".join(gaps), not gaps

    def _open(self) -> tuple[StudyRun, TrialRuns]:
        client = connect(self._uri)
        experiment_id = ensure_experiment(client, self._uri, self._study.name)
        self._moved = time.monotonic()
        search = StudyRun(client, self._study, experiment_id, self._first_time)
        return search, TrialRuns(client, self._study, experiment_id, search.run_id)

    def _write_files(self, search: StudyRun, trials: TrialRuns, records: list[TrialRecord]) -> None:
        """Write artifacts; where they cannot be stored, values and states arrive all the same."""
        try:
            search.write_files()
            for record in records:
                if record.state.is_finished and record.number not in self._refused:
                    trials.write_files(record)
                    self._arrived.add(record.number)
                    self._moved = time.monotonic()
        except expected_errors() as error:
            if not self._files_missing:
                logger.warning("MLflow does not take artifacts: %s", _first_line(error))
            self._files_missing = _first_line(error)
        else:
            self._files_missing = ""

    def _write_trial(self, trials: TrialRuns, record: TrialRecord, axes: dict[str, str]) -> None:
        """Write one trial; one that MLflow refuses is left out, so that the others still arrive."""
        if record.number in self._refused:
            return
        state = str(record.state)
        if record.state is TrialState.RUNNING and record.number not in self._live:
            state = "suspended"
        try:
            trials.write(record, state, self._reasons.get(record.number, ""), axes)
        except Exception as error:
            if not is_refusal(error):
                raise
            self._refused[record.number] = _first_line(error)
            logger.warning("MLflow refuses trial %d: %s", record.number, _first_line(error))

    def _describe_gaps(self) -> str:
        missing = [r.number for r in self._snapshot() if r.number not in self._arrived]
        listed = ", ".join(str(n) for n in missing[:10]) + (", ..." if len(missing) > 10 else "")
        trials = f"trials {listed} (of {len(missing)})" if missing else "the last values"
        return f"{trials} missing, {self._problem or 'the time was too short'}"

    def _warn_away(self, error: Exception) -> None:
        self._problem = _first_line(error)
        if self._is_away:
            return
        self._is_away = True
        logger.warning(
            "MLflow at %s cannot be written (%s); the search goes on and MLflow is caught up later",
            shown(self._uri),
            _first_line(error),
        )


def read_reasons(run: RunDir) -> dict[int, str]:
    """Why trials of earlier sessions were stopped, from the run's own events."""
    reasons: dict[int, str] = {}
    try:
        lines = run.events_file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return reasons
    for line in lines:
        try:
            event = json.loads(line)
        except json.JSONDecodeError:  # the last line of a killed search may be cut off
            continue
        if event.get("event") in _WAKING and event.get("reason"):
            reasons[event["trial"]] = event["reason"]
    return reasons


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]
