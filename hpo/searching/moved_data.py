"""Resumes a run whose pictures have moved: names those that are missing, takes new places.

A run keeps where its pictures were in `plan.json`, `study.yaml` and the specs of its trials.
Whether they are the same pictures at a new place is decided by their digests.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from hpo.core.addresses import is_missing
from hpo.core.durable_files import write_atomically
from hpo.core.errors import DataError, HpoError, RunError
from hpo.core.protocols import Trainer
from hpo.core.spec_dicts import flatten, relocated
from hpo.core.text import nearest_path, shell_word
from hpo.core.yaml_io import read_yaml, to_yaml
from hpo.run.next_commands import resume_command
from hpo.run.plain_files import read_object, write_json
from hpo.run.run_dir import AUTOML_FACTS, RunDir
from hpo.searching.resume import settle_origin
from hpo.study.arguments import PathLike, place_of
from hpo.study.gone_data import demand_data, find_gone, with_sources
from hpo.study.plan import StudyPlan, kept_folder
from hpo.study.spec import StudySpec, parse_study
from hpo.study.spec_paths import anchored_path


class Given(Protocol):
    """What the start of a resumed search says of the run."""

    @property
    def force(self) -> bool:
        """As of `settle_origin`."""

    @property
    def places(self) -> Mapping[str, PathLike]:
        """As of `_take_places`."""

    @property
    def moved(self) -> Mapping[str, PathLike]:
        """As of `_take_moved`."""

    def kept_below(self, out: Path) -> Path | None:
        """Where pictures that are split lie; None means the trainer's own folder."""


def moved_places(given: Given) -> dict[str, str]:
    """Old -> new place of other files and folders, as the start gives them, by whole paths."""
    return {place_of("moved", old): _whole("moved", new) for old, new in given.moved.items()}


def settle_run(
    run: RunDir,
    study: StudySpec,
    plan: StudyPlan,
    trainer: Trainer,
    given: Given,
) -> tuple[StudySpec, StudyPlan]:
    """Return study and plan to go on with; what is given or made anew is remembered in the run.

    Args:
        run: the run, locked.
        study: as it stands in the run.
        plan: as it stands in the run.
        trainer: as it is installed now.
        given: what this start says of it.

    Raises:
        HpoError: as of all three.
    """
    moved = moved_places(given)
    study, found = _take_moved(study, plan, moved)
    kept = given.kept_below(run.store_dir)
    study, found = _take_places(run, study, found, trainer, given.places, kept)
    settled = settle_origin(run, study, found, trainer, force=given.force)
    if found is not plan:
        _remember_places(run, study, plan, settled, moved)
    return study, settled


def _take_moved(
    study: StudySpec, plan: StudyPlan, moved: Mapping[str, str]
) -> tuple[StudySpec, StudyPlan]:
    """Return study and plan with other files at their new places; nothing is written yet.

    Args:
        study: as it stands in the run.
        plan: as it stands in the run.
        moved: old place -> new one, of weights, a class map, or a folder that holds them; of a
            workspace also of its skill folder.

    Raises:
        DataError: nothing lies at the new place, or the run has nothing at the old one.
    """
    for old, new in moved.items():
        if not Path(new).exists():
            raise DataError(f"--moved {old}={new}: no such file or folder: {new}")
        before, after = study.to_dict(), relocated(study.to_dict(), old, new)
        spec = relocated(plan.base_spec, old, new)
        if (before, plan.base_spec) == (after, spec):
            raise DataError(f"--moved {old}={new}: the run names no file {old}")
        study, plan = parse_study(after), replace(plan, base_spec=spec)
    return study, plan


@contextlib.contextmanager
def explain_gone_files(
    run: RunDir, study: StudySpec, plan: StudyPlan, trainer: Trainer, is_resumed: bool
) -> Iterator[None]:
    """Add to an error that names a file of the run which is gone how to give its new place."""
    try:
        yield
    except HpoError as error:
        if isinstance(error, RunError) and not is_resumed:
            # Without its pictures a space is another one.
            demand_data(run, study, plan, trainer)
        names = (value for value in flatten(plan.base_spec).values() if isinstance(value, str))
        files = (name for name in names if Path(name).suffix or "/" in name)
        gone = next((n for n in files if _names(error, n) and not Path(n).exists()), "")
        if not is_resumed or not gone or resume_command(run) in str(error):
            raise
        command = resume_command(run, "--moved", shell_word(f"{gone}=PLACE"))
        raise type(error)(
            f"{error}; bring it back, or give its new place: `{command}` (the run remembers it)"
        ) from error


def _names(error: Exception, path: str) -> bool:
    """Whether a message holds a path as a whole, not within a longer one."""
    return re.search(rf"(?<![\w./-]){re.escape(path)}(?![\w/-])", str(error)) is not None


def _take_places(
    run: RunDir,
    study: StudySpec,
    plan: StudyPlan,
    trainer: Trainer,
    places: Mapping[str, PathLike],
    kept: Path | None,
) -> tuple[StudySpec, StudyPlan]:
    """Return study and plan with the pictures at their new places; nothing is written yet.

    What was split or drawn into the cache folder is made again where it is gone from there.

    Args:
        run: the run.
        study: as it stands in the run.
        plan: as it stands in the run.
        trainer: makes, splits and names sources.
        places: new ones by name: `data`, `train`, `reference`, `query`, `test_reference`,
            `test_query`; may be empty.
        kept: as of `resolve_sources`; what lies in the trainer's own folder is made anew there.

    Raises:
        DataError: a place is none, or one of another kind than the run has.
        RunError: something is gone and no new place is given.
    """
    if places:
        given: dict[str, Any] = _checked(study, places)
        study = replace(study, data=replace(study.data, **given))
    now = replace(plan, sources=study.data.splits) if places else plan
    demand_data(run, study, now, trainer)
    own = kept_folder(trainer)
    is_unseen = kept is not None and any(own in Path(at).parents for at in plan.sources.values())
    if not places and not is_unseen and not find_gone(run, study, plan, trainer):
        return study, plan
    return study, with_sources(study, plan, trainer, kept)


def _remember_places(
    run: RunDir,
    study: StudySpec,
    before: StudyPlan,
    plan: StudyPlan,
    files: Mapping[str, str],
) -> None:
    """Write the new places wherever the run keeps the old ones; `files` are no pictures."""
    plan.write(run.path)
    write_atomically(run.study_file, to_yaml(study.to_dict()))
    if facts := read_object(run.path / AUTOML_FACTS):
        for old, new in files.items():
            facts = relocated(facts, old, new)
        write_json(run.path / AUTOML_FACTS, facts)
    moved = {**files} | {
        old: plan.sources[name]
        for name, old in before.sources.items()
        if old != plan.sources.get(name, old)
    }
    for file in (*sorted(run.path.glob("trials/*/spec.yaml")), run.best_dir / "spec.yaml"):
        if file.is_file():
            spec = dict(read_yaml(file))
            for old, new in moved.items():
                spec = relocated(spec, old, new)
            write_atomically(file, to_yaml(spec))


def _whole(where: str, place: PathLike) -> str:
    """An address, or a path from the root: it is kept, and read from elsewhere."""
    return anchored_path(place_of(where, place), Path.cwd())


def _checked(study: StudySpec, places: Mapping[str, PathLike]) -> dict[str, str]:
    found = {}
    for name, place in places.items():
        flag = f"--{name.replace('_', '-')}"
        if (name == "data") != bool(study.data.folder) or study.data.is_default:
            has = "one folder (--data)" if study.data.folder else "splits (--train, --query, ...)"
            has = "the embedded pictures" if study.data.is_default else has
            raise DataError(f"{flag}: the run was searched with {has}; give what it has")
        whole = _whole(flag, place)
        if is_missing(whole):
            hint = nearest_path(Path(whole))
            raise DataError(f"{flag}: no such folder or archive: {whole}{hint}")
        found["folder" if name == "data" else name] = whole
    return found
