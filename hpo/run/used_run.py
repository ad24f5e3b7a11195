"""Which run's model is used where none is named: the one that was pinned, else the newest finished.

A run is finished here once its best model is exported.
"""

from __future__ import annotations

from pathlib import Path

from hpo.core.durable_files import write_atomically
from hpo.core.errors import RunError
from hpo.run.folder_of_runs import command_below
from hpo.run.run_dir import RunDir, find_run, is_run, list_runs

_PIN_FILE = ".used"
MODEL = "model.onnx"


def pin_run(run: RunDir, out: Path) -> None:
    """Have a run below `out` used from now on where none is named.

    Raises:
        RunError: when the run lies elsewhere.
    """
    for place, folder in ((run.place, out.absolute()), (run.path, out.resolve())):
        if place.is_relative_to(folder):
            write_atomically(out / _PIN_FILE, f"{place.relative_to(folder)}\n")
            return
    raise RunError(f"{run}: must lie below {out}, the folder of runs; give its own by --out")


def unpin_run(out: Path) -> None:
    """Have the newest finished run used again."""
    (out / _PIN_FILE).unlink(missing_ok=True)


def pinned_run(out: Path) -> RunDir | None:
    """Return the run that was pinned.

    Raises:
        RunError: when it is gone.
    """
    file = out / _PIN_FILE
    if not file.is_file():
        return None
    run = RunDir(out / file.read_text(encoding="utf-8").strip())
    if not is_run(run.path):
        raise RunError(
            f"{run}: is the run that `hpo use` pinned, and is gone; pin another, or "
            f"`{command_below(out, 'use', '--none')}`"
        )
    return run


def find_model_run(name: str | None, out: Path) -> RunDir:
    """Find the run whose model is to be used, by the words that `find_run` takes.

    Of several runs that fit, the newest finished one, or the newest where none is finished.

    Raises:
        RunError: when nothing fits.
    """
    if name is None and (pinned := pinned_run(out)):
        return pinned
    found = find_run(name, out)
    if name is not None and (found.path == Path(name).resolve() or found.place.name == name):
        return found
    runs = [r for r in list_runs(found.place.parent.parent if name else out) if is_finished(r)]
    if name is not None:
        runs = [run for run in runs if run.study_name == found.study_name]
    return runs[-1] if runs else found


def is_finished(run: RunDir) -> bool:
    """Whether a run has an exported model."""
    return (run.best_dir / MODEL).is_file()
