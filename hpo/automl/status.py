"""`query_status`: reads the state of a search from files alone, from any process."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpo.automl.platform import read_active
from hpo.automl.recommendation import FAILURE, PENDING, RUNNING, STARTED, SUCCESS
from hpo.automl.workspace import AUTOML_DIR, WorkspaceFacts, read_facts
from hpo.core.errors import HpoError

_WORDS = {"complete": SUCCESS, "pruned": SUCCESS, "failed": FAILURE}
EMPTY: dict[str, Any] = {
    "progress": {"completed": 0, "total": None, "succeeded": 0, "failed": 0, "pending": 0},
    "best": None,
    "recommendations": [],
    "active_jobs": [],
}


def query_status(workspace_path: str | Path) -> dict[str, Any]:
    """Say how the search in a workspace stands; reads files, takes no lock, never raises.

    Args:
        workspace_path: the full path, `.../run_<timestamp>`.

    Returns:
        `progress` (completed, total, succeeded, failed, pending), `best` (rec_id, metric_value,
        specs) or None, `recommendations` (rec_id, status, metric_value, specs), `active_jobs`
        (rec_id, job_id), `status` (`running`, `finished`, ..., `missing`, `unreadable`) and, where
        something is wrong with the workspace, `message`.
    """
    folder = Path(workspace_path).expanduser()
    if not folder.is_dir():
        return _nothing("missing", f"{folder}: no such workspace")
    state, problem = _read_state(folder)
    if problem:
        return _nothing("unreadable", problem)
    if not state:
        word = "new" if (folder / AUTOML_DIR).is_dir() else "missing"
        return _nothing(word, f"{folder}: nothing has been tried in it yet")
    try:
        return _describe(folder, state)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return _nothing("unreadable", f"{folder}: its state is not whole: {error!r}")


def _describe(folder: Path, state: Mapping[str, Any]) -> dict[str, Any]:
    rows = [row for row in state["trials"] if row["purpose"] == "search"]
    status = _live_status(folder, str(state.get("status", "")))
    active = _active(folder, rows, is_running=status == "running")
    at_work = {job["rec_id"] for job in active}
    recommendations = [_shown(row, at_work) for row in rows]
    words = [rec["status"] for rec in recommendations]
    completed = words.count(SUCCESS) + words.count(FAILURE)
    total = _total(folder)
    best = state.get("best")
    return {
        "status": status,
        "progress": {
            "completed": completed,
            "total": total,
            "succeeded": words.count(SUCCESS),
            "failed": words.count(FAILURE),
            "pending": max(0, (total or len(rows)) - completed),
        },
        "best": None
        if not best
        else {
            "rec_id": best["trial"],
            "metric_value": best["value"],
            "specs": best["params"],
        },
        "recommendations": recommendations,
        "active_jobs": active,
    }


def _shown(row: Mapping[str, Any], at_work: set[int]) -> dict[str, Any]:
    word = _WORDS.get(row["state"])
    if word is None:
        is_at_work = row["trial"] in at_work
        word = PENDING if not is_at_work else RUNNING if row["epoch"] else STARTED
    return {
        "rec_id": row["trial"],
        "status": word,
        "metric_value": row["value"],
        "specs": row["params"],
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


def _live_status(folder: Path, status: str) -> str:
    """What the file says, unless it says `running` and nobody runs it; the lock is not touched."""
    if status != "running":
        return status or "new"
    try:
        pid = int(json.loads((folder / "state.json").read_text(encoding="utf-8"))["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return status
    return "running" if Path(f"/proc/{pid}").exists() else "stopped"


def _total(folder: Path) -> int | None:
    facts = _facts(folder)
    return None if facts is None else facts.total


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
    return {**copy.deepcopy(EMPTY), "status": status, "message": message}
