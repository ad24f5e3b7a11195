"""Keeps a list of finished searches in the user's cache folder, so that later ones find them.

A line a run, its absolute path. Runs that are gone stay in the list and are passed over.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from hpo.core.switches import is_switched_off
from hpo.run.run_dir import AUTOML_FACTS, RunDir, is_run, list_runs

INDEX_FILE = "runs.txt"
SWITCH = "HPO_MEMORY"
"""`off` (or 0, no, false) in the environment keeps searches from using, and being put on, the
list."""
_MOST = 1000
"""Lines that are read, the newest ones."""
MOST_RUNS = 100
"""Runs that are looked at, the newest ones: each costs about a tenth of a second."""


def is_on() -> bool:
    """Whether the environment lets searches learn from earlier ones."""
    return not is_switched_off(SWITCH)


def note_run(cache: Path, run: RunDir) -> None:
    """Add a run to the list, unless the AutoML route made it or the list cannot be written."""
    if not is_on() or (run.path / AUTOML_FACTS).exists() or run.place in _noted(cache):
        return
    with contextlib.suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / INDEX_FILE).open("a", encoding="utf-8", errors="surrogateescape") as stream:
            stream.write(f"{run.place}\n")


def known_runs(cache: Path, out: Path) -> list[RunDir]:
    """The newest runs below `out`, and of those on the list that can be reached; newest first."""
    found: dict[Path, RunDir] = {}
    with contextlib.suppress(OSError):  # one may go away meanwhile
        found = {run.path: run for run in list_runs(out)}
    for path in _noted(cache):
        # Another user's, on a disk that is gone, or no path at all: as one that moved.
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            if is_run(path):
                run = RunDir(path)
                found.setdefault(run.path, run)
    newest = sorted(found.values(), key=lambda run: (run.began, str(run)), reverse=True)
    return newest[:MOST_RUNS]


def _noted(cache: Path) -> list[Path]:
    try:
        text = (cache / INDEX_FILE).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return []
    return [Path(line) for line in text.split("\n")[-_MOST:] if line.startswith("/")]
