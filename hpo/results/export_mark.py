"""Keeps beside an export what it was made of: a trial as it was then, and the gallery at first."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from hpo.core.trial import TrialRecord
from hpo.run.handed_on import CHANGES_FOLDER, GALLERY_FILE
from hpo.run.plain_files import read_object, write_json

MARK_FILE = ".made.json"


def write_mark(folder: Path, trial: TrialRecord, direction: str) -> None:
    """Say of a new export what it was made of."""
    mark = {**_facts(trial, direction), "gallery": _digest(folder / GALLERY_FILE)}
    write_json(folder / MARK_FILE, mark)


def is_made_of(folder: Path, trial: TrialRecord, direction: str) -> bool:
    """Whether an export is of a trial as it is now; of earlier releases that is not known."""
    kept = read_object(folder / MARK_FILE)
    return all(kept.get(name) == value for name, value in _facts(trial, direction).items())


def is_gallery_changed(folder: Path) -> bool:
    """Whether a gallery is another one than its export made, or has changes that can be undone."""
    if any((folder / CHANGES_FOLDER).glob("*")):
        return True
    made = read_object(folder / MARK_FILE).get("gallery")
    return made is not None and _digest(folder / GALLERY_FILE) not in {made, None}


def _facts(trial: TrialRecord, direction: str) -> dict[str, Any]:
    """What differs once a trial was trained on, or its number was given to another one."""
    best = trial.best_measurement(direction)
    return {"started": trial.started, "epoch": best and best.epoch}


def _digest(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
