"""Evaluates the start weights before a search and the best trial after it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo.automl.hooks import Hooks, as_number
from hpo.automl.metrics import find_metric, is_monitored, monitoring_metrics
from hpo.automl.recommendation import Recommendation
from hpo.automl.skill_trainer import SkillTrainer
from hpo.automl.workspace import WorkspaceFacts
from hpo.core.errors import HpoError
from hpo.core.protocols import Executor
from hpo.core.spec_dicts import merged, nest
from hpo.core.trainer_extras import StartSaver
from hpo.core.trial_failures import describe_failure
from hpo.run.run_dir import RunDir, write_atomically
from hpo.study.skill import Skill
from hpo.study.weights import is_address

logger = logging.getLogger(__name__)

MEASURED, UNAVAILABLE, SKIPPED, FAILED = "measured", "unavailable", "skipped", "failed"
BASELINE_FILE, FINAL_FILE = "baseline.json", "final.json"
START_FILE = "start.ckpt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluator:
    """Evaluates checkpoints of one workspace by its trainer.

    Args:
        run: the workspace.
        trainer: the skill's trainer.
        executor: where the trainer's work is done.
        facts: the workspace's constants.
        base_spec: the full spec of a trial before its parameters are set.
    """

    run: RunDir
    trainer: SkillTrainer
    executor: Executor
    facts: WorkspaceFacts
    base_spec: Mapping[str, Any]

    @property
    def skill(self) -> Skill:
        """The skill folder."""
        return self.trainer.skill

    def evaluate(
        self, name: str, spec: Mapping[str, Any], checkpoint: Path | str,
        data: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Evaluate one checkpoint and return the table of metrics; its folder is `name`."""
        folder = self.run.evaluations_dir / name
        folder.mkdir(parents=True, exist_ok=True)
        full = merged(
            spec,
            nest(dict(data or {})),
            nest(self._filled("parent_model", checkpoint)),
            nest(self._filled("output_dir", folder)),
        )
        return dict(self.executor.call("evaluate", full)["metrics"])

    def value_of(self, metrics: Mapping[str, Any]) -> float | None:
        """The search's own metric in a table of an evaluation."""
        inner = self.trainer.inner
        if is_monitored(self.facts.metric, inner, monitoring_metrics(self.skill, inner)):
            value = find_metric(metrics, inner.monitoring_metric)
            if value is not None:
                return value
        return find_metric(metrics, self.facts.metric)

    def _filled(self, function: str, value: Path | str) -> dict[str, str]:
        return {name: str(value) for name in self.skill.fields("evaluate", function)}


def run_baseline(evaluator: Evaluator) -> dict[str, Any]:
    """Evaluate what every trial starts from; kept in `evaluations/baseline.json`.

    Returns:
        `status` (`measured`, `unavailable` or `failed`), `label`, `metric_value`, `metrics`,
        `held_out` (the same on the data of the final evaluation, where they are others),
        `record_path`, or `reason`.
    """
    run, facts = evaluator.run, evaluator.facts
    record = run.evaluations_dir / BASELINE_FILE
    kept = _read(record)
    if kept.get("status") == MEASURED:
        return kept
    label = "base checkpoint" if facts.base_checkpoint else "untrained start"
    try:
        base = "" if is_address(facts.base_checkpoint) else facts.base_checkpoint
        checkpoint = base or _start_weights(evaluator)
        if not checkpoint:
            reason = f"{evaluator.trainer.name} starts from nothing that could be evaluated"
            return _write(record, {"status": UNAVAILABLE, "label": label, "reason": reason})
        began = time.monotonic()
        metrics = evaluator.evaluate("baseline", evaluator.base_spec, checkpoint)
        result = {
            "status": MEASURED,
            "label": label,
            "checkpoint": str(checkpoint),
            "metric_value": evaluator.value_of(metrics),
            "metrics": metrics,
            "seconds": round(time.monotonic() - began, 2),
        }
        if facts.eval_keys:
            table = evaluator.evaluate(
                "baseline_held_out", evaluator.base_spec, checkpoint, facts.eval_keys
            )
            result["held_out"] = {"metric_value": evaluator.value_of(table), "metrics": table}
    except Exception as error:
        logger.debug("the baseline was not evaluated", exc_info=True)
        return _write(record, {"status": FAILED, "label": label, "reason": line_of(error)})
    return _write(record, result)


def _start_weights(evaluator: Evaluator) -> str:
    """Have the trainer write the weights that trial 0 starts from; empty where it cannot."""
    inner = evaluator.trainer.inner
    if not isinstance(inner, StartSaver):
        return ""
    path = evaluator.run.evaluations_dir / START_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file():
        spec = merged(evaluator.base_spec, {"results_dir": str(path.parent)})
        evaluator.executor.call("save_start", spec, path)
    return str(path)


def run_final(
    evaluator: Evaluator,
    hooks: Hooks,
    best: Recommendation | None,
    checkpoint: Path | None,
    *,
    blocked: str = "",
) -> dict[str, Any]:
    """Evaluate the best trial once; kept in `evaluations/final.json`.

    The caller's `final_eval_fn` wins; else the trainer evaluates itself; else it is skipped.

    Args:
        evaluator: does it.
        hooks: for `final_eval_fn`.
        best: the best trial; None when all have failed.
        checkpoint: of its best epoch, where it lies on this machine.
        blocked: why the trainer cannot evaluate, where that is known.
    """
    record = evaluator.run.evaluations_dir / FINAL_FILE
    if best is None:
        return _write(record, {"status": SKIPPED, "reason": "no trial has a result"})
    if hooks.final_eval_fn is not None:
        return _write(record, _by_caller(hooks, best))
    if not evaluator.facts.run_final_evaluation:
        return _write(record, {"status": SKIPPED, "reason": "run_final_evaluation is false"})
    reason = blocked or _why_not(evaluator, checkpoint)
    if reason or checkpoint is None:
        return _write(record, {"status": SKIPPED, "reason": reason})
    data = evaluator.facts.eval_keys
    try:
        metrics = evaluator.evaluate("final", best.full_spec, checkpoint, data)
    except Exception as error:
        logger.debug("the best trial was not evaluated", exc_info=True)
        return _write(record, {"status": FAILED, "reason": line_of(error)})
    where = "held-out data" if data else f"validation data ({evaluator.facts.no_eval_reason})"
    return _write(
        record,
        {
            "status": MEASURED,
            "reason": f"evaluated on the {where}",
            "source": "trainer",
            "data": "held_out" if data else "validation",
            "metric_value": evaluator.value_of(metrics),
            "metrics": metrics,
            "job_id": best.job_id,
        },
    )


def _by_caller(hooks: Hooks, best: Recommendation) -> dict[str, Any]:
    assert hooks.final_eval_fn is not None  # noqa: S101 - told by the caller
    try:
        answer = hooks.final_eval_fn(best, best.job_id)
    except Exception as error:
        logger.warning("final_eval_fn failed", exc_info=True)
        return {"status": FAILED, "reason": f"final_eval_fn: {type(error).__name__}: {error}"}
    facts = dict(answer) if isinstance(answer, Mapping) else {"metric_value": answer}
    value = as_number(facts.get("metric_value"))
    if value is None:
        return {**facts, "status": FAILED, "reason": "final_eval_fn gave no metric_value"}
    return {
        **facts,
        "status": MEASURED,
        "reason": "final_eval_fn",
        "source": "final_eval_fn",
        "metric_value": value,
        "job_id": facts.get("job_id", best.job_id),
    }


def _why_not(evaluator: Evaluator, checkpoint: Path | None) -> str:
    if "evaluate" not in evaluator.skill.actions and not evaluator.trainer.is_registered:
        return "the skill has no evaluate action"
    if not evaluator.skill.fields("evaluate", "parent_model"):
        return "the skill names no field that takes the checkpoint to evaluate"
    if checkpoint is None:
        return "the best trial's checkpoint is not known"
    return ""


def line_of(error: Exception) -> str:
    """One line about an error of a worker's call, wherever the worker was."""
    return str(error) if isinstance(error, HpoError) else describe_failure(error)["message"]


def read_evaluations(run: RunDir) -> tuple[dict[str, Any], dict[str, Any]]:
    """Baseline and final evaluation as they were kept; empty where there is none."""
    return _read(run.evaluations_dir / BASELINE_FILE), _read(run.evaluations_dir / FINAL_FILE)


def _write(path: Path, result: dict[str, Any]) -> dict[str, Any]:
    result = {**result, "record_path": result.get("record_path", str(path))}
    write_atomically(path, json.dumps(result, indent=1, default=str) + "\n")
    return result


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
