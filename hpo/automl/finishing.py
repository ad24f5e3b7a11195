"""Ends a search of the route: final evaluation, comparison, hand-off."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from hpo.automl.best_rec import FILE as BEST_REC_FILE
from hpo.automl.best_rec import best_record
from hpo.automl.evaluation import (
    KNOWN,
    MEASURED,
    PROVIDED,
    RECORD_PLACES,
    REUSED,
    TRAINER,
    Evaluator,
    place_records,
    read_evaluations,
    run_final,
)
from hpo.automl.outcome import (
    apart,
    comparison,
    render_comparison,
    source_of_trials,
    value_in,
)
from hpo.automl.recommendation import Recommendation, metric_of
from hpo.automl.route_settings import RouteSettings
from hpo.automl.skill_trainer import SkillTrainer
from hpo.automl.workspace import WorkspaceFacts, objectives_of
from hpo.core.durable_files import sync_tree, write_atomically
from hpo.core.event_bus import EventBus
from hpo.core.events import Evaluated, Exported
from hpo.core.protocols import Executor, Trainer
from hpo.core.route_events import Compared
from hpo.core.selection import best_trial
from hpo.core.spec_dicts import merged
from hpo.core.text import metric_word, shell_word
from hpo.core.trial import TrialRecord, TrialState
from hpo.core.yaml_io import to_yaml
from hpo.results.handoff import HandoffError, export_trial, winner_facts, write_report
from hpo.run.checkpoint_retention import remove_checkpoints
from hpo.run.checkpoints import best_checkpoint
from hpo.run.ledger import Ledger
from hpo.run.next_commands import search_on
from hpo.run.plain_files import write_json
from hpo.run.run_dir import RunDir
from hpo.run.trial_specs import TrialSpecs
from hpo.searching.engine import Engine
from hpo.study.spec import StudySpec

logger = logging.getLogger(__name__)

TABLE_FILE = "comparison.md"
ELSEWHERE = "trials run on a platform and no final_eval_fn was passed"
_GIVEN = {"final_evaluation", "final_evaluation_metric"}
"""Settings that are a value of the best trial."""


class Ending(Protocol):
    """What is asked of a session whose search has ended (`hpo.automl.session.AutoMLSession`)."""

    run: RunDir
    study: StudySpec
    ledger: Ledger
    bus: EventBus
    trainer: Trainer
    skill_trainer: SkillTrainer
    facts: WorkspaceFacts
    route: RouteSettings

    def show(self, number: int) -> Recommendation:
        """A trial as the caller sees it."""

    def spec_of(self, record: TrialRecord) -> dict[str, Any]:
        """The full spec of a trial."""

    def specs_for(self, run: RunDir | None) -> TrialSpecs:
        """What makes the full specs of trials."""

    def make_executor(self) -> Executor:
        """What runs trials and single actions."""

    def measure_start(self, executor: Executor) -> dict[str, Any]:
        """Evaluate what the search starts from."""

    def evaluator(self, executor: Executor) -> Evaluator:
        """What evaluates checkpoints of the workspace."""

    def needed_trials(self) -> set[int]:
        """Trials whose checkpoints are still needed."""


def conclude(session: Ending, engine: Engine, executor: Executor) -> dict[str, Any] | None:
    """Evaluate the best trial, compare, write `best/`; all failed is a result too."""
    best = engine.best()
    checkpoint, final = _evaluate(session, best, executor)
    handed = None if best is None else _hand_on(session, engine, best, checkpoint, executor, final)
    _compare(session, best, final)
    if best is not None:
        _hand_over(session, best, checkpoint)
        _delete_others(session)
    return handed


def evaluate_again(session: Ending, changed: set[str]) -> None:
    """Take up what a later start of a search that is over says of its end.

    Args:
        session: of that start.
        changed: settings of evaluations that differ from those before.
    """
    if session.route.review_only:
        return
    best = best_trial(session.ledger.trials(), session.ledger.direction)
    if best is not None:
        _delete_others(session)
    if changed & RECORD_PLACES:
        place_records(session.run, session.facts)
    changed = changed - RECORD_PLACES
    hooks, (baseline, final) = session.route.hooks, read_evaluations(session.run)
    of_end = {name for name in changed if "baseline" not in name}
    is_known, is_measured = final.get("status") in KNOWN, final.get("status") == MEASURED
    wanted = session.facts.evaluations
    can_start = hooks.baseline_fn is not None and wanted.get("run_baseline", True)
    can_judge = hooks.final_eval_fn is not None and wanted.get("run_final_evaluation", True)
    is_asked = can_start and baseline.get("status") not in KNOWN
    if can_judge and best is not None and final.get("status") != PROVIDED:
        is_judged = not is_measured or final.get("source") == TRAINER
    else:  # what is known is not lost to a setting that gives no value
        is_judged = bool(of_end & _GIVEN or (of_end and not is_known))
    if not (is_asked or is_judged or changed - of_end):
        return
    with contextlib.closing(session.make_executor()) as executor:
        if is_asked or changed - of_end:
            session.measure_start(executor)
        if is_judged:
            _, final = _evaluate(session, best, executor)
    _compare(session, best, final)


def _evaluate(
    session: Ending, best: TrialRecord | None, executor: Executor
) -> tuple[Path | None, dict[str, Any]]:
    """Evaluate the best trial, and say so; returns its checkpoint and the evaluation."""
    rec = None if best is None else session.show(best.number)
    checkpoint = None
    if best is not None and rec is not None:
        goal = objectives_of(session.facts).primary
        checkpoint = best_checkpoint(
            session.run,
            best,
            session.ledger.direction,
            rec.results_dir,
            goal.metric,
            goal.direction,
        )
    final = run_final(
        session.evaluator(executor),
        session.route.hooks,
        rec,
        checkpoint,
        blocked="" if session.route.platform is None else ELSEWHERE,
    )
    value = final.get("metric_value")
    session.bus.emit(
        Evaluated(
            trial=None if rec is None else rec.id,
            split=_split_of(final),
            metrics=final.get("metrics") or {},
            metric_value=value,
            words="" if value is None else f"{metric_word(session.facts.metric)} {value:.4f}",
            status=final.get("status"),
            reason=final.get("reason"),
        )
    )
    return checkpoint, final


def _split_of(final: Mapping[str, Any]) -> str:
    """Where an evaluation was made: the best trial's own value is one of validation."""
    where = "validation" if final.get("status") == REUSED else final.get("data")
    return {"held_out": "held-out", "validation": "validation"}.get(str(where), "final")


def _compare(session: Ending, best: TrialRecord | None, final: dict[str, Any]) -> None:
    trials = [t for t in session.ledger.trials() if t.purpose == "search"]
    baseline, _ = read_evaluations(session.run)
    baseline |= apart(baseline, source_of_trials(session.facts))
    value_of = value_in(session.facts, session.ledger.direction)
    rows = comparison(trials, best, baseline, final, value_of)
    lines = render_comparison(rows, session.facts.metric)
    write_atomically(session.run.evaluations_dir / TABLE_FILE, "\n".join(lines) + "\n")
    session.bus.emit(Compared(rows=rows, metric=session.facts.metric))


def _hand_on(
    session: Ending,
    engine: Engine,
    best: TrialRecord,
    checkpoint: Path | None,
    executor: Executor,
    final: Mapping[str, Any],
) -> dict[str, Any]:
    """Write spec, checkpoint and, where the trainer can, the checked ONNX file."""
    exported = _export(session, best, executor)
    folder = session.run.best_dir
    folder.mkdir(parents=True, exist_ok=True)
    if "onnx" not in exported:
        text = to_yaml(merged(session.spec_of(best), {"results_dir": str(folder)}))
        write_atomically(folder / "spec.yaml", text)
    kept = folder / "model.ckpt"
    if checkpoint is not None and "onnx" not in exported:
        kept = folder / f"model{checkpoint.suffix}"
        shutil.copyfile(checkpoint, kept)
        sync_tree(folder)
    decided = session.specs_for(session.run).decided_of(session.spec_of(best))
    result = {
        **winner_facts(best, session.ledger, session.trainer, decided, folder, exported),
        "checkpoint": str(kept) if kept.is_file() else None,
        # Validation pictures chose the trial: a figure on them is none of a test.
        "test": final.get("metrics") if final.get("data") == "held_out" else None,
    }
    commands = next_commands(session, engine.ended_because)
    write_report(session.run, result, best, session.ledger, exported, commands)
    return result


def _hand_over(session: Ending, best: TrialRecord, checkpoint: Path | None) -> None:
    """Write the file by which other tools take over the best trial."""
    direction = session.ledger.direction
    record = best_record(
        [t for t in session.ledger.trials() if t.purpose == "search"],
        best,
        head={
            "experiment_id": session.facts.experiment_id or session.run.path.name,
            # Scores and direction are the objective score's where there are several objectives.
            "metric_name": session.trainer.monitoring_metric
            if session.facts.objectives
            else session.facts.metric,
            "direction": direction,
        },
        epochs_key=session.skill_trainer.epochs_key,
        checkpoint=checkpoint,
        score_of=lambda trial: metric_of(trial, direction),
        job_of=lambda trial: session.show(trial.number).job_id,
    )
    write_json(session.run.path / BEST_REC_FILE, record)


def _export(session: Ending, best: TrialRecord, executor: Executor) -> dict[str, Any]:
    """Export the winner where it was trained by a registered trainer on this machine."""
    if session.route.platform is not None or not session.skill_trainer.is_registered:
        return {}
    run, spec = session.run, session.spec_of(best)
    try:
        exported = export_trial(run, session.trainer, best, spec, executor, run.best_dir)
    except HandoffError as error:
        logger.warning("%s", error)
        return {"error": str(error)}
    session.bus.emit(Exported(trial=best.number, result=exported))
    return exported


def next_commands(session: Ending, because: str) -> list[str]:
    """What a user may want to do with a finished workspace.

    Args:
        session: that has searched in it.
        because: why the search ended.
    """
    run, skill = session.run, session.skill_trainer.skill
    actions = [action for action in ("export", "evaluate") if skill.command(action)]
    jobs = [f"hpo job {action} --parent {shell_word(run.place)}" for action in actions]
    steps = [run.command("status"), *jobs, search_on(run, session.study.budget, because)]
    return [step for step in steps if step]


def _delete_others(session: Ending) -> None:
    """Remove checkpoints that nothing can start from any more, where that is asked for here."""
    if session.route.platform is not None or not session.facts.delete_intermediate:
        return
    needed = session.needed_trials()
    for trial in session.ledger.trials():
        if trial.number not in needed and trial.state is not TrialState.RUNNING:
            with contextlib.suppress(OSError):
                remove_checkpoints(session.run, trial.number)
