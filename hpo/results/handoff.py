"""Hands the winner over: spec, checkpoint, checked ONNX file, gallery, report.

Which spec fields name a checkpoint or an output file is read from the skill's `spec_params`, not
known here.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo.core.budget import Budget
from hpo.core.durable_files import rename_durably, sync_tree
from hpo.core.errors import RunError
from hpo.core.events import Evaluated, Exported, Preparing
from hpo.core.expected import Expected
from hpo.core.held_out import held_out_words
from hpo.core.protocols import Emit, Executor, Trainer
from hpo.core.selection import best_trial, default_trial, repeats_of
from hpo.core.spec_dicts import merged
from hpo.core.text import count_of, shell_word
from hpo.core.trial import TrialRecord
from hpo.core.trial_failures import error_line
from hpo.core.yaml_io import to_yaml
from hpo.results.average import average_best, averaged_checkpoint
from hpo.results.confirm import confirm, fewer_words
from hpo.results.drop import expect
from hpo.results.export_mark import keep_what_was_added, write_mark
from hpo.results.held_out import evaluate_held_out
from hpo.results.model_costs import pareto, read_costs
from hpo.results.worker_calls import call_twice
from hpo.run.checkpoint_retention import describe_removed, was_removed
from hpo.run.checkpoints import best_checkpoint
from hpo.run.disk_errors import find_problem
from hpo.run.handed_on import (
    GALLERY_FILE,
    REPORT_FILE,
    extent_of,
    handed_on_checkpoint,
)
from hpo.run.ledger import Ledger
from hpo.run.next_commands import next_steps
from hpo.run.plain_files import write_json
from hpo.run.run_dir import RunDir
from hpo.run.trial_specs import TrialSpecs
from hpo.study.plan import StudyPlan, held_out_sources
from hpo.study.skill import load_skill


class HandoffError(Exception):
    """The winner could not be exported; without an ONNX file a search has not succeeded."""


class NoExportError(RunError, HandoffError):
    """The skill has no action that exports."""


class NoCheckpointError(RunError, HandoffError):
    """The checkpoint of a trial was removed, by a search that needed it no more or by somebody."""


class NoPackageError(RunError, HandoffError):
    """A package that exports is not installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchEnd:
    """How a search ended."""

    budget: Budget
    because: str
    """`ended_because` of its `finished` event."""
    share_of: float | None = None
    """See `hpo.results.drop.expect`."""


def hand_on(
    run: RunDir,
    plan: StudyPlan,
    trainer: Trainer,
    ledger: Ledger,
    executor: Executor,
    emit: Emit,
    *,
    specs: TrialSpecs,
    end: SearchEnd,
) -> dict[str, Any] | None:
    """Compare repeated finalists, evaluate the best on the held-out data once, write `best/`.

    Args:
        run: the run directory.
        plan: for the data sources, and whether the best are averaged.
        trainer: for its skill and its metric's name.
        ledger: the study.
        executor: where training, evaluation and export run.
        emit: receives `Exported` and `Evaluated`.
        specs: gives the full spec that a trial was trained with.
        end: how the search ended.

    Returns:
        `{"trial", "value", "params", "spec", "checkpoint", "onnx", ...}` with absolute paths, or
        None when no trial has a result.

    Raises:
        HandoffError: when the export fails.
    """
    if any(t.is_repeat for t in ledger.trials()):
        emit(Preparing(what="comparison"))
    confirmation = confirm(
        run, ledger, trainer, executor, specs.trained_spec, emit, asked=plan.confirm
    )
    best = best_trial(ledger.trials(), ledger.direction)
    if best is None:
        _explain_nothing(ledger.trials())
        return None
    expected = _expect(plan, ledger, best, end.share_of)
    spec = specs.trained_spec(best)
    average, alone = None, None
    if plan.averages:
        average = average_best(run, ledger, trainer, executor, best, specs, emit)
    if average is not None and average.is_used:
        alone = (best, spec, find_checkpoint(run, best, trainer.direction))
    emit(Preparing(what="export"))
    model = averaged_checkpoint(run, best, ledger.direction) if alone else None
    exported = export_trial(run, trainer, best, spec, executor, run.best_dir, model=model)
    emit(Exported(trial=best.number, result=exported))
    default, first = None, default_trial(ledger.trials(), ledger.direction)
    if first is not None and not first.is_twin_of(best):
        own = run.checkpoints_dir(first.number) / "best.ckpt"
        default = (first, specs.trained_spec(first), own)
    winner = (best, spec, run.best_dir / "model.ckpt")
    if held_out_sources(plan.sources):
        emit(Preparing(what="held_out"))
    test = evaluate_held_out(run, plan, trainer, executor, winner, default, alone)
    if test is not None:
        value = test.get(trainer.monitoring_metric)
        words = held_out_words(test, trainer.monitoring_metric)
        emit(
            Evaluated(
                trial=best.number, split="test", metrics=test, metric_value=value, words=words
            )
        )
    result = {
        **winner_facts(best, ledger, trainer, specs.decided_of(spec), run.best_dir, exported),
        "confirmation": confirmation and confirmation.to_json(),
        "unconfirmed": _unconfirmed(ledger, plan.confirm) if confirmation is None else None,
        "expected": expected and expected.to_json(),
        "average": average and average.to_json(trainer.monitoring_metric),
        "pareto": pareto(ledger.trials(), read_costs(run), ledger.direction),
        "test": test,
    }
    write_report(run, result, best, ledger, exported, next_commands(run, end))
    return result


def winner_facts(
    best: TrialRecord,
    ledger: Ledger,
    trainer: Trainer,
    decided: Mapping[str, Any],
    folder: Path,
    exported: Mapping[str, Any],
) -> dict[str, Any]:
    """What every end of a search tells of its best trial.

    Args:
        best: the trial.
        ledger: for the default configuration.
        trainer: for its metric's name.
        decided: what the user said of every trial (`TrialSpecs.decided_of`).
        folder: where it was handed on.
        exported: what the export returned.
    """
    default = default_trial(ledger.trials(), ledger.direction)
    reached, before = (
        trial and trial.best_measurement(ledger.direction) for trial in (best, default)
    )
    return {
        "trial": best.number,
        "metric": trainer.monitoring_metric,
        "direction": str(ledger.direction),
        "value": reached and reached.value,
        "epoch": reached and reached.epoch,
        "params": best.params,
        "decided": decided,
        "spec": str(folder / "spec.yaml"),
        "checkpoint": str(folder / "model.ckpt"),
        "onnx": exported.get("onnx"),
        "gallery": exported.get("gallery"),
        "num_images_checked": exported.get("num_images_checked"),
        "default_value": before and before.value,
        "is_default": default is not None and default.is_twin_of(best),
    }


def write_report(
    run: RunDir,
    result: Mapping[str, Any],
    best: TrialRecord,
    ledger: Ledger,
    exported: Mapping[str, Any],
    commands: list[str],
) -> None:
    """Write `report.json`: the result of a search, and what stands behind it."""
    report = {
        **result,
        "weights": (best.receipt or {}).get("weights"),
        "export": exported,
        "receipt": best.receipt,
        "over": extent_of([t.trained_epochs for t in ledger.trials()]),
        "next": commands,
    }
    write_json(run.best_dir / REPORT_FILE, report)


def _expect(
    plan: StudyPlan, ledger: Ledger, best: TrialRecord, share_of: float | None
) -> Expected | None:
    """Estimate what the winner will show; None where trials of other searches chose it, too.

    Their luck with the same pictures does not show in this search. Repeats with new seeds tell it.
    """
    trials = ledger.trials()
    is_known = any(start["latents"] == best.latents for start in plan.first)
    if is_known and not repeats_of(best, trials):
        return None
    return expect(trials, ledger.direction, best.number, share_of=share_of)


def export_trial(
    run: RunDir,
    trainer: Trainer,
    trial: TrialRecord,
    spec: Mapping[str, Any],
    executor: Executor,
    folder: Path,
    *,
    model: Path | None = None,
    is_anew: bool = False,
) -> dict[str, Any]:
    """Write spec, checkpoint, ONNX and gallery of a trial into `folder`.

    The folder is built under another name and put in place at the end, so there is never half a
    hand-off. Where the gallery of the export before it was changed, the changes stay with the same
    model; where that is another one, or the gallery begins anew, that export is set aside.

    Args:
        run: the run directory.
        trainer: for its skill.
        trial: whose model.
        spec: the full one that it was trained with.
        executor: where the export runs.
        folder: what lies there goes.
        model: takes the place of the checkpoint of the trial's best epoch.
        is_anew: whether the gallery begins anew with the same model, too.

    Returns:
        What the trainer's `export` returned, with `onnx`, `seconds`, and, where the gallery had
        been changed, `changed_gallery`: where it lies now.

    Raises:
        HandoffError: when the export does not pass its checks.
        NoCheckpointError: when there is no checkpoint.
        RunError: when the run's disk takes no files.
    """
    checkpoint = model or find_checkpoint(run, trial, trainer.direction)
    skill = load_skill(trainer.skill_dir)
    if "export" not in skill.actions:
        raise NoExportError(
            f"trial {trial.number}: {skill.path}: skill_info.yaml has no action `export`, so there "
            f"is nothing to export it with; its checkpoint is {checkpoint}"
        )
    draft, gone = (folder.with_name(f".{folder.name}-{word}") for word in ("new", "old"))
    if gone.exists() and not folder.exists():
        gone.rename(folder)  # a kill came between the two renames below
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    copied = draft / f"model{checkpoint.suffix}"
    shutil.copyfile(checkpoint, copied)
    export_spec = merged(
        spec,
        skill.fill("export", "parent_model", copied),
        skill.fill("export", "create_onnx_file", draft / "model.onnx"),
        skill.fill("export", "output_dir", draft),
    )
    began = time.monotonic()
    try:
        result = dict(call_twice(executor, "export", export_spec))
    except Exception as error:
        if problem := find_problem(draft, error_line(error)):
            raise problem.as_error(run) from error
        kind = NoPackageError if isinstance(error, ModuleNotFoundError) else HandoffError
        raise kind(f"trial {trial.number} was not exported: {error_line(error)}") from error
    if not (draft / "model.onnx").is_file():
        raise HandoffError(f"trial {trial.number}: the export wrote no ONNX file")
    (draft / "spec.yaml").write_text(to_yaml(merged(spec, {"results_dir": str(folder)})))
    write_mark(draft, trial, trainer.direction)
    changed = keep_what_was_added(folder, draft, is_anew=is_anew)
    shutil.rmtree(gone, ignore_errors=True)
    sync_tree(draft)
    if folder.exists():
        folder.rename(gone)  # readers see the one or the other, and never a part
    rename_durably(draft, folder)
    shutil.rmtree(gone, ignore_errors=True)
    moved = {
        k: str(v).replace(str(draft), str(folder)) if isinstance(v, str) else v
        for k, v in result.items()
    }
    return {
        **moved,
        "onnx": str(folder / "model.onnx"),
        "seconds": round(time.monotonic() - began, 2),
        **({"changed_gallery": str(changed / GALLERY_FILE)} if changed else {}),
    }


def find_checkpoint(run: RunDir, trial: TrialRecord, direction: str) -> Path:
    """The checkpoint of a trial's best epoch; the copy in `best/` where the trial's own is gone.

    Raises:
        NoCheckpointError: when it is gone.
    """
    found = best_checkpoint(run, trial, direction) or handed_on_checkpoint(run, trial, direction)
    if found is not None:
        return found
    if was_removed(run, trial.number):
        raise NoCheckpointError(describe_removed(run, trial.number))
    folder = run.trial_dir(trial.number)
    raise NoCheckpointError(
        f"trial {trial.number}: the checkpoint of its best epoch is missing below {folder}; bring "
        f"it back, or export another trial: `{run.command('export', '--trial N')}`"
    )


def next_commands(run: RunDir, end: SearchEnd) -> list[str]:
    """What a user may want to do with a finished run."""
    spec = shell_word(run.best_dir / "spec.yaml")
    model = shell_word(f"evaluate.checkpoint={run.best_dir / 'model.ckpt'}")
    steps = next_steps(run, end.budget, end.because)
    return [*(command for _, command in steps), f"ml_recog evaluate -e {spec} {model}"]


def _unconfirmed(ledger: Ledger, asked: int) -> str | None:
    """Why no finalists were compared, where that was asked for."""
    if not asked:
        return None
    (why,) = fewer_words(ledger.trials(), ledger.direction, asked, 0)
    return f"not confirmed: {why}"


def _explain_nothing(trials: list[TrialRecord]) -> None:
    """Say why there is no best trial.

    Raises:
        HandoffError: always when trials have failed; a search without a trial is left to the
            caller.
    """
    causes = [t.error for t in trials if t.error]
    if causes:
        first = causes[0]
        raise HandoffError(
            f"none of {count_of(len(trials), 'trial')} has a result; the first failed by "
            f"{first['kind']}: {first['message']}"
        )
