"""Decides what of a study must be written to MLflow, and writes it."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import replace

from hpo.core.event_json import from_json
from hpo.core.events import (
    Confirmed,
    Epoch,
    Error,
    Event,
    Finished,
    Interrupted,
    TrialEnded,
    TrialFinished,
    TrialStarted,
    TrialSuspended,
)
from hpo.core.selection import roles, shown_role
from hpo.core.text import count_of
from hpo.core.trial import TrialRecord, TrialState
from hpo.core.trial_counts import state_word
from hpo.run.run_dir import RunDir
from hpo.tracking.lost_searches import INTERRUPTED, STATUS, end_lost_searches
from hpo.tracking.rows import Study, legal_name, log_axes
from hpo.tracking.store import (
    connect,
    ensure_experiment,
    is_refusal,
    local_database,
    reason,
    remedy,
)
from hpo.tracking.study_run import StudyRun
from hpo.tracking.trial_runs import TrialRuns

logger = logging.getLogger(__name__)

_ENDINGS: dict[type[Event], str] = {
    Finished: "finished",
    Interrupted: INTERRUPTED,
    Error: "failed",
}
"""Last event -> state of the search."""
_REASONED = tuple(f'"{kind.name}"' for kind in (TrialFinished, Confirmed, TrialSuspended))
"""What stands in every line of an event that tells why a trial ended."""


class StudyWriter:
    """Writes the difference between the ledger and what has arrived; used by one thread.

    Example: `note(event)` for every event; `write(closing=False)` now and then; after it has
    raised, `forget()`, and the next `write` finds out anew what has arrived; `write(closing=True)`
    at last.

    Args:
        study: what stays the same.
        tracking_uri: MLflow's address.
        snapshot: returns copies of all trial records.
    """

    def __init__(
        self, study: Study, tracking_uri: str, snapshot: Callable[[], list[TrialRecord]]
    ) -> None:
        self._study = replace(study, metric=legal_name(study.metric))
        self._uri = tracking_uri
        self._snapshot = snapshot
        self._runs: tuple[StudyRun, TrialRuns] | None = None
        self._reasons: dict[int, str] | None = None
        self._live: set[int] = set()
        self._ending = ""
        self._first_time = self._last_time = 0.0
        self._refused: dict[int, str] = {}
        self._files_missing = ""
        self._arrived: set[int] = set()
        self.has_arrived = False
        """Whether MLflow has taken anything since this was made."""
        self.is_complete = False
        """Whether the last closing `write` has left nothing out."""
        self.moved = time.monotonic()
        """When something arrived last, by the monotonic clock."""

    def note(self, event: Event) -> None:
        """Keep what the ledger does not know: which trials run, why they stopped, how it ended."""
        self._last_time = event.time
        self._first_time = self._first_time or self._last_time
        self._ending = _ENDINGS.get(type(event), self._ending)
        if isinstance(event, TrialStarted | Epoch):
            self._live.add(event.trial)
        elif isinstance(event, TrialEnded | TrialSuspended):
            self._live.discard(event.trial)
            self._known_reasons()[event.trial] = event.reason

    def write(self, *, closing: bool) -> None:
        """Bring MLflow up to date; raises an error of the store where that fails.

        Args:
            closing: whether the search is over, so that nothing runs and everything must arrive.
        """
        if closing:
            self._live.clear()
            self._refused.clear()
        search, trials = self._runs = self._runs or self._open()
        records = self._snapshot()
        axes = log_axes(records)
        for record in records:
            self._write_trial(trials, record, axes)
            self.moved = time.monotonic()
        state = self._ending or (INTERRUPTED if closing else "running")
        search.write(records, state, STATUS.get(state, "RUNNING"), self._last_time)
        named = roles(records, self._study.direction)
        trials.mark_roles({n: shown_role(role, state) for n, role in named.items()})
        self._write_files(search, trials, records, closing=closing)
        self.is_complete = closing and not self._refused and not self._files_missing

    def forget(self) -> None:
        """Take nothing for granted any more: before anything is created, MLflow is asked."""
        self._runs = None

    def describe_gaps(self, problem: str) -> str:
        """What is missing in MLflow, and why, as far as it is known.

        Args:
            problem: what the last failed attempt said.
        """
        reasons = [problem] if problem else []
        reasons += [f"trial {number}: {words}" for number, words in self._refused.items()][:3]
        reasons += [f"artifacts: {self._files_missing}"] if self._files_missing else []
        missing = [r.number for r in self._snapshot() if r.number not in self._arrived]
        listed = ", ".join(str(n) for n in missing[:10]) + (", ..." if len(missing) > 10 else "")
        what = f"{count_of(len(missing), 'trial')} ({listed})" if missing else "the last values"
        return f"{what} did not arrive; {'; '.join(reasons) or 'the time was too short'}"

    def _open(self) -> tuple[StudyRun, TrialRuns]:
        client = connect(self._uri)
        if (database := local_database(self._uri)) is not None:
            end_lost_searches(database)
        experiment_id = ensure_experiment(client, self._uri, self._study.name)
        self.has_arrived = True
        self.moved = time.monotonic()
        search = StudyRun(client, self._study, experiment_id, self._first_time)
        return search, TrialRuns(client, self._study, experiment_id, search.run_id)

    def _write_trial(self, trials: TrialRuns, record: TrialRecord, axes: dict[str, str]) -> None:
        """Write one trial; one that MLflow refuses is left out, so that the others still arrive."""
        if record.number in self._refused:
            return
        state = state_word(record)
        if record.state is TrialState.RUNNING and record.number not in self._live:
            state = "suspended"
        why = self._known_reasons().get(record.number, "")
        try:
            trials.write(record, state, why, axes)
        except Exception as error:
            if not is_refusal(error):
                raise
            if not self._refused:
                logger.warning("MLflow refuses trial %d: %s", record.number, reason(error))
            self._refused[record.number] = reason(error)

    def _write_files(
        self, search: StudyRun, trials: TrialRuns, records: list[TrialRecord], *, closing: bool
    ) -> None:
        """Write artifacts; where they cannot be stored, values and states arrive all the same."""
        try:
            search.write_files()
            for record in records:
                if record.state.is_finished and record.number not in self._refused:
                    trials.write_files(record)
                    self._arrived.add(record.number)
                    self.moved = time.monotonic()
            if closing:
                search.register_winner()
        except Exception as error:  # of any library of a storage: MLflow passes them on
            told = "; ".join(filter(None, (reason(error), remedy(error))))
            if not self._files_missing:
                logger.warning("MLflow does not take artifacts: %s", told)
                logger.debug("the traceback", exc_info=True)
            self._files_missing = told
        else:
            self._files_missing = ""

    def _known_reasons(self) -> dict[int, str]:
        if self._reasons is None:
            self._reasons = _read_reasons(self._study.run)
        return self._reasons


def _read_reasons(run: RunDir) -> dict[int, str]:
    """Why trials of earlier sessions were stopped, from the run's own events."""
    reasons: dict[int, str] = {}
    with contextlib.suppress(FileNotFoundError), run.events_file.open(encoding="utf-8") as lines:
        for line in lines:
            event = from_json(line) if any(mark in line for mark in _REASONED) else None
            if isinstance(event, TrialEnded | TrialSuspended):
                reasons[event.trial] = event.reason
    return reasons
