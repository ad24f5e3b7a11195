"""Builds what MLflow stores of a trial, as plain values."""

from __future__ import annotations

import json
import math
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from hpo.core.spec_dicts import flatten
from hpo.core.text import storable
from hpo.core.trial import Direction, TrialRecord, TrialState
from hpo.run.run_dir import RunDir

STUDY_TAG = "hpo.study_uuid"
TRIAL_TAG = "hpo.trial"
ROLE_TAG = "hpo.role"
RUN_TAG = "hpo.run"
STUDY_ROLE, TRIAL_ROLE = "study", "trial"
STATE_TAG = "hpo.state"
REASON_TAG = "hpo.reason"
STAGE_TAG = "hpo.stage"
WINNER_TAG = "hpo.best"
"""`winner`, `default`, `repeat of N`: what a trial is beside the others."""
MODEL_TAG = "hpo.model_version"
"""Version of the registered model that a study's winner became."""
DONE_TAG = "hpo.mirrored"
"""Set last, when everything of an ended trial has arrived."""
SOURCE_TAGS = {"mlflow.source.name": "hpo search", "mlflow.source.type": "LOCAL"}
PARENT_TAG = "mlflow.parentRunId"
NOTE_TAG = "mlflow.note.content"

STATUS = {
    TrialState.RUNNING: "RUNNING",
    TrialState.COMPLETE: "FINISHED",
    TrialState.PRUNED: "FINISHED",
    TrialState.FAILED: "FAILED",
}
"""MLflow's word for a trial's state. `hpo.state` tells pruned ones apart; `KILLED` would show them
like failed ones, though they did what they should."""

LOG_AXIS = "log10"
"""Ending of metrics that repeat a parameter as its logarithm: charts of params are linear only."""
DECADES = 2.0
"""A parameter whose values span this many powers of ten gets such a metric."""

MAX_TEXT = 4000
"""Longest param or tag; every store takes this much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What stays the same about a mirrored study."""

    run: RunDir
    """Its files become artifacts."""
    name: str
    """The experiment."""
    uuid: str
    """What parent and child runs are found again by."""
    direction: str
    metric: str
    """That trials are judged by."""
    summary: Mapping[str, Any]
    """What was searched and how, for the parent's params."""


class Point(NamedTuple):
    """One value of one metric, built from the ledger alone: an epoch always gives the same point.

    A store that has the point already drops it, time stamp included.
    """

    name: str
    value: float
    timestamp_ms: int
    step: int


def query(study_uuid: str, role: str) -> str:
    """MLflow's search expression for the runs of one study in one role."""
    return f"tags.`{STUDY_TAG}` = '{study_uuid}' and tags.`{ROLE_TAG}` = '{role}'"


def run_name(number: int) -> str:
    """A name that sorts by number."""
    return f"trial-{number:04d}"


def milliseconds(seconds: float) -> int:
    """Unix seconds as MLflow counts time."""
    return int(seconds * 1000)


def to_text(value: Any) -> str:
    """A value as it stands in a spec."""
    text = storable(value) if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 3] + "..."


def legal_name(name: str) -> str:
    """Replace what MLflow refuses in names: characters such as `@`, and odd paths."""
    return posixpath.normpath(re.sub(r"[^\w\-./: ]", "_", name)).strip("/").replace("../", "")


def texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Nested values as dotted names and texts; absent values are left out."""
    flat = flatten(values).items()
    return {legal_name(n): to_text(value) for n, value in flat if value not in (None, "", {})}


def trial_tags(record: TrialRecord, state: str, reason: str) -> dict[str, str]:
    """The tags that may change while a trial runs.

    Args:
        record: the trial.
        state: its state in words; a trial that waits for a resume is `suspended`.
        reason: why it was stopped.
    """
    tags = {STATE_TAG: state, "hpo.purpose": str(record.purpose)}
    if record.error:
        tags["hpo.error"] = to_text(f"{record.error['kind']}: {record.error['message']}")
    if reason:
        tags[REASON_TAG] = to_text(reason)
    if record.retries:
        tags["hpo.retries"] = str(record.retries)
    if record.stage.name:
        tags[STAGE_TAG] = record.stage.name
    if record.stage.parent is not None:
        tags["hpo.parent"] = run_name(record.stage.parent)
    if record.start_from:
        number, epoch = record.start_from
        tags["hpo.start_from"] = f"{run_name(number)} epoch {epoch}"
    return tags


def ranked_as(record: TrialRecord) -> str:
    """Ending of the metric that a trial is ranked by.

    Repeats and trials of earlier stages are no candidates: under other names they stay out of the
    ranking.
    """
    if record.purpose != "search":
        return "repeat"
    return f"best_{legal_name(record.stage.name)}" if record.stage.left else "best"


def trial_points(record: TrialRecord, metric: str, direction: str) -> list[Point]:
    """All metric values of a trial, in order of its epochs; step = epoch.

    The monitored metric comes with its best so far, the time and number of epochs with their sums.
    """
    sign = Direction(direction).sign
    best, seconds, last = -math.inf, 0.0, record.base_epoch
    points: list[Point] = []
    for measurement in record.measurements:
        best = max(best, sign * measurement.value)
        seconds += measurement.seconds
        values = {
            **{legal_name(k): v for k, v in measurement.metrics.items()},
            metric: measurement.value,
            f"{metric}_{ranked_as(record)}": sign * best,
            "epoch_seconds": measurement.seconds / max(1, measurement.epoch - last),
            "epochs": float(measurement.epoch),
            "seconds": seconds,
        }
        last = measurement.epoch
        moment = milliseconds(record.started + seconds)
        # The store would turn an infinite value into a large finite one.
        points += [
            Point(name, value, moment, measurement.epoch)
            for name, value in values.items()
            if not math.isinf(value)
        ]
    return points


def log_axes(records: Iterable[TrialRecord]) -> dict[str, str]:
    """The parameters that are best seen on a logarithmic axis, with the name of their axis.

    Charts have room for few letters: the name is the end of the parameter's where that is unique.
    """
    values: dict[str, list[Any]] = {}
    for record in records:
        for name, value in record.params.items():
            values.setdefault(name, []).append(value)
    ends = Counter(_end(name) for name in values)
    return {
        name: f"{legal_name(_end(name) if ends[_end(name)] == 1 else name)} {LOG_AXIS}"
        for name, column in sorted(values.items())
        if _spans_decades(column)
    }


def _end(name: str) -> str:
    return ".".join(name.split(".")[-2:])


def _spans_decades(column: list[Any]) -> bool:
    if any(isinstance(v, bool) or not isinstance(v, int | float) or v <= 0 for v in column):
        return False
    return math.log10(max(column) / min(column)) >= DECADES


def axis_points(record: TrialRecord, axes: Mapping[str, str]) -> list[Point]:
    """The logarithms of some parameters of a trial, as metrics without steps.

    Args:
        record: the trial.
        axes: parameter -> name of the metric, see `log_axes`.
    """
    moment = milliseconds(record.started)
    return [
        Point(axis, math.log10(record.params[name]), moment, 0)
        for name, axis in axes.items()
        if name in record.params
    ]
