"""Builds the route's result: best trial, history, comparison table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpo.automl.evaluation import MEASURED, SKIPPED, read_evaluations
from hpo.automl.hooks import Show
from hpo.automl.recommendation import CANCELED, metric_of, status_word
from hpo.automl.workspace import WorkspaceFacts
from hpo.core.errors import RunError
from hpo.core.selection import best_trial
from hpo.core.trial import TrialRecord, TrialState
from hpo.jobs.checkpoints import choose_checkpoint
from hpo.run.ledger import Ledger
from hpo.run.run_dir import RunDir

NOT_DONE = {"status": SKIPPED, "reason": "the search has not ended"}


def build_result(
    run: RunDir, ledger: Ledger, facts: WorkspaceFacts, show: Show, *, ended_because: str = ""
) -> dict[str, Any]:
    """Everything that `run` returns; plain data.

    Returns:
        `best` (rec_id, specs, metric_value, job_id, checkpoint, epochs, full_spec) or None,
        `progress`, `history`, `final_evaluation`, `baseline`, `comparison`, `context` (better
        values after fewer epochs), `warnings`, `cause` (why all have failed) and `workspace_path`.
    """
    trials = [t for t in ledger.trials() if t.purpose == "search"]
    best = best_trial(ledger.trials(), ledger.direction)
    baseline, final = read_evaluations(run)
    value = None if best is None else metric_of(best, ledger.direction)
    return {
        "best": None if best is None else _best(run, ledger, best, show),
        "progress": {
            "completed": sum(t.state.is_finished for t in trials),
            "total": facts.total if facts.total is not None else len(trials),
            "best_metric": value,
            "best_rec_id": None if best is None else best.number,
            "algorithm": facts.algorithm,
        },
        "history": [_entry(t, ledger.direction, facts) for t in trials],
        "final_evaluation": final or dict(NOT_DONE),
        "baseline": baseline,
        "comparison": comparison(trials, best, ledger.direction, baseline, final),
        "context": _context(trials, best, ledger.direction),
        "warnings": list(facts.warnings),
        "cause": root_cause(trials),
        "ended_because": ended_because,
        "metric": facts.metric,
        "direction": facts.direction,
        "workspace_path": str(run.path),
    }


def _best(run: RunDir, ledger: Ledger, best: TrialRecord, show: Show) -> dict[str, Any]:
    rec = show(best.number)
    measured = best.best_measurement(ledger.direction)
    checkpoint = find_best_checkpoint(run, best, ledger.direction, rec.results_dir)
    return {
        "rec_id": best.number,
        "specs": dict(best.params),
        "metric_value": rec.metric,
        "job_id": rec.job_id,
        "checkpoint": None if checkpoint is None else str(checkpoint),
        "epochs": best.epochs,
        "best_epoch": measured.epoch if measured else None,
        "full_spec": rec.full_spec,
        "spec_file": str(run.trial_dir(best.number) / "spec.yaml"),
    }


def find_best_checkpoint(
    run: RunDir, trial: TrialRecord, direction: str, results_dir: str = ""
) -> Path | None:
    """The checkpoint of a trial's best epoch, where it lies on this machine; never a guess."""
    own = run.trial_dir(trial.number) / "ckpt" / "best.ckpt"
    if own.is_file():
        return own
    measured = trial.best_measurement(direction)
    folder = Path(results_dir) if results_dir and "://" not in results_dir else None
    for place in (run.trial_dir(trial.number), folder):
        if place is None or not place.is_dir():
            continue
        if measured is not None and measured.checkpoint:
            told = place / measured.checkpoint
            if told.is_file():
                return told
        for wanted in (measured.epoch if measured else "best_model", "best_model"):
            try:
                return choose_checkpoint(place, wanted)[0]
            except RunError:
                continue
    return None


def _entry(trial: TrialRecord, direction: str, facts: WorkspaceFacts) -> dict[str, Any]:
    word = status_word(trial, is_live=False)
    entry: dict[str, Any] = {
        "rec_id": trial.number,
        "metric": metric_of(trial, direction),
        "status": word if trial.state.is_finished else CANCELED,
        "specs": dict(trial.params),
        "epochs": trial.epochs,
        "seconds": round(trial.seconds, 3),
    }
    if trial.start_from is not None:
        entry["resumed_from"] = {"rec_id": trial.start_from[0], "epoch": trial.start_from[1]}
    if trial.state is TrialState.PRUNED:
        entry["stopped_early"] = True
    if trial.error:
        entry["reason"] = trial.error["message"]
        entry["cause"] = trial.error["kind"]
    adjustments = [
        *facts.adjustments,
        *(facts.first_adjustments if trial.number == 0 else ()),
    ]
    if adjustments:
        entry["adjustments"] = adjustments
    return entry


def _context(
    trials: Sequence[TrialRecord], best: TrialRecord | None, direction: str
) -> list[dict[str, Any]]:
    """Better values at a smaller budget than the winner's: told, not chosen."""
    value = None if best is None else metric_of(best, direction)
    if best is None or value is None:
        return []
    sign = 1.0 if direction == "maximize" else -1.0
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
    return f"{causes.count(most)} of {len(causes)} trials failed with: {most}"


def comparison(
    trials: Sequence[TrialRecord],
    best: TrialRecord | None,
    direction: str,
    baseline: Mapping[str, Any],
    final: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Rows of the table: the baseline, every trial, the best; `value` is the search's metric."""
    rows: list[dict[str, Any]] = []
    if baseline:
        held_out = (baseline.get("held_out") or {}).get("metric_value")
        rows.append(
            {
                "what": f"baseline ({baseline.get('label', '')})",
                "value": baseline.get("metric_value"),
                "held_out": held_out,
                "note": baseline.get("reason", ""),
            }
        )
    for trial in trials:
        rows.append(
            {
                "what": f"trial {trial.number}" + (" (default)" if trial.number == 0 else ""),
                "value": metric_of(trial, direction),
                "held_out": None,
                "epochs": trial.epochs,
                "note": (trial.error or {}).get("message", "")
                or ("stopped early" if trial.state is TrialState.PRUNED else ""),
                "is_best": best is not None and trial.number == best.number,
            }
        )
    if best is not None:
        measured = final.get("status") == MEASURED
        rows.append(
            {
                "what": f"best: trial {best.number}",
                "value": metric_of(best, direction),
                "held_out": final.get("metric_value") if measured else None,
                "epochs": best.epochs,
                "note": "" if measured else str(final.get("reason", "")),
            }
        )
    return rows


def render_comparison(rows: Sequence[Mapping[str, Any]], metric: str) -> list[str]:
    """The table as Markdown lines, which read as well on a terminal."""
    has_final = any(row.get("held_out") is not None for row in rows)
    head = ["", metric, *(["final evaluation"] if has_final else []), "epochs", "note"]
    table = [head]
    for row in rows:
        cells = [f"{row['what']}{' *' if row.get('is_best') else ''}", _number(row.get("value"))]
        cells += [_number(row.get("held_out"))] if has_final else []
        cells += [str(row.get("epochs", "")), str(row.get("note") or "")]
        table.append(cells)
    widths = [max(len(line[i]) for line in table) for i in range(len(head))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
             for line in table]  # fmt: skip
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return [lines[0], rule, *lines[1:]]


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, int | float) else ""
