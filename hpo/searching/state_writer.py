"""Writes `state.json` while a run goes on, and makes the events of its start and end."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hpo.core.budget import was_foreseen
from hpo.core.edges import find_edges
from hpo.core.event_json import to_plain
from hpo.core.events import (
    Continued,
    Epoch,
    Event,
    Finished,
    Paused,
    Preparing,
    Review,
    Started,
    TrialEnded,
    TrialProgress,
    TrialSuspended,
)
from hpo.core.pacing import Pacer
from hpo.core.process.groups import boot_id, started_at
from hpo.core.rungs import measure_rungs
from hpo.core.selection import roles
from hpo.core.stages import measure_stages
from hpo.core.trial import TrialRecord, TrialState
from hpo.core.trial_counts import ENDS, trial_counts
from hpo.core.trial_row import TrialRow
from hpo.run.disk_errors import OUT_OF_ROOM
from hpo.run.ledger import Ledger
from hpo.run.next_commands import resume_command
from hpo.run.run_dir import RunDir
from hpo.run.run_index import note_run
from hpo.searching.engine import Engine
from hpo.study.plan import kept_folder
from hpo.study.spec import StudySpec
from hpo.study.trainers import find_trainer

if TYPE_CHECKING:
    from search_spaces import SearchSpace

AT_ONCE = (Started, Preparing, Review, Paused, Continued)
"""Events after which the state is written however short ago that was done: for long, none may come
after them."""
MIN_INTERVAL_S = 0.5
"""`state.json` is rewritten at most this often; where that takes long, more rarely."""


class StateWriter:
    """Keeps `state.json` up to date as events come.

    Args:
        run: whose state it is.
        study: for its name and budget.
        engine: for the best trial and what was spent.
        ledger: for the trials.
    """

    def __init__(self, run: RunDir, study: StudySpec, engine: Engine, ledger: Ledger) -> None:
        self._run, self._study, self._engine, self._ledger = run, study, engine, ledger
        self._trainer = find_trainer(study.trainer)
        self._metric = self._trainer.monitoring_metric
        self._pacer = Pacer()
        self._closed = False
        self._paused = ""
        """Why the search waits."""
        self._doing: dict[int, str] = {}
        """What trials do before their first epochs end."""
        self._rows: dict[int, dict[str, Any]] = {}
        """Of trials that have ended, in which nothing but the role changes any more."""
        self._expected_s: float | None = None
        self._began_at = engine.spent().seconds
        self._forecasts: list[dict[str, float]] = run.read_state().get("forecasts", [])
        """Of every start that came to its end: what its review expected, and what it took."""

    def handle(self, event: Event) -> None:
        """Rewrite the state unless that was done a moment ago, or takes too long to do so now."""
        if self._closed or isinstance(event, Finished):
            return
        if isinstance(event, Review) and event.forecast:
            self._expected_s = event.forecast.charged_s
        if isinstance(event, TrialProgress):
            self._doing[event.trial] = event.text
        elif isinstance(event, Epoch | TrialEnded | TrialSuspended):
            self._doing.pop(event.trial, None)
        if isinstance(event, Paused | Continued):
            self._paused = event.text if isinstance(event, Paused) else ""
        if isinstance(event, AT_ONCE):
            self.write_now()
        else:
            self.catch_up(MIN_INTERVAL_S)

    def catch_up(self, least_s: float = 0.0) -> None:
        """Rewrite the state if that is due: `least_s` or many times what it takes have passed."""
        if self._pacer.is_due(least_s):
            self.write_now()

    def write_now(self) -> None:
        """Rewrite the state, however short ago that was done."""
        if not self._closed:
            with self._pacer.timed():
                self._write("running", {"paused": self._paused} if self._paused else {})

    def close_as(self, status: str, **extra: Any) -> None:
        """Write the last state of this start of the search.

        On a full disk an interrupted one goes without: no driver behind a `running` says as much.
        """
        self._doing = {}
        took_s = self._engine.spent().seconds - self._began_at
        if status == "finished":
            note_run(kept_folder(self._trainer), self._run)
        is_foreseen = status == "finished" and was_foreseen(self._engine.ended_because)
        if is_foreseen and self._expected_s and took_s > 0:
            told = {"expected_s": round(self._expected_s, 1), "took_s": round(took_s, 1)}
            self._forecasts.append(told)
            self._expected_s = None  # waiting for room, the same end is written again
        try:
            self._write(status, extra)
        except OSError as error:
            if status != "interrupted" or error.errno not in OUT_OF_ROOM:
                raise
        self._closed = True

    def close(self) -> None:
        """Say that the search ended without an orderly end, if that is so."""
        if not self._closed:
            self._write("failed", {})

    def _write(self, status: str, extra: Mapping[str, Any]) -> None:
        trials, direction = self._ledger.trials(), self._ledger.direction
        best, named = self._engine.best(), roles(trials, direction)
        state = {
            "status": status,
            "pid": os.getpid(),
            "pid_started": started_at(os.getpid()),
            "host": socket.gethostname(),
            "boot": boot_id(),
            "updated": time.time(),
            "study": self._study.name,
            "metric": self._metric,
            "budget": self._study.budget,
            "spent": self._engine.spent(),
            "best": None if best is None else TrialRow.of(best, direction),
            "trials": [],
            "rungs": measure_rungs(trials, direction),
            "stages": measure_stages(trials, direction),
            "forecasts": self._forecasts,
            "start": self._run.start_words or (),
            **extra,
        }
        rows = [self._row(t, named.get(t.number, "")) for t in trials]
        self._run.write_state({**to_plain(state), "trials": rows})

    def _row(self, trial: TrialRecord, role: str) -> dict[str, Any]:
        """A trial's row as plain data."""
        if (known := self._rows.get(trial.number)) is None:
            doing = self._doing.get(trial.number, "")
            known = to_plain(TrialRow.of(trial, self._ledger.direction, doing=doing))
            if trial.state.is_finished:
                self._rows[trial.number] = known
        return {**known, "role": role}


def describe_start(
    run: RunDir, study: StudySpec, engine: Engine, ledger: Ledger, metric: str
) -> Started:
    """The `started` event of a search whose trials so far are in the ledger."""
    trials = ledger.trials()
    counts = trial_counts(trials)
    return Started(
        run_dir=str(run),
        study=study.name,
        budget=study.budget,
        trials_so_far=sum(counts[state] for state in ENDS),
        spent=engine.spent(),
        direction=ledger.direction,
        metric=metric,
        trials=[TrialRow.of(t, ledger.direction) for t in trials],
        resume=resume_command(run),
    )


def describe_end(
    run: RunDir,
    study: StudySpec,
    engine: Engine,
    ledger: Ledger,
    best: Mapping[str, Any] | None,
    space: SearchSpace,
    report: str | None = None,
) -> Finished:
    """The `finished` event of a search that has handed `best` on, and written its report there."""
    trials, spent = ledger.trials(), engine.spent()
    suspended = [t for t in trials if not t.is_repeat and t.state is TrialState.RUNNING]
    return Finished(
        run_dir=str(run),
        study=study.name,
        best=best,
        trials=trial_counts(trials),
        suspended=len(suspended),
        confirmations=sum(t.is_repeat for t in trials),
        budget=study.budget,
        spent=replace(
            spent, seconds=round(spent.seconds, 3), gpu_seconds=round(spent.gpu_seconds, 3)
        ),
        ended_because=engine.ended_because,
        rungs=tuple(measure_rungs(trials, ledger.direction)),
        stages=tuple(measure_stages(trials, ledger.direction)),
        edges=tuple(str(edge) for edge in find_edges(space, trials, ledger.direction)),
        fallbacks=sum(t.is_fallback for t in trials),
        report=report,
    )


def snapshot_of(ledger: Ledger) -> list[TrialRecord]:
    """All records, for readers in other threads; those that still change are copied."""
    return [
        t if t.state.is_finished else replace(t, measurements=list(t.measurements))
        for t in ledger.trials()
    ]
