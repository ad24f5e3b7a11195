"""Names files of the cache folder by what they were made from, as their user knows them.

What is trained on may lie in the cache folder: unpacked archives, links that split one folder, the
embedded data set. Each such folder holds a record of what it was made from, by which every message
and every result names the picture of the user.
"""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any

from trainer.data.names import name_text

STAGED, SPLIT, DEMO = "staging.json", "split.json", "demo.json"
"""Records of an unpacked source, of a split by links, and of the embedded data set."""

_COUNTS = {STAGED: ("files", int), SPLIT: ("images", dict), DEMO: ("classes", int)}
"""What a record holds beside its source."""
_FOLDERS = 1 << 16
"""That are kept in mind; each takes some 300 bytes."""


def origin(path: str | Path) -> str:
    """Return the path by which the user knows a file or folder, as text for one line.

    Of an archive's member that is `<archive>/<path inside>`, of a link of a split the file that it
    leads to, of a drawn picture its place in the embedded data set; of all others the path itself.
    """
    return _origin(Path(path), frozenset())


def _origin(path: Path, passed: frozenset[str]) -> str:
    # Folders alone are kept in mind: files are many more.
    is_folder = os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises for a name that is too long
    folder, name, made_from = _nearest_record(str(path if is_folder else path.parent))
    inside = path.relative_to(folder)
    if folder in passed:  # records of others, which lead to each other
        return name_text(str(path))
    if name == STAGED:
        return name_text("/".join([made_from, *inside.parts[1:]]))
    if name == SPLIT:
        return _origin(Path(made_from, *inside.parts[1:]), passed | {folder})
    if name == DEMO:
        return name_text(f"embedded data set (seed {made_from})/{inside.as_posix()}")
    return name_text(str(path))


@functools.lru_cache(maxsize=_FOLDERS)
def _nearest_record(folder: str) -> tuple[str, str, str]:
    """Return the folder that holds a record, this one or one above, and `read_record` of it."""
    name, made_from = read_record(folder)
    above = str(Path(folder).parent)
    return (folder, name, made_from) if name or above == folder else _nearest_record(above)


def read_record(folder: str) -> tuple[str, str]:
    """Return which record a folder holds and what it was made from; empty texts without one."""
    for name, (count, kind) in _COUNTS.items():
        found = _read(Path(folder, name))
        if isinstance(found, dict) and isinstance(found.get(count), kind):
            made_from = found.get("seed" if name == DEMO else "source")
            if isinstance(made_from, int) if name == DEMO else _is_place(made_from):
                return name, str(made_from)
    return "", ""


def _is_place(source: Any) -> bool:
    """Whether a record of ours may hold it: a whole path or an address."""
    return isinstance(source, str) and ("://" in source or Path(source).is_absolute())


def _read(path: Path) -> Any:
    """Read a file that may be another's of the same name."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
