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
from hpo.core.text import count_of
from hpo.core.trainer_extras import FormExporter
from hpo.core.trial import TrialRecord
from hpo.executors.inprocess import InProcessExecutor
from hpo.results.average import averaged_checkpoint
from hpo.results.handoff import export_trial, find_checkpoint
from hpo.run.handed_on import GALLERY_FILE, REPORT_FILE, checked_report, read_handed_on
from hpo.run.ledger import Ledger
from hpo.run.lock_file import hold
from hpo.run.run_dir import Holder, RunDir
from hpo.run.trial_specs import TrialSpecs
from hpo.study.plan import as_user_errors, read_plan
from hpo.study.spec import load_study
from hpo.study.trainers import demand, find_trainer

_LONGEST_S = 600
"""How long an export of the same trial is waited for."""


def export_run(
    run: RunDir,
    *,
    trial: int | None,
    file: Path | None,
    forms: Sequence[str] = (),
    is_once: bool = False,
) -> dict[str, Any]:
    """Export one trial of a run.

    Args:
        run: the run.
        trial: its number; None takes the best.
        file: where the ONNX file is to lie (its gallery beside it); None means the run's own
            folder, `best/` for the best trial and `exports/NNNN/` for another.
        forms: further forms (`pixels`, `timm`, `triton`), put beside the ONNX file.
        is_once: whether an export of the trial that is there is used as it is, its gallery too; so
            it is where further forms are asked for.

    Raises:
        RunError: when there is no such trial, or it has no checkpoint; for the best also when a
            search is at work in the run, or its gallery is being changed.
    """
    study, plan = load_study(run.study_file), read_plan(run.path)
    trainer = find_trainer(study.trainer)
    record = _find(run, trial)
    find_checkpoint(run, record, trainer.direction)
    place = plan.sources.get("reference", "")
    if place.startswith("/") and not Path(place).exists():
        raise RunError(
            f"reference: no such folder or archive: {place}; bring it back, or give its new place: "
            f"`{run.resume_command} --reference PLACE` (the run remembers it)"
        )
    is_best = trial is None
    folder = run.best_dir if is_best else run.path / "exports" / f"{record.number:04d}"
    specs = TrialSpecs(base_spec=plan.base_spec, seed_key=trainer.seed_key, run=run)
    told = _evaluated_facts(run, record, trainer.direction) if is_best else {}
    if forms:
        demand(trainer, FormExporter)

    def is_there() -> bool:
        return bool(forms or is_once) and _is_whole(folder) and (not is_best or bool(told))

    result: dict[str, Any] = {"onnx": str(folder / "model.onnx")}
    if not is_there():
        executor = InProcessExecutor(study.trainer)
        model = averaged_checkpoint(run, record, trainer.direction) if is_best else None
        spec = specs.trained_spec(record)
        with run.lock(Holder.EXPORT) if is_best else _one_at_a_time(folder):
            if not is_there():  # who was waited for may have made it
                result = export_trial(
                    run, trainer, record, spec, executor, folder, model=model, is_anew=not forms
                )
            if told:
                told["onnx"] = result["onnx"]
                write_atomically(folder / REPORT_FILE, json.dumps(told, indent=1) + "\n")
    if file is not None:
        result["onnx"] = str(_copy(Path(result["onnx"]), file))
        gallery = folder / GALLERY_FILE
        if gallery.is_file():
            result["gallery"] = str(_copy(gallery, file.with_suffix(".gallery.npz")))
    out, name = (file.resolve().parent, file.stem) if file else (folder, "model")
    for form in forms:
        with as_user_errors():
            exporter = demand(trainer, FormExporter)
            result[form] = exporter.export_form(folder, form, out, name)
    return {"trial": record.number, **result}


def _one_at_a_time(folder: Path) -> contextlib.AbstractContextManager[object]:
    """Hold the place of an export; that of another process is waited for."""
    folder.parent.mkdir(exist_ok=True)
    said = f"{folder}: another process has exported this trial for {_LONGEST_S} s; end that process"
    file = folder.with_name(f".{folder.name}.lock")
    return hold(file, lambda: said, attempts=100 * _LONGEST_S)


def _is_whole(folder: Path) -> bool:
    """Whether a folder holds the whole export of a trial."""
    return all((folder / name).is_file() for name in ("model.onnx", "model.ckpt", "spec.yaml"))


def _evaluated_facts(run: RunDir, trial: TrialRecord, direction: str) -> dict[str, Any]:
    """What was told of a winner, which its export leaves as it is; empty for another model.

    Where `report.json` is damaged or gone, what the end of the search told stands in for it.
    """
    told: dict[str, Any] = {}
    with contextlib.suppress(RunError):
        told = read_handed_on(run)
    with contextlib.suppress(ValueError):
        told = told or checked_report((run.read_state().get("finished") or {}).get("best"))
    measured = trial.best_measurement(direction)
    epoch = measured and measured.epoch  # of a trial that went on after that, it may be another
    is_same = told.get("trial") == trial.number and told.get("epoch", epoch) == epoch
    return told if is_same else {}


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
        raise RunError(f"{run}: has no exported model yet; finish the search or run `hpo export`")
    return find_trainer(load_study(run.study_file).trainer)


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
