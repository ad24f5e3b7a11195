"""Finds what a job starts from: an earlier job, or a search's best trial.

A parent offers a model (a checkpoint, or the one file that its action writes), the spec that the
model was built from, and where its data lay.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpo.core.errors import HpoError, RunError
from hpo.core.spec_dicts import flatten
from hpo.core.yaml_io import read_yaml
from hpo.jobs.checkpoints import choose_checkpoint, list_checkpoints
from hpo.jobs.job import JOB_FILE, PENDING, RUNNING, Job, find_job
from hpo.jobs.pages import load_pages
from hpo.run.run_dir import AUTOML_FACTS, STUDY_FILE, RunDir, find_run
from hpo.study.plan import held_out_sources, read_plan
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
    parent_job_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A parent's model file."""

    kind: str
    """`checkpoint`, or the last part of the field that named it: `onnx_file`, `trt_engine`."""
    path: Path
    how: str


def find_parent(root: Path, name: str) -> Parent:
    """Find a parent by job id, by the path of a job or run, or by a run's name below the root.

    Raises:
        RunError: when there is none, or it still runs.
    """
    if (Path(name) / STUDY_FILE).is_file() and not (Path(name) / JOB_FILE).is_file():
        return _of_run(root, RunDir(Path(name)), name)
    try:
        job = find_job(root, name, "search, nor a job of that id")
    except RunError as error:
        for out in (root / "runs", root):
            with contextlib.suppress(RunError):
                return _of_run(root, find_run(name, out), name)
        raise error from None
    if job.run_dir:
        return _of_run(root, RunDir(Path(job.run_dir)), job.id, job)
    if job.status in (PENDING, RUNNING):
        raise RunError(f"{job.id}: is {job.status}; wait for it to end before starting from it")
    return _of_job(job)


def lineage(root: Path, parent: Parent | None) -> Iterator[Parent]:
    """The parent, its parent, and so on; a link that is gone ends it."""
    seen: set[str] = set()
    while parent is not None and parent.name not in seen:
        yield parent
        seen.add(parent.name)
        above = parent.parent_job_id
        parent = None
        if above:
            with contextlib.suppress(HpoError):
                parent = find_parent(root, above)


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
        path, how = choose_checkpoint(parent.folder, checkpoint, parent.monitored, parent.name)
        return Model(kind=CHECKPOINT, path=path, how=f"{parent.name}, {how}")
    above = f"; its own parent is {parent.parent_job_id}" if parent.parent_job_id else ""
    raise RunError(f"{parent.name}: {parent.action} leaves no model to start from{above}")


def _of_job(job: Job) -> Parent:
    page = _page_of(job)
    return Parent(
        name=job.id,
        action=job.action,
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


def _of_run(root: Path, run: RunDir, name: str, job: Job | None = None) -> Parent:
    """The best trial of a search, by the state that the search itself keeps.

    Raises:
        RunError: when no trial has a result yet, or the files of the best are gone.
    """
    state = run.read_state()
    best = state.get("best")
    if not isinstance(best, dict):
        raise RunError(f"{name}: no trial of {run} has a result yet, so there is no best model")
    if best.get("job_id"):
        return find_parent(root, str(best["job_id"]))
    trial = int(best["trial"])
    folder = _trial_folder(run, trial, name)
    skill_dir, held_out = _skill_and_held_out(run, job)
    return Parent(
        name=name,
        action="train",
        folder=folder,
        skill_dir=skill_dir,
        spec=_spec_of(run, trial),
        status=str(state.get("status", "")),
        roots=job.roots if job else {},
        held_out=held_out,
    )


def _trial_folder(run: RunDir, trial: int, name: str) -> Path:
    """The best trial's folder, or the hand-off of the same trial where that was tidied away."""
    folder = run.trial_dir(trial)
    if folder.is_dir() and list_checkpoints(folder):
        return folder
    with contextlib.suppress(OSError, ValueError):
        report = json.loads((run.best_dir / "report.json").read_text(encoding="utf-8"))
        if report.get("trial") == trial:
            return run.best_dir
    raise RunError(f"{name}: trial {trial} is the best, and {folder} holds no checkpoint of it")


def _spec_of(run: RunDir, trial: int) -> dict[str, Any]:
    for file in (run.trial_dir(trial) / "spec.yaml", run.best_dir / "spec.yaml"):
        if file.is_file():
            data = read_yaml(file)
            return data if isinstance(data, dict) else {}
    return {}


def _skill_and_held_out(run: RunDir, job: Job | None) -> tuple[Path, dict[str, Any]]:
    """The skill of a search, and the data that its trials have not seen.

    The AutoML route keeps both in its facts; a plain search knows them by its trainer.
    """
    facts = _automl_facts(run)
    if facts.get("skill_dir"):
        return Path(str(facts["skill_dir"])), dict(facts.get("eval_keys") or {})
    trainer = find_trainer(load_study(run.study_file).trainer)
    skill_dir = Path(job.skill_dir) if job else trainer.skill_dir
    with contextlib.suppress(RunError):
        sources = held_out_sources(read_plan(run.path).sources)
        if sources is not None:
            return skill_dir, trainer.data_overrides(sources)
    return skill_dir, {}


def _automl_facts(run: RunDir) -> dict[str, Any]:
    try:
        data = json.loads((run.path / AUTOML_FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
