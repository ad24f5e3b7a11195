"""Keeps beside an export what it was made of: a trial as it was then, and the gallery at first."""

from __future__ import annotations

import hashlib
import itertools
import logging
import shutil
from pathlib import Path
from typing import Any

from hpo.core.trial import TrialRecord
from hpo.run.handed_on import CHANGES_FOLDER, GALLERY_FILE, REPORT_FILE
from hpo.run.plain_files import read_object, write_json

MARK_FILE = ".made.json"
MODEL_FILE = "model.onnx"

logger = logging.getLogger(__name__)


def write_mark(folder: Path, trial: TrialRecord, direction: str) -> None:
    """Say of a new export what it was made of."""
    mark = {
        **_facts(trial, direction),
        "gallery": _digest(folder / GALLERY_FILE),
        "files": sorted(path.name for path in folder.iterdir()),
    }
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


def keep_what_was_added(before: Path, draft: Path, *, is_anew: bool) -> Path | None:
    """Save from an export's successor the changes of its gallery, and what else was put into it.

    Beside another model nothing of it holds: the whole export is set aside.

    Args:
        before: the export.
        draft: its successor.
        is_anew: whether the gallery begins anew with the same model, too.

    Returns:
        Where a gallery that was changed will lie.
    """
    is_changed, others = is_gallery_changed(before), _others_in(before)
    if not (is_changed or others):
        return None
    is_same = _digest(before / MODEL_FILE) == _digest(draft / MODEL_FILE)
    if not is_same or (is_anew and is_changed):
        numbers = itertools.count(1)
        aside = before.rename(
            next(p for n in numbers if not (p := before.with_name(f"{before.name}-{n}")).exists())
        )
        if others:
            names = ", ".join(path.name for path in others)
            logger.warning("%s: keeps %s, which belong to the model before", aside, names)
        return aside if is_changed else None
    if is_changed:
        others += [before / GALLERY_FILE, before / CHANGES_FOLDER]
    for path in others:
        if path.is_dir():
            shutil.copytree(path, draft / path.name, symlinks=True)
        elif path.exists():
            shutil.copy2(path, draft)
    return before if is_changed else None


def _others_in(folder: Path) -> list[Path]:
    """What was put into an export since: further forms, an engine, notes of its user."""
    made = read_object(folder / MARK_FILE).get("files")
    if made is None:  # an export of an earlier release, or none
        return []
    own = {*made, REPORT_FILE, CHANGES_FOLDER, GALLERY_FILE}
    return sorted(p for p in folder.iterdir() if p.name not in own and p.name[0] != ".")


def _facts(trial: TrialRecord, direction: str) -> dict[str, Any]:
    """What differs once a trial was trained on, or its number was given to another one."""
    best = trial.best_measurement(direction)
    return {"started": trial.started, "epoch": best and best.epoch}


def _digest(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
