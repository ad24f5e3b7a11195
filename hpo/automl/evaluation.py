"""Evaluates the start weights before a search and the best trial after it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo.automl.hooks import Hooks
from hpo.automl.metrics import is_monitored, monitoring_metrics
from hpo.automl.recommendation import Recommendation
from hpo.automl.skill_trainer import SkillTrainer
from hpo.automl.workspace import WorkspaceFacts
from hpo.core.metric_values import find_metric, number_of
from hpo.core.protocols import Executor
from hpo.core.spec_dicts import merged, nest
from hpo.core.trainer_extras import StartSaver
from hpo.core.trial_failures import error_line
from hpo.run.plain_files import read_object, write_json
from hpo.run.run_dir import RunDir
from hpo.study.skill import Skill
from hpo.study.weights import is_address

logger = logging.getLogger(__name__)

PROVIDED, MEASURED, REUSED = "provided", "measured", "reused_best"
MISSING, FAILURE, RAISED = "metric_missing", "failure", "callback_error"
UNAVAILABLE, SKIPPED, NOT_RUN = "unavailable", "skipped", "not_run"
KNOWN = (PROVIDED, MEASURED, REUSED)
"""Statuses of an evaluation that has a value."""
TRAINER = "trainer"
"""The source of one that nobody but the trainer has made."""
BASELINE_FILE, FINAL_FILE = "baseline.json", "final.json"
_START_FILE = "start.ckpt"
RECORD_PLACES = {
    "evaluation_records_dir", "baseline_record_path", "final_evaluation_record_path",
}  # fmt: skip
"""Settings that say where the records lie, and nothing of what is in them."""
_RECORD_NAMES = {BASELINE_FILE: "ptm_baseline.json", FINAL_FILE: "best_automl.json"}
"""What the records are called in `evaluation_records_dir`."""


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

    def outcome_of(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """Status and value of an evaluation, and why it has none where the table lacks it."""
        value = self.value_of(metrics)
        if value is not None:
            return {"status": MEASURED, "metric_value": value, "metrics": dict(metrics)}
        known = ", ".join(sorted(map(str, metrics))) or "no metric"
        reason = f"the trainer's evaluation gives no {self.facts.metric!r}; it gives {known}"
        return {"status": MISSING, "reason": reason, "metric_value": None, "metrics": dict(metrics)}

    def _filled(self, function: str, value: Path | str) -> dict[str, str]:
        return {name: str(value) for name in self.skill.fields("evaluate", function)}


def run_baseline(
    evaluator: Evaluator, hooks: Hooks | None = None, *, blocked: str = ""
) -> dict[str, Any]:
    """Say what the search starts from; kept in `evaluations/baseline.json`.

    A value that the caller gave comes first, then `baseline_fn`, then the trainer, which evaluates
    what every trial starts from.

    Args:
        evaluator: does it.
        hooks: for `baseline_fn`.
        blocked: why the trainer cannot evaluate, where that is known.

    Returns:
        `status` (`provided`, `measured`, `metric_missing`, `failure`, `unavailable` or `skipped`),
        `enabled`, `label`, `metric_name`, `metric_value`, `record_path`; `metrics` and `held_out`
        (the same on the data of the final evaluation, where they are others) where the trainer
        evaluated, and `failure_reason` where there is no value.
    """
    facts, record = evaluator.facts, evaluator.run.evaluations_dir / BASELINE_FILE
    kept, given = read_object(record), facts.evaluations.get("baseline_metric")
    if kept.get("status") in KNOWN and given in (None, kept.get("metric_value")):
        found = {name: value for name, value in kept.items() if name != "record_path"}
    else:
        label = "base checkpoint" if facts.base_checkpoint else "untrained start"
        found = {"label": label, **_baseline_of(evaluator, hooks or Hooks(), blocked)}
    return _write(record, found, facts, facts.evaluations.get("baseline_record_path"))


def _baseline_of(evaluator: Evaluator, hooks: Hooks, blocked: str) -> dict[str, Any]:
    wanted = evaluator.facts.evaluations
    if not wanted.get("run_baseline", True):
        return {"status": SKIPPED, "reason": "run_baseline is false"}
    if wanted.get("baseline_metric") is not None:
        value = wanted["baseline_metric"]
        return {"status": PROVIDED, "label": "as given", "metric_value": value}
    if hooks.baseline_fn is not None:
        return _by_baseline_fn(evaluator, hooks.baseline_fn)
    if blocked:
        return {"status": UNAVAILABLE, "reason": blocked}
    try:
        return _measured_start(evaluator)
    except Exception as error:
        logger.debug("the baseline was not evaluated", exc_info=True)
        return {"status": FAILURE, "reason": error_line(error)}


def _by_baseline_fn(
    evaluator: Evaluator, baseline_fn: Callable[[dict[str, Any]], Any]
) -> dict[str, Any]:
    try:
        answer = baseline_fn(merged(evaluator.base_spec))
    except Exception as error:
        logger.warning("baseline_fn failed", exc_info=True)
        return {"status": FAILURE, "reason": f"baseline_fn: {type(error).__name__}: {error}"}
    if isinstance(answer, Mapping):
        answer = answer.get("metric_value", answer.get(evaluator.facts.metric))
    if answer is None:
        return {"status": MISSING, "reason": "baseline_fn gave no value"}
    value = number_of(answer)
    if value is None:
        return {"status": FAILURE, "reason": f"baseline_fn: must give a number, got {answer!r}"}
    source = "baseline_fn"
    return {"status": MEASURED, "label": source, "metric_value": value, "source": source}


def _measured_start(evaluator: Evaluator) -> dict[str, Any]:
    """Evaluate what every trial starts from by the trainer."""
    facts = evaluator.facts
    base = "" if is_address(facts.base_checkpoint) else facts.base_checkpoint
    checkpoint = base or _start_weights(evaluator)
    if not checkpoint:
        reason = f"{evaluator.trainer.name}: the weights that its trials start from are not known"
        return {"status": UNAVAILABLE, "reason": reason}
    began = time.monotonic()
    metrics = evaluator.evaluate("baseline", evaluator.base_spec, checkpoint)
    result = {
        **evaluator.outcome_of(metrics),
        "checkpoint": str(checkpoint),
        "seconds": round(time.monotonic() - began, 2),
    }
    if facts.eval_keys:
        table = evaluator.evaluate(
            "baseline_held_out", evaluator.base_spec, checkpoint, facts.eval_keys
        )
        result["held_out"] = {"metric_value": evaluator.value_of(table), "metrics": table}
    return result


def _start_weights(evaluator: Evaluator) -> str:
    """Have the trainer write the weights that trial 0 starts from; empty where it cannot."""
    inner = evaluator.trainer.inner
    if not isinstance(inner, StartSaver):
        return ""
    path = evaluator.run.evaluations_dir / _START_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file():
        spec = merged(evaluator.base_spec, {"results_dir": str(path.parent)})
        evaluator.executor.call("save_start", spec, path)
    return str(path)


def plan_of_final(facts: WorkspaceFacts, *, has_fn: bool, is_on_platform: bool) -> str:
    """How the best trial will be evaluated, in one line for the review.

    Args:
        facts: of the workspace.
        has_fn: whether the caller passed `final_eval_fn`.
        is_on_platform: whether trials are jobs of a platform.
    """
    wanted = facts.evaluations
    if not wanted.get("run_final_evaluation", True):
        return "none: run_final_evaluation is false"
    if {"final_evaluation", "final_evaluation_metric"} & set(wanted):
        return "the value that was given"
    if has_fn:
        return "final_eval_fn, called with the best trial"
    if wanted.get("reuse_best_metric_for_final_evaluation"):
        return "the best trial's own value"
    if is_on_platform:
        return "none: trials run on a platform and no final_eval_fn was passed"
    if facts.eval_keys:
        return "the best trial's checkpoint, once, on data that no trial has seen"
    return f"the best trial's checkpoint on the validation data: {facts.no_eval_reason}"


def run_final(
    evaluator: Evaluator,
    hooks: Hooks,
    best: Recommendation | None,
    checkpoint: Path | None,
    *,
    blocked: str = "",
) -> dict[str, Any]:
    """Evaluate the best trial once; kept in `evaluations/final.json`.

    What the caller gave comes first, then `final_eval_fn`, then the best value again where that was
    asked for, then the trainer; else it is unavailable.

    Args:
        evaluator: does it.
        hooks: for `final_eval_fn`.
        best: the best trial; None when all have failed.
        checkpoint: of its best epoch, where it lies on this machine.
        blocked: why the trainer cannot evaluate, where that is known.
    """
    facts = evaluator.facts
    found = _final_of(evaluator, hooks, best, checkpoint, blocked)
    record = evaluator.run.evaluations_dir / FINAL_FILE
    return _write(record, found, facts, facts.evaluations.get("final_evaluation_record_path"))


def _final_of(
    evaluator: Evaluator,
    hooks: Hooks,
    best: Recommendation | None,
    checkpoint: Path | None,
    blocked: str,
) -> dict[str, Any]:
    wanted = evaluator.facts.evaluations
    if not wanted.get("run_final_evaluation", True):
        return {"status": SKIPPED, "reason": "run_final_evaluation is false"}
    if wanted.get("final_evaluation") is not None:
        given = dict(wanted["final_evaluation"])
        return {"source": "final_evaluation", **given, **_provided(given.get("metric_value"))}
    if wanted.get("final_evaluation_metric") is not None:
        value = wanted["final_evaluation_metric"]
        return {"source": "final_evaluation_metric", **_provided(value)}
    if best is None:
        return {"status": NOT_RUN, "reason": "no trial has a result"}
    if hooks.final_eval_fn is not None:
        return _by_caller(hooks.final_eval_fn, best)
    if wanted.get("reuse_best_metric_for_final_evaluation"):
        reason = "the best trial's own value"
        return {"status": REUSED, "reason": reason, "metric_value": best.metric_value}
    reason = blocked or _why_not(evaluator, checkpoint)
    if reason or checkpoint is None:
        return {"status": UNAVAILABLE, "reason": reason}
    return _by_trainer(evaluator, best, checkpoint)


def _provided(value: Any) -> dict[str, Any]:
    number = number_of(value)
    if number is None:
        return {"status": MISSING, "reason": f"metric_value: must be a number, got {value!r}"}
    return {"status": PROVIDED, "metric_value": number}


def _by_trainer(evaluator: Evaluator, best: Recommendation, checkpoint: Path) -> dict[str, Any]:
    data = evaluator.facts.eval_keys
    try:
        metrics = evaluator.evaluate("final", best.full_spec, checkpoint, data)
    except Exception as error:
        logger.debug("the best trial was not evaluated", exc_info=True)
        return {"status": UNAVAILABLE, "reason": f"it failed: {error_line(error)}"}
    where = "held-out data" if data else f"validation data ({evaluator.facts.no_eval_reason})"
    return {
        "reason": f"evaluated on the {where}",
        **evaluator.outcome_of(metrics),
        "source": TRAINER,
        "data": "held_out" if data else "validation",
        "job_id": best.job_id,
    }


def _by_caller(
    final_eval_fn: Callable[[Recommendation, str], Any], best: Recommendation
) -> dict[str, Any]:
    source = "final_eval_fn"
    try:
        answer = final_eval_fn(best, best.job_id or "")
    except Exception as error:
        logger.warning("final_eval_fn failed", exc_info=True)
        return {"status": RAISED, "source": source, "reason": f"{type(error).__name__}: {error}"}
    facts = dict(answer) if isinstance(answer, Mapping) else {"metric_value": answer}
    value = number_of(facts.get("metric_value"))
    if value is None:
        reason = "final_eval_fn gave no metric_value that is a finite number"
        return {**facts, "status": MISSING, "source": source, "reason": reason,
                "metric_value": None}  # fmt: skip
    return {
        **{"source": source, "job_id": best.job_id, "reason": source},
        **facts,
        "status": MEASURED,
        "metric_value": value,
    }


def _why_not(evaluator: Evaluator, checkpoint: Path | None) -> str:
    if "evaluate" not in evaluator.skill.actions and not evaluator.trainer.is_registered:
        return "the skill has no evaluate action"
    if not evaluator.skill.fields("evaluate", "parent_model"):
        return "the skill names no field that takes the checkpoint to evaluate"
    if checkpoint is None:
        return "the best trial's checkpoint is not known"
    return ""


def read_evaluations(run: RunDir) -> tuple[dict[str, Any], dict[str, Any]]:
    """Baseline and final evaluation as they were kept; empty where there is none."""
    folder = run.evaluations_dir
    return read_object(folder / BASELINE_FILE), read_object(folder / FINAL_FILE)


def place_records(run: RunDir, facts: WorkspaceFacts) -> None:
    """Write the kept records once more where they are wanted now; nothing is evaluated."""
    names = (BASELINE_FILE, "baseline_record_path"), (FINAL_FILE, "final_evaluation_record_path")
    for (file, told), kept in zip(names, read_evaluations(run), strict=True):
        if kept:
            found = {name: value for name, value in kept.items() if name != "record_path"}
            _write(run.evaluations_dir / file, found, facts, facts.evaluations.get(told))


def _write(
    path: Path, found: Mapping[str, Any], facts: WorkspaceFacts, told: Any = None
) -> dict[str, Any]:
    """Complete an evaluation and keep it."""
    result = {
        "enabled": found["status"] != SKIPPED,
        "metric_name": facts.metric,
        "metric_value": None,
        **found,
    }
    if result["status"] not in KNOWN:
        result["failure_reason"] = result.get("reason", "")
    folder = facts.evaluations.get("evaluation_records_dir")
    copy = Path(folder) / _RECORD_NAMES[path.name] if folder else None
    result["record_path"] = str(result.get("record_path") or told or copy or path)
    for place in filter(None, (path, copy)):
        write_json(place, result)
    return result
