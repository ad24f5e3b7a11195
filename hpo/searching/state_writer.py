"""Writes `state.json` while a run goes on, and the `finished` event at its end."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from hpo.core.edges import find_edges
from hpo.core.events import Event
from hpo.core.rungs import measure_rungs
from hpo.core.trial import TrialRecord, TrialState
from hpo.run.disk_errors import OUT_OF_ROOM
from hpo.run.ledger import Ledger
from hpo.run.run_dir import RunDir
from hpo.searching.engine import Engine
from hpo.study.spec import StudySpec
from hpo.study.trainers import find_trainer

if TYPE_CHECKING:
    from search_spaces import SearchSpace

FALLBACK = "fallback"
"""A trial's note begins with it where a language model was to choose it and failed to."""
AT_ONCE = ("started", "paused", "continued")
MIN_INTERVAL_S = 0.5
"""`state.json` is rewritten at most this often."""


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
        self._metric = find_trainer(study.trainer).monitoring_metric
        self._written = 0.0
        self._closed = False
        self._paused = ""
        """Why the search waits."""

    def handle(self, event: Event) -> None:
        """Rewrite the state unless that was done a moment ago."""
        if self._closed or event["event"] == "finished":
            return
        now, name = time.monotonic(), event["event"]
        if name in ("paused", "continued"):
            self._paused = event["text"] if name == "paused" else ""
        if now - self._written >= MIN_INTERVAL_S or name in AT_ONCE:
            self._written = now
            self._write("running", {"paused": self._paused} if self._paused else {})

    def close_as(self, status: str, **extra: Any) -> None:
        """Write the last state of this start of the search.

        On a full disk an interrupted one goes without: no driver behind a `running` says as much.
        """
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
        best = self._engine.best()
        self._run.write_state(
            {
                "status": status,
                "pid": os.getpid(),
                "updated": time.time(),
                "study": self._study.name,
                "metric": self._metric,
                "budget": self._study.budget.to_text(),
                "spent": asdict(self._engine.spent()),
                "best": None if best is None else trial_row(best, self._ledger.direction),
                "trials": [trial_row(t, self._ledger.direction) for t in self._ledger.trials()],
                "rungs": rungs_of(self._ledger),
                **extra,
            }
        )


def trial_row(trial: TrialRecord, direction: str) -> dict[str, Any]:
    """One trial as a row of a table."""
    best = trial.best_measurement(direction)
    return {
        "trial": trial.number,
        "state": str(trial.state),
        "purpose": trial.purpose,
        "value": None if best is None or trial.state is TrialState.FAILED else best.value,
        "best_epoch": best.epoch if best else None,
        "epoch": trial.epochs,
        "until_epoch": trial.until_epoch,
        "start_from": trial.start_from,
        "note": trial.note,
        "seconds": round(trial.seconds, 2),
        "params": trial.params,
        "error": trial.error,
    }


def rungs_of(ledger: Ledger) -> list[dict[str, Any]]:
    """Where trials were stopped, and how far the order there foretells the end."""
    return [rung.to_dict() for rung in measure_rungs(ledger.trials(), ledger.direction)]


def trial_counts(trials: list[TrialRecord]) -> dict[str, int]:
    """Complete, pruned and failed trials; confirmations and suspended ones are not counted."""
    states = [t.state for t in trials if t.purpose == "search" and not t.is_refused]
    counts = {
        "complete": states.count(TrialState.COMPLETE),
        "pruned": states.count(TrialState.PRUNED),
        "failed": states.count(TrialState.FAILED),
    }
    refused = sum(t.is_refused for t in trials)
    return {**counts, "refused": refused} if refused else counts


def describe_end(
    run: RunDir,
    study: StudySpec,
    engine: Engine,
    ledger: Ledger,
    best: Mapping[str, Any] | None,
    space: SearchSpace,
) -> dict[str, Any]:
    """The data of the `finished` event."""
    trials = ledger.trials()
    suspended = [t for t in trials if t.purpose == "search" and t.state is TrialState.RUNNING]
    return {
        "run_dir": str(run),
        "study": study.name,
        "best": None if best is None else dict(best),
        "trials": trial_counts(trials),
        "suspended": len(suspended),
        "confirmations": sum(t.purpose == "confirm" for t in trials),
        "budget": study.budget.to_text(),
        "spent": {k: round(v, 3) for k, v in asdict(engine.spent()).items()},
        "ended_because": engine.ended_because,
        "rungs": rungs_of(ledger),
        "edges": [str(edge) for edge in find_edges(space, trials, ledger.direction)],
        "fallbacks": sum(t.note.startswith(FALLBACK) for t in trials),
    }


def snapshot_of(ledger: Ledger) -> list[TrialRecord]:
    """All records, for readers in other threads; those that still change are copied."""
    return [
        t if t.state.is_finished else replace(t, measurements=list(t.measurements))
        for t in ledger.trials()
    ]
