"""Gives a copy of a run an identity of its own.

MLflow's runs, jobs of a platform and the ledger on a driver's disk are found by `study_uuid`, which
`cp -r` copies with the plan. A run that was moved keeps it.
"""

from __future__ import annotations

import contextlib
import uuid
from dataclasses import replace
from pathlib import Path

from hpo.core.event_json import from_json
from hpo.core.events import Started
from hpo.run.plain_files import read_object
from hpo.run.run_dir import PLAN_FILE, RunDir
from hpo.study.plan import StudyPlan

_BEGINNING = f'{{"event": "{Started.name}"'.encode()
"""Of a line that tells of a start."""


def with_own_uuid(run: RunDir, plan: StudyPlan) -> StudyPlan:
    """Return a run's plan, under a new `study_uuid` where the run is a copy of another.

    It is one where it was last started at another place, and a run of the same uuid still lies
    there. The caller holds the lock.
    """
    place = _last_place(run)
    if place is None or not _is_another(place, run.path):
        return plan
    if read_object(place / PLAN_FILE).get("study_uuid") != plan.study_uuid:
        return plan
    plan = replace(plan, study_uuid=str(uuid.uuid4()))
    plan.write(run.path)
    return plan


def _last_place(run: RunDir) -> Path | None:
    """Where the run lay when a search last went on in it, by its own events."""
    last = b""
    with contextlib.suppress(OSError), run.events_file.open("rb") as lines:
        for line in lines:
            last = line if line.startswith(_BEGINNING) else last
    event = from_json(last)
    return Path(event.run_dir) if isinstance(event, Started) else None


def _is_another(place: Path, folder: Path) -> bool:
    """Whether something is at a place, and no other name of a folder."""
    with contextlib.suppress(OSError):
        return not place.samefile(folder)
    return False
