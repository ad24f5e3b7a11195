"""Finds what a job starts from: an earlier job, or a search's best trial.

A parent offers a model (a checkpoint, or the one file that its action writes), the spec that the
model was built from, and where its data lay.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hpo.core.errors import HpoError, NoRunError, RunError
from hpo.core.spec_dicts import flatten
from hpo.core.trial import Direction
from hpo.core.yaml_io import read_yaml
from hpo.jobs.job import JOB_FILE, PENDING, RUNNING, Job, find_job
from hpo.jobs.pages import load_pages
from hpo.run.checkpoint_retention import describe_removed, was_removed
from hpo.run.checkpoints import choose_checkpoint, list_checkpoints
from hpo.run.handed_on import read_handed_on
from hpo.run.ledger import Ledger
from hpo.run.plain_files import is_folder, read_object
from hpo.run.run_dir import AUTOML_FACTS, AUTOML_JOBS, RunDir, find_run, is_run, list_runs
from hpo.run.trial_specs import TrialSpecs
from hpo.study.plan import held_out_sources, planned_space, read_plan
from hpo.study.skill import Skill
from hpo.study.spec import load_study
from hpo.study.trainers import find_trainer

TRAINING = ("train", "retrain", "finetune", "distill", "prune", "quantize")
"""Actions that end with a checkpoint."""

CHECKPOINT = "checkpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """An earlier job or run, as its children see it."""

    name: str
    action: str
    place: Path
    """By which it is found from anywhere: the folder of a job, a run or a trial."""
    folder: Path
    """Where its files lie."""
    skill_dir: Path
    spec: dict[str, Any]
    status: str
    roots: dict[str, str] = field(default_factory=dict)
    held_out: dict[str, Any] = field(default_factory=dict)
    """Data keys of a search's test split, which no trial has seen."""
    outputs: tuple[str, ...] = ()
    """Spec fields that name files which the action wrote."""
    monitored: str = ""
    direction: str = ""
    """Of what is monitored, where that is known."""
    best_epoch: int | None = None
    epochs: int | None = None
    """Of a search's trial, by its ledger: the best one, and how many it has had once it is over."""
    parent_job_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A parent's model file."""

    kind: str
    """`checkpoint`, or the last part of the field that named it: `onnx_file`, `trt_engine`."""
    path: Path
    how: str


def find_parent(root: Path, name: str, *more: Path) -> Parent:
    """Find a parent by what jobs, searches and their trials are called.

    Args:
        root: whose jobs, and whose searches below `runs` and below itself.
        name: a job's id or folder; a run's folder, name or timestamp, or the session or experiment
            id of an AutoML workspace, for its best trial; a trial's folder, or the id of its job on
            a platform.
        *more: further roots, tried where the first knows no such name.

    Raises:
        NoRunError: when there is none.
        RunError: when it still runs, or has left no model.
    """
    place = Path(name)
    if is_run(place) and not (place / JOB_FILE).is_file():
        return _of_run(RunDir(place), name)
    if (found := _trial_at(place)) is not None:
        return _of_trial(*found, name)
    try:
        job = find_job(root, name, "search, nor a job of that id")
    except NoRunError as error:
        for out in (root / "runs", root):
            with contextlib.suppress(NoRunError):
                return _of_run(find_run(name, out), name)
        if (known := _by_id(root, name)) is not None:
            run, trial = known
            return _of_run(run, name) if trial is None else _of_trial(run, trial, name)
        for other in more:
            with contextlib.suppress(NoRunError):
                return find_parent(other, name)
        raise error from None
    if job.status in (PENDING, RUNNING):
        raise RunError(f"{job.id}: is {job.status}; wait for it to end before starting from it")
    return _of_job(job)


def _trial_at(place: Path) -> tuple[RunDir, int] | None:
    """The run and the number of a trial's folder; None for another path."""
    run = RunDir(place.resolve().parent.parent)
    name = place.resolve().name
    if name.isdecimal() and is_run(run.path) and place.resolve() == run.trial_dir(int(name)):
        return run, int(name)
    return None


def _by_id(root: Path, name: str) -> tuple[RunDir, int | None] | None:
    """The AutoML workspace of an id, and the trial that it means; None: the best."""
    for run in reversed([*list_runs(root), *list_runs(root / "runs")]):
        facts = _automl_facts(run)
        if name in (facts.get("experiment_id"), facts.get("session_id")):
            return run, None
        for number, (job_id, _) in platform_jobs(run.path).items():
            if job_id == name:
                return run, number
    return None


def lineage(parent: Parent | None) -> Iterator[Parent]:
    """The parent, its parent, and so on; a link that is gone ends it."""
    seen: set[Path] = set()
    while parent is not None and parent.place not in seen:
        yield parent
        seen.add(parent.place)
        above, place = parent.parent_job_id, parent.place
        parent = None
        if above:  # of a job, which lies at `<root>/results/<job_id>`
            with contextlib.suppress(HpoError):
                parent = find_parent(place.parent.parent, above)


def model_of(parent: Parent, checkpoint: str | int = "best_model") -> Model:
    """The model that a parent hands on.

    Args:
        parent: a training job or search gives a checkpoint, other jobs the file that they write.
        checkpoint: `best_model`, `latest_model`, or the number of an epoch.

    Raises:
        RunError: when it holds none; nothing is guessed.
    """
    flat = flatten(parent.spec)
    for output in parent.outputs:
        path = Path(str(flat.get(output, "")))
        if path.is_file():
            return Model(kind=output.rsplit(".", 1)[-1], path=path, how=f"{parent.name} {output}")
        raise RunError(
            f"{parent.name}: its {output} {path} is missing; the job ended as {parent.status}"
        )
    if parent.action in TRAINING:
        path, how = choose_checkpoint(
            parent.folder, checkpoint, parent.monitored, parent.name, direction=parent.direction,
            trained=parent.epochs, best=parent.best_epoch,
        )  # fmt: skip
        return Model(kind=CHECKPOINT, path=path, how=f"{parent.name}, {how}")
    above = f"; its own parent is {parent.parent_job_id}" if parent.parent_job_id else ""
    raise RunError(f"{parent.name}: {parent.action} leaves no model to start from{above}")


def _of_job(job: Job) -> Parent:
    page = _page_of(job)
    return Parent(
        name=job.id,
        action=job.action,
        place=job.folder,
        folder=job.results_dir,
        skill_dir=Path(job.skill_dir),
        spec=job.spec(),
        status=job.status,
        roots=job.roots,
        outputs=tuple(page.file_outputs(job.action)),
        monitored=next(iter(page.monitored), ""),
        parent_job_id=job.parent_job_id,
    )


def _page_of(job: Job) -> Skill:
    pages = load_pages(Path(job.skill_dir))
    return pages[job.page] if job.page < len(pages) else pages[0]


def _of_run(run: RunDir, name: str) -> Parent:
    """The best trial of a search, or its average with others, by the state that the search keeps.

    Raises:
        RunError: when no trial has a result yet, or the files of the best are gone.
    """
    best = run.read_state().get("best")
    if not isinstance(best, dict):
        raise RunError(f"{name}: no trial of {run} has a result yet, so there is no best model")
    parent = replace(_of_trial(run, int(best["trial"]), name), place=run.path)
    report = read_handed_on(run)
    is_average = report.get("trial") == best["trial"] and (report.get("average") or {}).get(
        "is_used"
    )
    return replace(parent, folder=run.best_dir) if is_average else parent


def _of_trial(run: RunDir, trial: int, name: str) -> Parent:
    """One trial of a search.

    Raises:
        RunError: when it has left no checkpoint on this machine.
    """
    facts = _automl_facts(run)
    best_epoch, epochs = _measured(run, trial)
    skill_dir, held_out = _skill_and_held_out(run)
    elsewhere = platform_jobs(run.path).get(trial)
    folder = _job_folder(run, trial, name, *elsewhere) if elsewhere else (
        _trial_folder(run, trial, name)
    )  # fmt: skip
    return Parent(
        name=name,
        action="train",
        place=run.trial_dir(trial),
        folder=folder,
        skill_dir=skill_dir,
        spec=_spec_of(run, trial, is_elsewhere=bool(elsewhere)),
        status=str(run.read_state().get("status", "")),
        held_out=held_out,
        monitored=str(facts.get("metric") or ""),
        direction=_direction_of(run, facts),
        best_epoch=best_epoch,
        epochs=epochs,
    )


def _job_folder(run: RunDir, trial: int, name: str, job_id: str, results: str) -> Path:
    """The results folder of a trial that was a job of a platform."""
    folder = Path(results)
    if not results or "://" in results or not is_folder(folder):
        platform = _automl_facts(run).get("platform") or "a platform"
        raise RunError(
            f"{name}: trial {trial} was job {job_id} of {platform}, and its results "
            f"({results or 'at a place that it did not name'}) are not on this machine; fetch its "
            "checkpoint and give that as --weights, evaluate.checkpoint or export.checkpoint"
        )
    return folder


def _trial_folder(run: RunDir, trial: int, name: str) -> Path:
    """A trial's folder, or the hand-off of the same trial where that was tidied away."""
    folder = run.trial_dir(trial)
    if folder.is_dir() and list_checkpoints(folder):
        return folder
    if read_handed_on(run).get("trial") == trial:
        return run.best_dir
    if was_removed(run, trial):
        raise RunError(f"{name}: {describe_removed(run, trial)}")
    best = run.read_state().get("best") or {}
    which = f"trial {trial} is the best, and " if best.get("trial") == trial else ""
    raise RunError(f"{name}: {which}{folder} holds no checkpoint of trial {trial}")


def _spec_of(run: RunDir, trial: int, *, is_elsewhere: bool) -> dict[str, Any]:
    """The spec that a trial was trained with."""
    if is_elsewhere:  # its job had it, and no folder here
        return _planned_spec(run, trial)
    for file in (run.trial_dir(trial) / "spec.yaml", run.best_dir / "spec.yaml"):
        if file.is_file():
            data = read_yaml(file)
            return data if isinstance(data, dict) else {}
    return {}


def _planned_spec(run: RunDir, trial: int) -> dict[str, Any]:
    study, plan = load_study(run.study_file), read_plan(run.path)
    trainer = find_trainer(study.trainer)
    space = planned_space(run.path, study, trainer, plan)
    specs = TrialSpecs(base_spec=plan.base_spec, seed_key=trainer.seed_key, space=space)
    return specs.spec_of(Ledger.read_trials(run.ledger_file)[0][trial])


def _measured(run: RunDir, trial: int) -> tuple[int | None, int | None]:
    """The best epoch of a trial, and the last one of one that has ended; None where not told."""
    with contextlib.suppress(RunError, LookupError):
        trials, direction = Ledger.read_trials(run.ledger_file)
        record = trials[trial]
        best = record.best_measurement(direction)
        epochs = record.epochs if record.state.is_finished else None
        return best.epoch if best else None, epochs
    return None, None


def platform_jobs(folder: Path) -> dict[int, tuple[str, str]]:
    """Trial -> id and results folder of its job on a platform; empty for trials of this machine."""
    with contextlib.suppress(RunError):
        return demand_platform_jobs(folder)
    return {}


def demand_platform_jobs(folder: Path) -> dict[int, tuple[str, str]]:
    """The same for those who write the file anew, or delete what it does not name.

    Raises:
        RunError: when the file is there and cannot be read.
    """
    file = folder / AUTOML_JOBS
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        return {int(number): (str(pair[0]), str(pair[1])) for number, pair in kept.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise RunError(
            f"{file}: must say which job each trial was, and cannot be read: {error!r}; restore "
            "it, or remove it to go on without the jobs of earlier starts"
        ) from error


def _skill_and_held_out(run: RunDir) -> tuple[Path, dict[str, Any]]:
    """The skill of a search, and the data that its trials have not seen.

    The AutoML route keeps both in its facts; a plain search knows them by its trainer.
    """
    facts = _automl_facts(run)
    if facts.get("skill_dir"):
        return Path(str(facts["skill_dir"])), dict(facts.get("eval_keys") or {})
    trainer = find_trainer(load_study(run.study_file).trainer)
    with contextlib.suppress(RunError):
        sources = held_out_sources(read_plan(run.path).sources)
        if sources is not None:
            return trainer.skill_dir, trainer.data_overrides(sources)
    return trainer.skill_dir, {}


def _direction_of(run: RunDir, facts: dict[str, Any]) -> str:
    """Of what the trials of a search are judged by; empty where its files do not tell."""
    if facts:
        told = str(facts.get("direction") or "")
        return told if told in set(Direction) else ""
    return find_trainer(load_study(run.study_file).trainer).direction


def _automl_facts(run: RunDir) -> dict[str, Any]:
    return read_object(run.path / AUTOML_FACTS)
