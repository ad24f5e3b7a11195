"""Exports any trial of a run."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hpo.core.durable_files import write_atomically
from hpo.core.errors import RunError
from hpo.core.protocols import Trainer
from hpo.core.selection import best_trial
from hpo.core.spec_dicts import merged, nest
from hpo.core.text import count_of
from hpo.core.trainer_extras import FormExporter
from hpo.core.trial import TrialRecord
from hpo.executors.inprocess import InProcessExecutor
from hpo.results.average import averaged_checkpoint
from hpo.results.export_mark import MARK_FILE, is_made_of
from hpo.results.handoff import export_trial, find_checkpoint
from hpo.run.checkpoints import best_checkpoint
from hpo.run.handed_on import GALLERY_FILE, REPORT_FILE, checked_report, read_handed_on
from hpo.run.ledger import Ledger
from hpo.run.lock_file import hold
from hpo.run.next_commands import no_model_error
from hpo.run.plain_files import read_object
from hpo.run.run_dir import AUTOML_FACTS, Holder, RunDir
from hpo.run.trial_specs import TrialSpecs
from hpo.study.gone_data import with_gallery
from hpo.study.plan import as_user_errors, read_plan
from hpo.study.skill_address import skill_of
from hpo.study.spec import StudySpec, load_study
from hpo.study.trainers import demand, find_trainer, registered_trainer

_LONGEST_S = 600
"""How long an export of the same trial is waited for."""
_WITHOUT_PICTURES = frozenset({"triton"})
"""Forms that are checked on none."""


def export_run(
    run: RunDir,
    *,
    trial: int | None,
    file: Path | None,
    forms: Sequence[str] = (),
    is_once: bool = False,
    made: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Export one trial of a run; say where ONNX file and gallery lie, and what each form is.

    Args:
        run: the run.
        trial: its number; None takes the best.
        file: where the ONNX file is to lie (its gallery beside it); None means the run's own
            folder, `best/` for the best trial and `exports/NNNN/` for another.
        forms: further forms (`pixels`, `timm`, `triton`), put beside the ONNX file.
        is_once: whether an export of the trial that is there is used as it is, its gallery too; so
            it is where a file or further forms are asked for.
        made: is given what is returned as it is made, which stays where a later form fails.

    Raises:
        RunError: when there is no such trial, or it has no checkpoint; for the best also when a
            search is at work in the run, or its gallery is being changed.
    """
    study = load_study(run.study_file)
    trainer = find_trainer(study.trainer)
    record = _find(run, trial)
    is_best = trial is None
    folder = run.best_dir if is_best else run.path / "exports" / f"{record.number:04d}"
    told, model = _as_handed_on(run, record, trainer.direction) if is_best else ({}, None)
    takes_kept = bool(forms or is_once or file)
    if forms:
        demand(trainer, FormExporter)

    def is_there() -> bool:
        is_its = bool(told) if is_best else _is_of(folder, run, record, trainer.direction)
        return takes_kept and is_its and _is_whole(folder)

    checked: dict[str, Any] = {}
    if not is_there():
        model = model or find_checkpoint(run, record, trainer.direction)
        spec = _spec_of(run, record, study, trainer)
        with run.lock(Holder.EXPORT) if is_best else _one_at_a_time(folder):
            if not is_there():  # who was waited for may have made it
                executor = InProcessExecutor(study.trainer)
                checked = export_trial(
                    run, trainer, record, spec, executor, folder, model=model,
                    is_anew=not takes_kept,
                )  # fmt: skip
            if told:
                told["onnx"] = str(folder / "model.onnx")
                write_atomically(folder / REPORT_FILE, json.dumps(told, indent=1) + "\n")
    onnx, gallery = folder / "model.onnx", folder / GALLERY_FILE
    has_gallery = gallery.is_file()
    if file is not None:
        onnx = _copy(onnx, file)
        gallery = _copy(gallery, file.with_suffix(".gallery.npz")) if has_gallery else gallery
    result = {} if made is None else made
    places = {"onnx": str(onnx), "gallery": str(gallery) if has_gallery else None}
    result |= {"trial": record.number, **checked, **places}
    out, name = (file.resolve().parent, file.stem) if file else (folder, "model")
    if set(forms) - _WITHOUT_PICTURES:
        with_gallery(run, study, read_plan(run.path), trainer)
    for form in forms:
        with as_user_errors():
            exporter = demand(trainer, FormExporter)
            result[form] = exporter.export_form(folder, form, out, name)
    return result


def _spec_of(run: RunDir, trial: TrialRecord, study: StudySpec, trainer: Trainer) -> dict[str, Any]:
    """The spec that a trial was trained with; pictures are where they were split anew."""
    plan = read_plan(run.path)
    now = with_gallery(run, study, plan, trainer)
    specs = TrialSpecs(base_spec=now.base_spec, seed_key=trainer.seed_key, run=run)
    spec = specs.trained_spec(trial)
    return spec if now is plan else merged(spec, nest(trainer.data_overrides(now.sources)))


def _one_at_a_time(folder: Path) -> contextlib.AbstractContextManager[object]:
    """Hold the place of an export; that of another process is waited for."""
    folder.parent.mkdir(exist_ok=True)
    said = f"{folder}: another process has exported this trial for {_LONGEST_S} s; end that process"
    file = folder.with_name(f".{folder.name}.lock")
    return hold(file, lambda: said, attempts=100 * _LONGEST_S)


def _is_of(folder: Path, run: RunDir, trial: TrialRecord, direction: str) -> bool:
    """Whether an export is of a trial as it is now.

    One of an earlier release has no mark; where the checkpoint is gone it is all there is.
    """
    if not (folder / MARK_FILE).is_file():
        return best_checkpoint(run, trial, direction) is None
    return is_made_of(folder, trial, direction)


def _is_whole(folder: Path) -> bool:
    """Whether a folder holds the whole export of a trial."""
    return all((folder / name).is_file() for name in ("model.onnx", "model.ckpt", "spec.yaml"))


def _as_handed_on(
    run: RunDir, trial: TrialRecord, direction: str
) -> tuple[dict[str, Any], Path | None]:
    """What was told of a winner, and the file of its model; None stands for its own checkpoint.

    Nothing was told of another model. Where `report.json` is damaged or gone, what the end of the
    search told stands in for it.
    """
    told: dict[str, Any] = {}
    with contextlib.suppress(RunError):
        told = read_handed_on(run)
    with contextlib.suppress(ValueError):
        told = told or checked_report((run.read_state().get("finished") or {}).get("best"))
    measured = trial.best_measurement(direction)
    epoch = measured and measured.epoch  # of a trial that went on after that, it may be another
    average = averaged_checkpoint(run, trial, direction)
    if (told.get("trial"), told.get("epoch", epoch)) != (trial.number, epoch):
        return {}, average
    known = told.get("average") or {}
    if not known.get("is_used"):
        return told, None
    there = run.best_dir / Path(told.get("checkpoint") or "model.ckpt").name
    if there.is_file():
        return told, there
    is_same = average is not None and average.name == known.get("checkpoint")
    return told if is_same else {}, average


def trainer_of_export(run: RunDir) -> Trainer:
    """Return the trainer of a run whose model is exported.

    Raises:
        RunError: when the run is gone, or has no exported model yet.
    """
    if not run.path.is_dir():
        raise RunError(
            f"{run}: there is no such run any more; bring it back, or name its new place"
        )
    if not (run.best_dir / "model.onnx").is_file():
        raise no_model_error(run)
    name = load_study(run.study_file).trainer
    found = skill_of(name)
    if found is None or found[0].exists():
        return find_trainer(name)
    # What is exported needs its skill folder no more where the trainer is installed.
    if found[1].trainer:
        return find_trainer(found[1].trainer)
    network = str(read_object(run.path / AUTOML_FACTS).get("network", ""))
    return registered_trainer(network) or find_trainer(name)


def _find(run: RunDir, number: int | None) -> TrialRecord:
    trials, direction = Ledger.read_trials(run.ledger_file)
    if number is None:
        best = best_trial(trials, direction)
        if best is None:
            raise RunError(f"{run}: no trial has a result yet, so there is nothing to export")
        return best
    if not 0 <= number < len(trials):
        raise RunError(
            f"{run}: there is no trial {number}; it has {count_of(len(trials), 'trial')}, from 0 on"
        )
    return trials[number]


def _copy(source: Path, target: Path) -> Path:
    target = target.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}-new")
    shutil.copyfile(source, draft)
    draft.replace(target)
    return target
