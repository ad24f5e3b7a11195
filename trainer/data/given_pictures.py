"""Finds the pictures that somebody names to have them labelled: files, folders, archives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer.data.names import name_text
from trainer.data.notes import skipped_notes
from trainer.data.staging import stage
from trainer.data.tree import walk
from trainer.errors import DataError, TrainerError

_ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz")


def find_pictures(sources: Sequence[str]) -> dict[str, Any]:
    """List the pictures of some sources; a file is one whatever its ending, a folder is walked.

    Returns:
        `pictures`: files in the order given, those of a folder sorted, each once. `errors`:
        `image` (the source) and `error` of each source that holds none. `notes`: lines about what
        was skipped.
    """
    found: dict[Path, Path] = {}
    errors: list[dict[str, str]] = []
    notes: list[str] = []
    twice = 0
    for source in sources:
        try:
            files, skipped = _pictures_of(source)
        except TrainerError as error:
            errors.append({"image": name_text(source), "error": _without_name(error, source)})
            continue
        notes += [f"{name_text(source)}: {note}" for note in skipped]
        if not files:
            errors.append({"image": name_text(source), "error": "holds no picture"})
        for file in files:
            twice += file.absolute() in found
            found.setdefault(file.absolute(), file)
    if twice:
        notes.append(f"{twice} named more than once and labelled once")
    return {"pictures": list(found.values()), "errors": errors, "notes": notes}


def _pictures_of(source: str) -> tuple[list[Path], list[str]]:
    """Return the pictures of one source, and what was skipped in it."""
    path = Path(source).expanduser()
    if path.is_file() and not path.name.lower().endswith(_ARCHIVES):
        return [path], []
    if not path.exists() and "://" not in source:
        raise DataError(f"{name_text(source)}: no such picture or folder")
    folder = stage(source)
    walked = walk(folder)
    files = sorted(folder / name for name in (*walked.pictures, *walked.broken))
    return files, [note.text for note in skipped_notes([(folder, walked)], len(files))]


def _without_name(error: TrainerError, source: str) -> str:
    return str(error).removeprefix(f"{name_text(source)}: ")
