"""Ends in a local MLflow store the searches that were killed.

A killed search can write no more, so MLflow shows it as running until somebody resumes it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from hpo.run.plain_files import read_object
from hpo.run.run_dir import PLAN_FILE, RunDir
from hpo.tracking import rows

INTERRUPTED = "interrupted"
"""State of a search that can go on later."""
STATUS = {"finished": "FINISHED", "failed": "FAILED", INTERRUPTED: "KILLED"}
"""State of a search that has ended -> MLflow's status."""
_SECONDS = 60.0
"""How long a process waits for others that write."""
_RUNNING = """
    SELECT runs.run_uuid, study.value, place.value FROM runs
    JOIN tags role ON role.run_uuid = runs.run_uuid AND role.key = ? AND role.value = ?
    JOIN tags study ON study.run_uuid = runs.run_uuid AND study.key = ?
    JOIN tags place ON place.run_uuid = runs.run_uuid AND place.key = ?
    WHERE runs.status = 'RUNNING'"""
_TRIALS = """
    UPDATE tags SET value = 'suspended' WHERE key = ? AND value = 'running' AND run_uuid IN (
    SELECT role.run_uuid FROM tags role JOIN tags study ON study.run_uuid = role.run_uuid
    WHERE role.key = ? AND role.value = ? AND study.key = ? AND study.value = ?)"""


def end_lost_searches(database: Path) -> None:
    """End those whose run lies below the database's folder and is held by no search.

    Their trials in flight are suspended, as after an interruption. One that goes on runs again.
    Where a run says how it ended, and that did not arrive, it is taken from there.

    Raises:
        OSError: the database cannot be read or written.
    """
    try:
        with closing(sqlite3.connect(database, timeout=_SECONDS)) as base:
            for run_id, uuid, state, moment in list(_lost(base, database.parent)):
                with base:
                    base.execute(
                        "UPDATE runs SET status = ?, end_time = ? WHERE run_uuid = ?",
                        (STATUS[state], rows.milliseconds(moment), run_id),
                    )
                    base.execute(
                        "UPDATE tags SET value = ? WHERE key = ? AND run_uuid = ?",
                        (state, rows.STATE_TAG, run_id),
                    )
                    names = (rows.ROLE_TAG, rows.TRIAL_ROLE, rows.STUDY_TAG, uuid)
                    base.execute(_TRIALS, (rows.STATE_TAG, *names))
    except sqlite3.Error as error:
        raise OSError(f"{database}: {error}") from error


def _lost(base: sqlite3.Connection, out: Path) -> Iterator[tuple[str, str, str, float]]:
    """Id, study, state and last moment of each search that MLflow shows as running, and is not."""
    tables = base.execute("SELECT COUNT(*) FROM sqlite_master WHERE name IN ('runs', 'tags')")
    if tables.fetchone()[0] < 2:
        return
    asked = (rows.ROLE_TAG, rows.STUDY_ROLE, rows.STUDY_TAG, rows.RUN_TAG)
    for run_id, uuid, label in base.execute(_RUNNING, asked):
        for place in (out / label, out / Path(label).name):  # the second one of a workspace
            with suppress(OSError):  # one that cannot be read is left as it is
                run = RunDir(place)
                is_its = read_object(run.path / PLAN_FILE).get("study_uuid") == uuid
                if is_its and not run.is_running():
                    state = run.read_state().get("status")
                    yield run_id, uuid, state if state in STATUS else INTERRUPTED, _last_moment(run)
                    break


def _last_moment(run: RunDir) -> float:
    file = run.events_file if run.events_file.exists() else run.study_file
    return file.stat().st_mtime
