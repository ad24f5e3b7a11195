"""Builds the route's result: best trial, history, comparison table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hpo.automl.evaluation import (
    KNOWN,
    MEASURED,
    NOT_RUN,
    REUSED,
    TRAINER,
    read_evaluations,
)
from hpo.automl.feedback import read_feedback
from hpo.automl.hooks import Show
from hpo.automl.objectives import from_list, pareto_front
from hpo.automl.recommendation import (
    CANCELED,
    SUCCESS,
    Recommendation,
    metric_of,
    status_word,
    values_of,
)
from hpo.automl.workspace import WorkspaceFacts, objectives_of
from hpo.core.metric_values import number_of
from hpo.core.selection import best_trial
from hpo.core.text import count_of, markdown_table
from hpo.core.trial import Direction, TrialRecord, TrialState
from hpo.run.checkpoints import best_checkpoint
from hpo.run.ledger import Ledger
from hpo.run.run_dir import RunDir

NOT_COMPARED = "not_compared"
"""Key of the reason why an evaluation is not compared with the other."""
NOT_DONE = {"status": NOT_RUN, "reason": "the search has not ended"}


def build_result(
    run: RunDir,
    ledger: Ledger,
    facts: WorkspaceFacts,
    show: Show,
    outline: Show,
    *,
    ended_because: str = "",
) -> dict[str, Any]:
    """Everything that `run` returns; plain data.

    Args:
        run: the workspace.
        ledger: the study.
        facts: constants of the search.
        show: shows a trial.
        outline: shows a trial without its full spec.
        ended_because: why the search has ended.

    Returns:
        `best` (rec_id, specs, status, metric_value, objective_score, objective_values, adjustments,
        job_id, checkpoint, epochs, full_spec) or None, `progress`, `history`, `baseline`,
        `final_evaluation`, `comparison`, `context` (better values after fewer epochs), `warnings`,
        `cause` (why all have failed), `workspace_path`, and with several objectives `pareto_front`.
    """
    trials = [t for t in ledger.trials() if t.purpose == "search"]
    best = best_trial(ledger.trials(), ledger.direction)
    baseline, final = read_evaluations(run)
    own = source_of_trials(facts)
    baseline |= apart(baseline, own)
    ended = (final or dict(NOT_DONE)) | apart(baseline, _source_of(final, own))
    notes = read_feedback(run.path)
    history = [_entry(t, outline(t.number), notes.get(t.number)) for t in trials]
    several = {} if not facts.objectives else {"pareto_front": front_of(history, facts)}
    shown = None if best is None else _best(run, ledger, best, facts, show)
    fallbacks = sum(t.is_fallback for t in trials)
    return {
        "best": shown,
        "progress": {
            "completed": sum(t.state.is_finished for t in trials),
            "total": facts.total if facts.total is not None else len(trials),
            "best_metric": shown["metric_value"] if shown else None,
            "best_rec_id": None if best is None else best.number,
            "algorithm": facts.algorithm,
            **_progress_of_several(shown, facts, several.get("pareto_front")),
        },
        "history": history,
        "baseline": baseline | {"comparison_to_best": _unless_apart(baseline, compared(
            shown and shown["metric_value"], baseline.get("metric_value"), facts.direction
        ))},
        "final_evaluation": ended | {"comparison_to_baseline": _unless_apart(ended, compared(
            final.get("metric_value"), _alike(baseline, final), facts.direction
        ))},
        "comparison": comparison(trials, best, baseline, final, value_in(facts, ledger.direction)),
        "context": _context(trials, best, ledger.direction),
        "warnings": [*facts.warnings, *_of_fallbacks(fallbacks, len(trials), facts)],
        "fallbacks": fallbacks,
        "cause": root_cause(trials),
        "ended_because": ended_because,
        "metric": facts.metric,
        "direction": facts.direction,
        "workspace_path": str(run.path),
        **several,
    }  # fmt: skip


def source_of_trials(facts: WorkspaceFacts) -> str:
    """The caller's function that trials are valued by; empty where the trainer does it."""
    return "eval_fn" if facts.has_eval_fn else ""


def _source_of(final: Mapping[str, Any], of_trials: str) -> str:
    """What the caller gave the final value by; empty where the trainer measured it."""
    if final.get("status") == REUSED:
        return of_trials
    source = final.get("source", TRAINER)
    return "" if source == TRAINER else str(source)


def apart(baseline: Mapping[str, Any], source: str) -> dict[str, str]:
    """Say why a value that the caller gave is not compared with the trainer's own baseline.

    A baseline that the caller gave, or his `baseline_fn`, is there to be compared with.

    Args:
        baseline: as it was kept.
        source: what the caller gave the value by; empty for one of the trainer.
    """
    if not source or baseline.get("status") != MEASURED or baseline.get("source"):
        return {}
    return {
        NOT_COMPARED: f"not compared: the trainer measured the baseline, {source} what it would be "
        "compared with; baseline_fn measures both alike"
    }


def _unless_apart(told: Mapping[str, Any], found: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if NOT_COMPARED in told else found


def _alike(baseline: Mapping[str, Any], final: Mapping[str, Any]) -> float | None:
    """The baseline's value on the data of the final evaluation."""
    if final.get("data") == "held_out":
        value: float | None = (baseline.get("held_out") or {}).get("metric_value")
        return value
    return baseline.get("metric_value")


def compared(new: Any, old: Any, direction: str) -> dict[str, Any] | None:
    """By how much a value is better than another; None where one of them is unknown.

    Args:
        new: the later value.
        old: what it is compared with.
        direction: `maximize` or `minimize`.

    Returns:
        `delta` (above 0 when `new` is better, whatever the direction), `improved`, `direction`.
    """
    if number_of(new) is None or number_of(old) is None:
        return None
    delta = (float(new) - float(old)) * Direction(direction).sign
    return {"delta": delta, "improved": delta > 0, "direction": direction}


def front_of(history: Sequence[Mapping[str, Any]], facts: WorkspaceFacts) -> list[dict[str, Any]]:
    """The Pareto front of successful trials, in the published shape."""
    rows = [row for row in history if row["status"] == SUCCESS]
    return [
        {
            "rec_id": row["rec_id"],
            "specs": row["specs"],
            "metric_value": row["metric"],
            "objective_score": row["objective_score"],
            "objective_values": row["objective_values"],
        }
        for row in pareto_front(rows, from_list(facts.objectives))
    ]


def front_of_trials(
    trials: Sequence[TrialRecord], direction: str, facts: WorkspaceFacts
) -> list[int]:
    """Numbers of the trials on the Pareto front; empty with one objective."""
    if not facts.objectives:
        return []
    rows = [
        {"rec_id": trial.number, "objective_values": values_of(trial, direction, facts)}
        for trial in trials
        if trial.purpose == "search" and trial.state.is_finished
    ]
    return [int(row["rec_id"]) for row in pareto_front(rows, from_list(facts.objectives))]


def _progress_of_several(
    best: Mapping[str, Any] | None, facts: WorkspaceFacts, front: Sequence[Any] | None
) -> dict[str, Any]:
    if front is None:
        return {}
    return {
        "best_objective_score": best["objective_score"] if best else None,
        "objectives": list(facts.objectives),
        "pareto_front_size": len(front),
    }


def _of_fallbacks(count: int, trials: int, facts: WorkspaceFacts) -> list[str]:
    """A warning where another sampler proposed in place of a language model."""
    if not count:
        return []
    return [
        f"{facts.algorithm}: another sampler proposed {count} of "
        f"{count_of(trials, 'configuration')}, as the model's endpoint failed"
    ]


def _best(
    run: RunDir, ledger: Ledger, best: TrialRecord, facts: WorkspaceFacts, show: Show
) -> dict[str, Any]:
    rec = show(best.number)
    measured = best.best_measurement(ledger.direction)
    goal = objectives_of(facts).primary
    checkpoint = best_checkpoint(
        run, best, ledger.direction, rec.results_dir, goal.metric, goal.direction
    )
    return {
        "rec_id": best.number,
        "specs": dict(best.params),
        "status": rec.status,
        "metric_value": rec.metric_value,
        "objective_score": rec.objective_score,
        "objective_values": dict(rec.objective_values),
        "adjustments": rec.adjustments,
        "job_id": rec.job_id,
        "checkpoint": None if checkpoint is None else str(checkpoint),
        "epochs": best.epochs,
        "best_epoch": measured.epoch if measured else None,
        "full_spec": rec.full_spec,
        "spec_file": str(run.trial_dir(best.number) / "spec.yaml"),
    }


def value_in(facts: WorkspaceFacts, direction: str) -> Callable[[TrialRecord], float | None]:
    """What gives a trial's value of the primary metric; None for one without.

    Args:
        facts: of the workspace.
        direction: of the search.
    """
    return lambda trial: values_of(trial, direction, facts).get(facts.metric)


def _entry(trial: TrialRecord, rec: Recommendation, feedback: Any) -> dict[str, Any]:
    word = status_word(trial, is_live=False)
    is_known = rec.metric_value is not None
    entry: dict[str, Any] = {
        "rec_id": trial.number,
        "job_id": rec.job_id,
        "metric": rec.metric_value,
        "objective_score": rec.objective_score if is_known else None,
        "objective_values": dict(rec.objective_values),
        "status": word if trial.state.is_finished else CANCELED,
        "failure_reason": None,
        "adjustments": rec.adjustments,
        "specs": dict(trial.params),
        "epochs": trial.epochs,
        "seconds": round(trial.seconds, 3),
    }
    if trial.start_from is not None:
        entry["resumed_from"] = {"rec_id": trial.start_from[0], "epoch": trial.start_from[1]}
    if trial.state is TrialState.PRUNED:
        entry["stopped_early"] = True
    if feedback is not None:
        entry["feedback"] = feedback
    if trial.error:
        entry["failure_reason"] = trial.error["message"]
        entry["cause"] = trial.error["kind"]
    return entry


def _context(
    trials: Sequence[TrialRecord], best: TrialRecord | None, direction: str
) -> list[dict[str, Any]]:
    """Better values at a smaller budget than the winner's: told, not chosen."""
    value = None if best is None else metric_of(best, direction)
    if best is None or value is None:
        return []
    sign = Direction(direction).sign
    rows = []
    for trial in trials:
        other = metric_of(trial, direction)
        if other is not None and trial.epochs < best.epochs and sign * other > sign * value:
            rows.append({"rec_id": trial.number, "metric": other, "epochs": trial.epochs})
    return rows


def root_cause(trials: Sequence[TrialRecord]) -> str:
    """The cause that all failed trials share, where every trial has failed; else empty."""
    if not trials or any(t.state is not TrialState.FAILED for t in trials):
        return ""
    causes = [(t.error or {}).get("message", "unknown") for t in trials]
    most = max(set(causes), key=lambda cause: (causes.count(cause), -causes.index(cause)))
    return f"{causes.count(most)} of {count_of(len(causes), 'trial')} failed with: {most}"


def comparison(
    trials: Sequence[TrialRecord],
    best: TrialRecord | None,
    baseline: Mapping[str, Any],
    final: Mapping[str, Any],
    value_of: Callable[[TrialRecord], float | None],
) -> list[dict[str, Any]]:
    """Rows of the table: the baseline, every trial, the best; `value` is the primary metric."""
    rows: list[dict[str, Any]] = []
    if baseline:
        held_out = (baseline.get("held_out") or {}).get("metric_value")
        rows.append(
            {
                "what": f"baseline ({baseline.get('label', '')})",
                "value": baseline.get("metric_value"),
                "held_out": held_out,
                "note": baseline.get(NOT_COMPARED) or baseline.get("reason", ""),
            }
        )
    first = next((trial for trial in trials if trial.number == 0), None)
    for trial in trials:
        is_default = first is not None and trial.is_twin_of(first)
        rows.append(
            {
                "what": f"trial {trial.number}" + (" (default)" if is_default else ""),
                "value": value_of(trial),
                "held_out": None,
                "epochs": trial.epochs,
                "note": (trial.error or {}).get("message", "")
                or ("stopped early" if trial.state is TrialState.PRUNED else ""),
                "is_best": best is not None and trial.number == best.number,
            }
        )
    if best is not None:
        measured = final.get("status") in KNOWN
        rows.append(
            {
                "what": f"best: trial {best.number}",
                "value": value_of(best),
                "held_out": final.get("metric_value") if measured else None,
                "epochs": best.epochs,
                "note": "" if measured else str(final.get("reason", "")),
            }
        )
    return rows


def render_comparison(rows: Sequence[Mapping[str, Any]], metric: str) -> list[str]:
    """The table as Markdown lines, which read as well on a terminal, with notes below it."""
    has_final = any(row.get("held_out") is not None for row in rows)
    head = ["", metric, *(["final evaluation"] if has_final else []), "epochs"]
    table = []
    for row in rows:
        cells = [f"{row['what']}{' *' if row.get('is_best') else ''}", _number(row.get("value"))]
        cells += [_number(row.get("held_out"))] if has_final else []
        table.append([*cells, row.get("epochs", "")])
    notes = [f"- {row['what']}: {row['note']}" for row in rows if row.get("note")]
    lines = markdown_table(head, table, is_aligned=True)
    return [*lines, *(["", *notes] if notes else [])]


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, int | float) else ""
