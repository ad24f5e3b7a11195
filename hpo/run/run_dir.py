"""The run directory: one movable folder that holds everything of a search.

```
<out>/<study>/<timestamp>/
  study.yaml  ledger.db  state.json  events.ndjson
  trials/0007/{spec.yaml, status.jsonl, log.txt, ckpt/}
  best/  evaluations/  unknowns/
```
"""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import json
import os
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any
from unicodedata import normalize

from hpo.core.durable_files import write_atomically
from hpo.core.errors import NoRunError, RunError, SpecError
from hpo.core.spec_dicts import merged
from hpo.core.text import nearest, quoted, shell_word
from hpo.core.yaml_io import parse_texts, read_text, to_yaml
from hpo.run.folder_of_runs import command_below
from hpo.run.lock_file import hold, is_locked
from hpo.run.run_state import checked_state

STUDY_FILE = "study.yaml"
LEDGER_FILE = "ledger.db"
PLAN_FILE = "plan.json"
STORE_FILE = "mlflow.db"
"""MLflow's store, see `RunDir.store_dir`."""
SPEC_FILE = "spec.yaml"
"""Stands in every trial's folder: what it was started with."""
_LOCK_FILE = ".lock"
AUTOML_FACTS = Path(".automl") / "controller" / "facts.json"
"""Where a search that came by the AutoML route keeps its constants."""
AUTOML_JOBS = AUTOML_FACTS.with_name("jobs.json")
"""Where it keeps which job of a platform each trial was: number -> job id and results folder."""
ROUTE_PREFIX = "run_"
"""Stands before the timestamp where the AutoML route made the run."""
_STAMP = re.compile(r"(\d{8}-\d{6})(?:-(\d+)\b)?")
STAMP_FORM = "%Y%m%d-%H%M%S"
"""Of the time in the name of a run."""
_LONGEST_EVENT = 100_000


def lost_facts(folder: Path) -> str:
    """What is said of a workspace whose constants cannot be read."""
    file = folder / AUTOML_FACTS
    return f"{file}: must be the facts of a workspace, and is damaged or missing; restore it"


class Holder(StrEnum):
    """Who holds a run; the word stands in its lock file."""

    SEARCH = "search"
    CALLER = "caller"
    CALIBRATION = "calibration"
    EXPORT = "export"
    GALLERY = "gallery"
    """Holds it together with others of its kind, and leaves no word."""


_REFUSALS = {
    Holder.SEARCH: "another search is running in it; wait for it, or end it by `{stop}`",
    Holder.CALLER: "a program searches in it by AutoML(...); end that program, or have it finish",
    Holder.CALIBRATION: (
        "its unknown pictures are being calibrated; wait for that, or end it by Ctrl-C: the same "
        "command goes on from its finished trainings"
    ),
    Holder.EXPORT: "its best trial is being exported; wait for that",
    Holder.GALLERY: "its gallery is being changed; wait for that",
}
_BY_THIS_PROGRAM = (
    "an AutoML(...) of this program searches in it; call its finish(), or start the program (in a "
    "notebook: the kernel) anew where it is lost"
)
_held_here: set[Path] = set()
"""Runs that this process holds."""


def _as_found(path: Path) -> Path:
    """A path made absolute, its links kept where that is safe."""
    return path.resolve() if ".." in path.parts else path.absolute()


def _is_stamped(place: Path) -> bool:
    return _STAMP.match(place.name.removeprefix(ROUTE_PREFIX)) is not None


class RunDir:
    """Names inside a run directory; creating one does not touch the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.place = _as_found(path)
        """Where it was found: another path than its own where a link leads to it."""
        self.study_file = self.path / STUDY_FILE
        """The merged study definition."""
        self.ledger_file = self.path / LEDGER_FILE
        """The Optuna study."""
        self.state_file = self.path / "state.json"
        """What readers look at; replaced atomically."""
        self.events_file = self.path / "events.ndjson"
        """Every event of the run, one JSON object a line."""
        self.best_dir = self.path / "best"
        """The hand-off: spec, checkpoint, ONNX, gallery, report."""
        self.evaluations_dir = self.path / "evaluations"
        """Baseline and final evaluations."""
        self.stop_file = self.path / ".stop"
        """Its presence asks the driver to finish and save."""
        self._lock_file = self.path / _LOCK_FILE
        self._is_held = False

        self.start_words: tuple[str, ...] | None = None  # flags of a start by this process
        self.asked: tuple[tuple[str, str], ...] = ()
        """Flags of that start, with their values, that the run does not keep yet."""

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    def command(self, verb: str, *words: str) -> str:
        """A command on it, to be copied into a shell."""
        return " ".join(["hpo", verb, shell_word(self.place), *words])

    @property
    def home(self) -> Path:
        """Its place in a folder of runs: where it was found, or what a link there leads to.

        A link may stand for it in a folder of runs, with the store and by the study's name, or
        anywhere else (`latest`).
        """
        places = [self.place]
        while places[-1].is_symlink():
            places.append(_as_found(places[-1].parent / places[-1].readlink()))
        if len(places) == 1:
            return self.place
        name = None
        with contextlib.suppress(SpecError):
            study = parse_texts(read_text(self.study_file), STUDY_FILE)
            name = study.get("name") if isinstance(study, Mapping) else None

        def fit(place: Path) -> tuple[bool, bool, bool]:
            has_store = (self._store_of(place) / STORE_FILE).exists()
            return has_store, place.parent.name == name, _is_stamped(place)

        return max(places, key=fit)

    @property
    def study_name(self) -> str:
        """The folder above the timestamp."""
        return self.home.parent.name

    @property
    def label(self) -> str:
        """Study and timestamp, wherever it lies."""
        return f"{self.study_name}/{self.home.name}"

    @property
    def began(self) -> tuple[float, int, bool]:
        """When it began, to sort by: of one that was renamed, too; a copy comes before its run.

        Its name holds a local time, of a zone that need not be this one, and is asked last.
        """
        name = self.place.name.removeprefix(ROUTE_PREFIX)
        found = _STAMP.match(name)
        try:
            with self.events_file.open(encoding="utf-8") as stream:
                seconds = float(json.loads(stream.readline(_LONGEST_EVENT))["time"])
        except (OSError, ValueError, KeyError, TypeError):
            seconds = self._began_by(found[1] if found else "")
        if found is None:
            return seconds, 1, False
        return seconds, int(found[2] or 1), found[0] == name

    def _began_by(self, stamp: str) -> float:
        """When a run without events began: by its name, or by when its study was written."""
        with contextlib.suppress(ValueError):
            return dt.datetime.strptime(stamp, STAMP_FORM).astimezone().timestamp()
        return self.study_file.stat().st_mtime if self.study_file.exists() else 0.0

    @property
    def store_dir(self) -> Path:
        """Where MLflow's store of this run lies: the folder of all studies' runs.

        A workspace that was not named by the clock has a place of its own: its store is beside it.
        A run of a search that was renamed keeps the store that it had.
        """
        return self._store_of(self.home)

    def _store_of(self, place: Path) -> Path:
        above = place.parent.parent
        if (self.path / AUTOML_FACTS).exists():  # its user's own name for it may begin with a time
            is_above = _STAMP.fullmatch(place.name.removeprefix(ROUTE_PREFIX)) is not None
        else:
            is_above = _is_stamped(place) or (above / STORE_FILE).exists()
        return above if is_above else place.parent

    def trial_dir(self, number: int) -> Path:
        """The folder of one trial."""
        return self.path / "trials" / f"{number:04d}"

    def checkpoints_dir(self, number: int) -> Path:
        """Where the checkpoints of one trial lie."""
        return self.trial_dir(number) / "ckpt"

    def free_place_aside(self, name: str) -> Path:
        """A path for what is moved out of the way: `set-aside/NAME-1`, `-2`, ..."""
        (self.path / "set-aside").mkdir(exist_ok=True)
        taken = (self.path / "set-aside" / f"{name}-{count}" for count in itertools.count(1))
        return next(place for place in taken if not place.exists())

    def write_spec(self, number: int, spec: Mapping[str, Any]) -> Path:
        """Write a trial's spec into its folder, paths relative to the run; return the folder."""
        self.demand_here()
        folder = self.trial_dir(number)
        written = merged(spec, {"results_dir": str(folder.relative_to(self.path))})
        write_atomically(folder / SPEC_FILE, to_yaml(written))
        return folder

    def write_state(self, state: dict[str, Any]) -> None:
        """Replace `state.json` in one step."""
        if not self.is_gone():
            # Up to twice a second: without indentation, which takes many times as long.
            write_atomically(self.state_file, json.dumps(state) + "\n", is_durable=False)

    def read_state(self) -> dict[str, Any]:
        """The last written state; empty when there is none yet, or none that is whole."""
        try:
            return checked_state(json.loads(self.state_file.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {}

    def has_lost_state(self) -> bool:
        """Whether what a search wrote of itself is damaged, or gone since it began."""
        # The file of events is made before there are any.
        began = self.state_file.is_file() or (
            self.events_file.is_file() and self.events_file.stat().st_size > 0
        )
        return began and not self.read_state()

    def demand_here(self) -> None:
        """Refuse to write anything more once a run that is held does not lie at its path.

        What is written there from then on would be missing in the run, wherever that is now.

        Raises:
            RunError: when it was moved or removed since `lock`.
        """
        if self.is_gone():
            raise RunError(
                f"{self.path}: was moved or removed (or the file {_LOCK_FILE} in it) while its "
                "search went on; `hpo resume NEW-PLACE`, or with the new place the program that "
                "began it, goes on after the last finished epoch"
            )

    def is_gone(self) -> bool:
        """Whether a run that is held was moved or removed since `lock`."""
        return self._is_held and not self._lock_file.exists()

    @contextlib.contextmanager
    def lock(self, holder: Holder = Holder.SEARCH) -> Iterator[None]:
        """Hold the run for one holder, or for changes of its gallery, which wait for each other.

        Raises:
            RunError: when another holds it, saying who.
        """
        is_shared = holder is Holder.GALLERY
        with hold(self._lock_file, self.held_by, is_shared=is_shared) as file:
            os.ftruncate(file, 0)  # whoever was killed has left a word
            if not is_shared:
                os.write(file, holder.encode())
            self._is_held = True
            _held_here.add(self.path)
            try:
                yield
            finally:
                self._is_held = False
                _held_here.discard(self.path)

    def held_by(self) -> str:
        """Say who holds the run."""
        holder = self.holder() or Holder.GALLERY
        refusal = _REFUSALS[holder]
        if holder is Holder.CALLER and self.is_held_here():
            refusal = _BY_THIS_PROGRAM
        return f"{self.path}: {refusal.format(stop=self.command('stop'))}"

    def is_held_here(self) -> bool:
        """Whether this process holds the run."""
        return self.path in _held_here

    def holder(self) -> Holder | None:
        """Who holds the run for itself at this moment."""
        if not is_locked(self._lock_file):
            return None
        word = self._lock_file.read_text(encoding="utf-8")
        # Earlier releases left no word.
        return next((holder for holder in Holder if holder == word), Holder.SEARCH)

    def is_running(self) -> bool:
        """Whether a search goes on in the run at this moment."""
        return self.holder() in {Holder.SEARCH, Holder.CALLER}


def is_run(folder: Path) -> bool:
    """Whether a folder is a run: a study file alone is what `hpo init` writes."""
    if not (folder / STUDY_FILE).is_file():
        return False
    return (folder / LEDGER_FILE).is_file() or _is_plan(folder / PLAN_FILE)


def _is_plan(file: Path) -> bool:
    """Whether a search wrote it, whole or in part: other programs call their files so, too."""
    with contextlib.suppress(OSError):
        return file.is_file() and b'"study_uuid"' in file.read_bytes()
    return False


def list_runs(out: Path) -> list[RunDir]:
    """All run directories below `out`, the newest last."""
    return _runs_at(out, "[!.]*/[!.]*")  # a draft, which has a dot, may go away in that moment


def _runs_at(folder: Path, places: str) -> list[RunDir]:
    """The runs at some places below a folder, the newest last."""
    files = folder.glob(f"{places}/{STUDY_FILE}") if folder.is_dir() else ()
    found = [RunDir(file.parent) for file in files if is_run(file.parent)]
    return sorted(found, key=lambda run: (run.began, run.path.stat().st_ctime))


def find_run(name: str | None, out: Path) -> RunDir:
    """Find a run by path, or by study name or timestamp below `out`; None means the newest.

    The path of a study's folder means its newest run.

    Raises:
        RunError: when nothing fits (`NoRunError`), or several studies do.
    """
    if name == "":
        raise RunError("RUN: must be a run directory or a name, got nothing; `hpo ls` lists runs")
    if name and is_run(Path(name)):
        return RunDir(Path(name))
    if name and (inside := _runs_at(Path(name), "[!.]*")):
        return inside[-1]
    if out.exists() and not out.is_dir():
        raise RunError(f"{out}: must be a folder of runs, and is a file; choose another --out")
    runs = list_runs(out)
    if name is not None:
        wanted = normalize("NFC", name)  # a Mac spells an accent as a sign of its own
        runs = [r for r in runs if wanted in {normalize("NFC", r.study_name), r.place.name}]
    if name is not None and not runs and Path(name).exists():
        raise NoRunError(
            f"{name}: must be a run directory, with {STUDY_FILE}, {PLAN_FILE} and {LEDGER_FILE} in "
            f"it; `{command_below(out, 'ls')}` lists runs"
        )
    if not runs:
        what = "no runs" if name is None else f"no run {quoted(name)}"
        known = [] if name is None else {n for r in list_runs(out) for n in (r.study_name,)}
        raise NoRunError(
            f"{what} below {out}/{nearest(name or '', sorted(known))}; "
            f"`{command_below(out, 'ls')}` lists runs, `{command_below(out, 'search')}` makes one"
        )
    studies = sorted({r.study_name for r in runs})
    if name is not None and name not in studies and len(studies) > 1:
        raise RunError(
            f"{quoted(name)}: must name one run, and is one of {' and of '.join(studies)}; "
            f"give its path, e.g. {runs[-1].path}"
        )
    return runs[-1]
