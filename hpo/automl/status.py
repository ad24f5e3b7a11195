"""`query_status`: reads the state of a search from files alone, from any process."""

from __future__ import annotations

import copy
import json
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpo.automl.active_jobs import read_active
from hpo.automl.recommendation import FAILURE, PENDING, RUNNING, STARTED, SUCCESS, WORDS
from hpo.automl.workspace import AUTOML_DIR, WorkspaceFacts, demand_own, read_facts
from hpo.core.errors import HpoError
from hpo.core.process.groups import boot_id, started_at
from hpo.run.run_dir import RunDir

_BELIEVED_S = 24 * 3600.0
"""How long a file of another machine is believed, whoever is seen to hold the lock."""

EMPTY: dict[str, Any] = {
    "experiment_id": "",
    "progress": {
        "completed": 0,
        "total": None,
        "succeeded": 0,
        "failed": 0,
        "pending": 0,
        "best_metric": None,
        "best_rec_id": None,
        "algorithm": "",
    },
    "best": {},
    "recommendations": [],
    "active_jobs": [],
}


def query_status(workspace_path: str | Path) -> dict[str, Any]:
    """Say how the search in a workspace stands; reads files alone, never raises.

    Args:
        workspace_path: the full path, `.../run_<timestamp>`.

    Returns:
        `experiment_id`, `progress` (completed, total, succeeded, failed, pending, best_metric,
        best_rec_id, algorithm), `best` (rec_id, specs, status, metric_value, objective_score,
        objective_values; empty where there is none; one that still runs is named where it is ahead
        of all that have ended), `recommendations` (rec_id, specs, job_id,
        status, metric_value, objective_score, objective_values, created_on, last_modified),
        `active_jobs` (rec_id, job_id), `status` (`running`, `finished`, ..., `missing`,
        `unreadable`) and, where something is wrong with the workspace, `message` and `error`.
    """
    try:
        return _read(Path(workspace_path).expanduser())
    except HpoError as error:
        return _nothing("unreadable", str(error))
    except (LookupError, TypeError, ValueError, AttributeError, OSError, RuntimeError) as error:
        return _nothing("unreadable", f"{workspace_path}: cannot be read: {error!r}")


def _read(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        return _nothing("missing", f"{folder}: no such workspace")
    state, problem = _read_state(folder)
    if problem:
        return _nothing("unreadable", problem)
    if not state:
        demand_own(folder)
        word = "new" if (folder / AUTOML_DIR).is_dir() else "missing"
        return _nothing(word, f"{folder}: nothing has been tried in it yet")
    return _describe(folder, state)


def _describe(folder: Path, state: Mapping[str, Any]) -> dict[str, Any]:
    rows = [row for row in state["trials"] if row["purpose"] == "search"]
    status, facts = _live_status(folder, state), _facts(folder)
    active = _active(folder, rows, is_running=status == "running")
    at_work = {job["rec_id"] for job in active}
    views = _views(folder, facts)
    recommendations = [_shown(row, at_work, views.get(row["trial"], {})) for row in rows]
    words = [rec["status"] for rec in recommendations]
    completed = words.count(SUCCESS) + words.count(FAILURE)
    total = None if facts is None else facts.total
    best = state.get("best") or {}
    winner = next((r for r in recommendations if best and r["rec_id"] == best["trial"]), None)
    return {
        "status": status,
        "experiment_id": "" if facts is None else facts.experiment_id,
        "progress": {
            "completed": completed,
            "total": total,
            "succeeded": words.count(SUCCESS),
            "failed": words.count(FAILURE),
            "pending": max(0, (total or len(rows)) - completed),
            "best_metric": winner["metric_value"] if winner else None,
            "best_rec_id": winner["rec_id"] if winner else None,
            "algorithm": "" if facts is None else facts.algorithm,
        },
        "best": {} if winner is None else {name: winner[name] for name in _OF_BEST},
        "recommendations": recommendations,
        "active_jobs": active,
    }


_OF_BEST = ("rec_id", "specs", "status", "metric_value", "objective_score", "objective_values")


def _views(folder: Path, facts: WorkspaceFacts | None) -> dict[int, dict[str, Any]]:
    """What was written of each recommendation, by its number; it may be a moment old."""
    name = "" if facts is None else f"{facts.session_id or folder.resolve().name}.json"
    try:
        text = (folder / AUTOML_DIR / "controller" / name).read_text(encoding="utf-8")
        return {int(row["id"]): row for row in json.loads(text)}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def _shown(row: Mapping[str, Any], at_work: set[int], view: Mapping[str, Any]) -> dict[str, Any]:
    word = WORDS.get(row["state"])
    if word is None:
        is_at_work = row["trial"] in at_work
        word = PENDING if not is_at_work else RUNNING if row["epoch"] else STARTED
    value, values = row["value"], view.get("objective_values") or {}
    is_several = len(values) > 1
    return {
        "rec_id": row["trial"],
        "specs": row["params"],
        "job_id": view.get("job_id"),
        "status": word,
        "metric_value": view.get("metric_value") if is_several else value,
        "objective_score": value,
        "objective_values": values,
        "created_on": view.get("created_on"),
        "last_modified": view.get("last_modified"),
    }


def _active(folder: Path, rows: list[dict[str, Any]], *, is_running: bool) -> list[dict[str, Any]]:
    """Jobs of a platform by their file; trials on this machine while their driver lives."""
    jobs = [
        {"rec_id": job["rec_id"], "job_id": job.get("job_id") or ""}
        for job in read_active(folder)
        if "rec_id" in job
    ]
    if jobs or not is_running:
        return jobs
    return [
        {"rec_id": row["trial"], "job_id": str(folder.resolve() / "trials" / f"{row['trial']:04d}")}
        for row in rows
        if row["state"] == "running"
    ]


def _live_status(folder: Path, state: Mapping[str, Any]) -> str:
    """What the file says, unless it says `running` and nobody runs it.

    Processes of another container or machine cannot be seen, but their lock can; a container may
    have the name of its machine. Not every file system shows a lock to other machines, so for a day
    the file is believed there.
    """
    status, pid = str(state.get("status") or "new"), state.get("pid")
    if status != "running" or not isinstance(pid, int):
        return status
    here, now = socket.gethostname(), started_at(pid)
    is_here = state.get("host", here) == here
    if is_here and now and now == state.get("pid_started", now):
        return status
    if not is_here:
        is_near = bool(boot_id()) and state.get("boot") == boot_id()
        if not is_near and time.time() - state.get("updated", 0.0) < _BELIEVED_S:
            return status
    try:
        return status if RunDir(folder).is_running() else "stopped"
    except OSError:  # a file system without locks, or another user's file
        return "stopped" if is_here else status


def _facts(folder: Path) -> WorkspaceFacts | None:
    try:
        return read_facts(folder)
    except HpoError:
        return None


def _read_state(folder: Path) -> tuple[dict[str, Any], str]:
    """The run's state and what is wrong with it."""
    file = folder / "state.json"
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, ""
    except (OSError, ValueError) as error:
        return {}, f"{file}: cannot be read: {error}"
    if not isinstance(data, dict):
        return {}, f"{file}: holds no state"
    return data, ""


def _nothing(status: str, message: str) -> dict[str, Any]:
    return {**copy.deepcopy(EMPTY), "status": status, "message": message, "error": message}
