"""Finds the pictures that somebody names to have them labelled.

Files, folders, archives, patterns (`shelf/**/*.jpg`), and lists (`@more.txt`, a path a line, or
`@more.csv` and `@more.parquet`, with a column `path` or `image`); paths in a list are relative to
it.
"""

from __future__ import annotations

import glob
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from trainer.data.lists import is_list, read_table, read_text
from trainer.data.names import name_text
from trainer.data.notes import name_list, skipped_notes
from trainer.data.origin import origin
from trainer.data.staging import is_remote, local_path, stage
from trainer.data.tree import walk
from trainer.errors import DataError, TrainerError

_LIST_MARK = "@"
_COLUMNS = ("path", "image")
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
            name = name_text(source)
            errors.append({"image": name, "error": str(error).removeprefix(f"{name}: ")})
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
    path = local_path(source)
    try:
        is_there = path.exists()
    except OSError as error:
        raise DataError(f"{name_text(source)}: cannot be read ({error.strerror})") from error
    if source.startswith(_LIST_MARK) and not is_there:
        return _listed(local_path(source.removeprefix(_LIST_MARK))), []
    if not is_there and not is_remote(source) and any(sign in source for sign in "*?["):
        if any("**" in part and part != "**" for part in path.parts):
            raise DataError(
                f"{name_text(source)}: ** must stand alone between slashes, as in shelf/**/*.jpg"
            )
        found = _matching(str(path / "*" if path.name == "**" else path), Path())
        return sorted({file for file in found if file.is_file()}), []
    if path.is_file() and not path.name.lower().endswith(_ARCHIVES):
        return [path], []
    if not is_there and not is_remote(source):
        raise DataError(f"{name_text(source)}: no such picture or folder")
    folder = stage(source)
    walked = walk(folder)
    files = sorted(folder / name for name in (*walked.pictures, *walked.broken))
    return files, [note.text for note in skipped_notes([(folder, walked)], len(files))]


def _matching(pattern: str, base: Path) -> Iterator[Path]:
    """Paths that fit; `**` stands for the folders that a walk goes through, and none is hidden."""
    head, stars, tail = pattern.partition("**/")
    names = glob.glob(head, root_dir=base) if head else [""]  # noqa: PTH207 - leaves hidden out
    for path in (base / name for name in names):
        if not stars:
            yield path
        elif path.is_dir():
            for inside in walk(path).folders:
                yield from _matching(tail, path / inside)


def _listed(path: Path) -> list[Path]:
    """Return the files that a list names; whether they are there shows when they are read."""
    if is_list(path.name):
        _, columns = read_table(path, is_lenient=True)
        names = next((columns[name] for name in _COLUMNS if name in columns), None)
        if names is None:
            found = name_list(list(columns)) or "nothing"
            raise DataError(f"{origin(path)}: must have a column path or image, got {found}")
    else:
        names = [line.strip() for line in io.StringIO(read_text(path), newline=None)]
    return [path.parent / name for name in names if name]
