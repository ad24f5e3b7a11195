"""`Recommendation`: one configuration as callers of the AutoML route see it.

It is a mapping of its searched values, so `rec["train.lr"]`, `dict(rec)` and `rec.items()` work,
and it has attributes beside: `rec.id`, `rec.job_id`, `rec.result` and so on.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hpo.automl.workspace import WorkspaceFacts
from hpo.core.trial import TrialRecord, TrialState


class JobStates:
    """States of a job, as the published package names them."""

    pending = "pending"
    started = "started"
    running = "running"
    success = "success"
    failure = "failure"
    error = "error"
    """The same as `failure`."""
    done = "done"
    """The same as `success`."""
    canceled = "canceled"
    canceling = "canceling"


PENDING, STARTED, RUNNING = JobStates.pending, JobStates.started, JobStates.running
SUCCESS, FAILURE, CANCELED = JobStates.success, JobStates.failure, JobStates.canceled

WORDS: dict[str, str] = {
    TrialState.COMPLETE: SUCCESS,
    TrialState.PRUNED: SUCCESS,
    TrialState.FAILED: FAILURE,
}


class WrongTypeError(TypeError, AssertionError):
    """A recommendation was given something of another type; the published one asserts."""


class Recommendation(Mapping[str, Any]):
    """One configuration to train.

    Args:
        identifier: its number, from 0.
        specs: its searched values by dotted name.
        metric: name of the metric that it is judged by.

    Raises:
        TypeError: for an identifier that is not a whole number, or specs that are no dict.
    """

    def __init__(self, identifier: int, specs: dict[str, Any], metric: str = "") -> None:
        if type(identifier) is not int:
            raise WrongTypeError(f"identifier: must be a whole number, got {identifier!r}")
        if not isinstance(specs, dict):
            raise WrongTypeError(f"specs: must be a dict, got {type(specs).__name__}")
        self.id = identifier
        self.specs = specs
        self.metric = metric
        self.job_id: str | None = None
        self.status = PENDING
        self.result = 0.0
        """Its value, or the score of several objectives; 0.0 until it has one."""
        self.metric_value: float | None = None
        """The value of `metric`; None until it has one."""
        self.objective_values: dict[str, float] = {}
        self.objective_score = 0.0
        self.best_epoch_number: int | str = ""
        self.resume_from_job_id: str | None = None
        self.resume_from_epoch: int | None = None
        self.resume_from_step: int | None = None
        self.early_stop_epoch: int | None = None
        """The epoch to train until, where rungs are jobs of their own."""
        self.checkpoint_window = 0
        """The rung or generation that it belongs to."""
        self.failure_reason: str | None = None
        self.adjustments: list[dict[str, Any]] = []
        self.results_dir = ""
        """The trial's own folder, absolute."""
        self.full_spec: dict[str, Any] = {}
        """The whole spec, nested."""
        self.created_on = self.last_modified = _now()

    def __getitem__(self, name: str) -> Any:
        return self.specs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.specs)

    def __len__(self) -> int:
        return len(self.specs)

    def __bool__(self) -> bool:
        return True  # also where nothing is searched: there is a configuration

    def __repr__(self) -> str:
        return (
            f"Recommendation(id={self.id}, status={self.status!r}, job_id={self.job_id!r}, "
            f"result={self.result!r}, specs={self.specs!r})"
        )

    def assign_job_id(self, job_id: str) -> None:
        """Set the id of the job that trains it.

        Raises:
            TypeError: when it is no text.
        """
        self.job_id = _text(job_id, "job_id")
        self.last_modified = _now()

    def update_status(self, status: str) -> None:
        """Set the status, one of `JobStates`.

        Raises:
            TypeError: when it is no text.
        """
        self.status = _text(status, "status")
        self.last_modified = _now()

    def update_result(self, result: Any) -> None:
        """Set the value of its metric.

        Raises:
            TypeError: when it is not a number.
            ValueError: when it is not finite.
        """
        value = _finite_number(result, "result")
        self.update_objectives({self.metric: value}, value)

    def update_objectives(self, values: Mapping[str, Any], score: Any) -> None:
        """Set the value of every objective, and the score that they make together.

        Raises:
            TypeError: when one is not a number.
            ValueError: when one is not finite.
        """
        if not isinstance(values, Mapping):
            raise TypeError(f"objective_values: must be a mapping, got {type(values).__name__}")
        numbers = {
            str(name): _finite_number(value, f"objective_values.{name}")
            for name, value in values.items()
        }
        self.result = self.objective_score = _finite_number(score, "objective_score")
        self.objective_values = numbers
        self.metric_value = self.primary_metric_value()
        self.last_modified = _now()

    def primary_metric_value(self) -> float:
        """The value of its own metric, or `result` where that is not known apart."""
        return self.objective_values.get(self.metric, self.result)


class ResumeRecommendation:
    """A configuration that goes on from a checkpoint of another job.

    Args:
        identity: its number.
        specs: its searched values by dotted name.
        job_id: of the job that trains it.
        resume_from_job_id: of the job whose checkpoint it goes on from.
        resume_from_epoch: the epoch of that checkpoint.
        resume_from_step: the step of that checkpoint.
    """

    def __init__(
        self,
        identity: int,
        specs: dict[str, Any],
        job_id: str,
        resume_from_job_id: str | None = None,
        resume_from_epoch: int | None = None,
        resume_from_step: int | None = None,
    ) -> None:
        self.id, self.specs, self.job_id = identity, specs, job_id
        self.resume_from_job_id = resume_from_job_id
        self.resume_from_epoch = resume_from_epoch
        self.resume_from_step = resume_from_step


@dataclass
class AutoMLContext:
    """What one AutoML session is about."""

    id: str
    network: str
    action: str = "train"
    workspace_path: str = ""
    metric: str = "loss"
    handler_id: str = ""
    """The experiment whose custom ranges are used."""
    num_gpu: int = -1


def _finite_number(value: Any, where: str) -> float:
    """A value as a plain finite number; a scalar of numpy becomes one.

    Raises:
        TypeError: when it is not a number; true and false are none.
        ValueError: when it is not finite, or too large for a float.
    """
    if getattr(value, "shape", None) == ():
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{where}: must be a finite numeric scalar, got {value!r}")
    try:
        number = float(value)
    except OverflowError as error:
        raise ValueError(f"{where}: must be representable as a finite float") from error
    if not math.isfinite(number):
        raise ValueError(f"{where}: numeric values must be finite, got {value!r}")
    return number


def show_trial(
    record: TrialRecord,
    facts: WorkspaceFacts,
    *,
    direction: str,
    job_of: Callable[[int], str | None] = lambda _number: None,
    results_dir: str = "",
    is_rung: bool = False,
) -> Recommendation:
    """Show a trial as a recommendation.

    Args:
        record: the trial.
        facts: of the workspace.
        direction: of the search.
        job_of: the id of the job that trains a trial; empty where there is none.
        results_dir: the trial's own folder.
        is_rung: whether a rung is a job of its own.
    """
    rec = Recommendation(record.number, dict(record.params), facts.metric)
    rec.status, rec.job_id = status_word(record), job_of(record.number) or None
    rec.results_dir, rec.adjustments = results_dir, facts.adjustments_of(record.number)
    rec.early_stop_epoch = record.until_epoch if is_rung else None
    rec.created_on = _now(record.started)
    rec.last_modified = _now(record.ended or record.started)
    if record.start_from is not None:
        source, rec.resume_from_epoch = record.start_from
        rec.resume_from_job_id = job_of(source) or None
    if record.error is not None:
        rec.failure_reason = record.error["message"]
    best = None if record.state is TrialState.FAILED else record.best_measurement(direction)
    if best is not None:
        rec.best_epoch_number = best.epoch
        rec.result = rec.objective_score = best.value
        rec.objective_values = values_of(record, direction, facts)
        rec.metric_value = rec.primary_metric_value()
    return rec


def values_of(record: TrialRecord, direction: str, facts: WorkspaceFacts) -> dict[str, float]:
    """The value of every objective of a trial, at its best epoch; empty for one without a value."""
    best = None if record.state is TrialState.FAILED else record.best_measurement(direction)
    if best is None:
        return {}
    if not facts.objectives:
        return {facts.metric: best.value}
    return {name: best.metrics[name] for name in facts.objective_names if name in best.metrics}


def status_word(trial: TrialRecord, *, is_live: bool = True) -> str:
    """A trial's state in the route's words; one that was stopped early was trained successfully.

    Args:
        trial: the record.
        is_live: whether a driver has it in hand at this moment.
    """
    if trial.state in WORDS:
        return WORDS[trial.state]
    if not is_live:
        return PENDING
    return RUNNING if trial.measurements else STARTED


def metric_of(trial: TrialRecord, direction: str) -> float | None:
    """A trial's best value in the caller's own scale; None for one that failed or has none yet."""
    if trial.state is TrialState.FAILED:
        return None
    best = trial.best_measurement(direction)
    return best.value if best else None


def _text(value: str, where: str) -> str:
    if not isinstance(value, str):
        raise WrongTypeError(f"{where}: must be text, got {value!r}")
    return value


def _now(seconds: float | None = None) -> str:
    """A moment in ISO form, in UTC; the present one where none is given."""
    zone = dt.UTC
    moment = dt.datetime.now(zone) if not seconds else (
        dt.datetime.fromtimestamp(seconds, zone)
    )  # fmt: skip
    return moment.isoformat()
