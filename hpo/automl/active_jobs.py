"""`active_jobs.json` and `artifact_jobs.json`: which jobs are under way, which have left files.

A job stands in the first before and after its submission, so that a resumed search polls what is
under way and submits none of it again.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpo.automl.artifacts import FolderValues
from hpo.core.errors import RunError
from hpo.run.plain_files import read_object, write_json

ACTIVE_FILE, ARTIFACT_FILE = "active_jobs.json", "artifact_jobs.json"
DELETED = "deleted"
_SAVED = ("rec_id", "job_id", "results_dir", "until_epoch", "retry", "unanswered", "updated_at")


@dataclass(slots=True, kw_only=True)
class ActiveJob:
    """One trial that is a job of the platform."""

    rec_id: int
    job_id: str = ""
    """Empty while the submission is under way."""
    results_dir: str = ""
    until_epoch: int = 0
    retry: int | None = None
    """Which start of the trial it is; None in files of versions that did not keep it."""
    unanswered: str = ""
    """Why nothing is known of its submission: `job_id` is then what was asked for."""
    updated_at: float = 0.0
    """Unix time of the last change."""
    errors: int = 0
    """Polls in a row that have failed."""
    values: dict[str, float] = field(default_factory=dict)
    """The newest value of each objective."""
    files: FolderValues | None = None
    """What reads them from the files of its results, once there are some on this disk."""

    @property
    def is_local(self) -> bool:
        """Whether its results are said to be on this disk."""
        return bool(self.results_dir) and "://" not in self.results_dir


class ActiveJobs:
    """`active_jobs.json`, kept up to date at every change."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ACTIVE_FILE
        self.jobs: dict[int, ActiveJob] = {}

    def load(self) -> None:
        """Read what an earlier start of the search left.

        Raises:
            RunError: when the file is there and cannot be read: a job might be submitted twice.
        """
        if not self._path.exists():
            return
        try:
            rows = _rows_in(self._path)
            jobs = [ActiveJob(**{k: row[k] for k in _SAVED if k in row}) for row in rows]
        except (OSError, ValueError, TypeError) as error:
            raise RunError(
                f"{self._path}: must be the list of jobs under way, and cannot be read: {error}; "
                "restore it, or remove it if none runs"
            ) from error
        self.jobs = {job.rec_id: job for job in jobs}

    def put(self, job: ActiveJob) -> None:
        """Add or change a job."""
        job.updated_at = time.time()
        self.jobs[job.rec_id] = job
        self.save()

    def drop(self, rec_id: int) -> None:
        """Forget a job that has ended."""
        self.jobs.pop(rec_id, None)
        self.save()

    def save(self) -> None:
        """Replace the file in one step."""
        rows = [{name: getattr(job, name) for name in _SAVED} for job in self.jobs.values()]
        write_json(self._path, rows)


class ArtifactJobs:
    """`artifact_jobs.json`: job id -> how it ended, or `deleted` once its files are gone."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ARTIFACT_FILE
        self.states = {job: str(state) for job, state in read_object(self._path).items()}

    def put(self, job_id: str, state: str) -> None:
        """Set the state of a job."""
        self.states[job_id] = state
        write_json(self._path, self.states)


def read_active(folder: Path) -> list[dict[str, Any]]:
    """The jobs that are under way, by file alone; empty where there is none or half a file."""
    try:
        return _rows_in(folder / ACTIVE_FILE)
    except (OSError, ValueError, TypeError):
        return []


def _rows_in(file: Path) -> list[dict[str, Any]]:
    rows = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise TypeError(f"got {type(rows).__name__}")
    return rows
