"""Calls the user's callbacks at most once each; their exceptions are logged and end nothing."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hpo.automl.arguments import check_functions
from hpo.automl.feedback import Feedback
from hpo.automl.metrics import METRIC_NOT_FOUND
from hpo.automl.objectives import Objectives
from hpo.automl.recommendation import Recommendation
from hpo.core.events import Event, TrialFinished, TrialStarted
from hpo.core.metric_values import find_metric
from hpo.core.protocols import TrialDriver
from hpo.core.spec_dicts import merged
from hpo.core.trial import Ended, Launch
from hpo.run.ledger import Ledger

logger = logging.getLogger(__name__)

Show = Callable[[int], Recommendation]
"""Shows a trial to the caller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Functions that the caller of `run` may pass."""

    metric_extractor: Callable[[str, str], float | None] | None = None
    """(logs, metric name) -> the latest value in a log, or None."""
    eval_fn: Callable[[Recommendation, str], Any] | None = None
    """Returns a value, or a mapping of metric -> value where there are several objectives."""
    baseline_fn: Callable[[dict[str, Any]], Any] | None = None
    final_eval_fn: Callable[[Recommendation, str], Any] | None = None
    feedback_fn: Callable[[Recommendation, str], Any] | None = None
    on_recommendation: Callable[[Recommendation], Any] | None = None
    on_result: Callable[[Recommendation, float | None, str], Any] | None = None

    def __post_init__(self) -> None:
        check_functions({name: getattr(self, name) for name in self.__dataclass_fields__})

    def extract(self, logs: str, metric: str) -> float | None:
        """Ask the caller's extractor; where it fails a warning is logged and polling goes on."""
        if self.metric_extractor is None:
            return None
        return as_number(_guarded("metric_extractor", self.metric_extractor, logs, metric))

    def evaluate(
        self, rec: Recommendation, job_id: str, objectives: Objectives
    ) -> dict[str, float]:
        """Ask the caller's evaluator; what it does not say is taken from the log."""
        if self.eval_fn is None:
            return {}
        answer = _guarded("eval_fn", self.eval_fn, rec, job_id)
        if not isinstance(answer, Mapping):
            answer = {objectives.primary.metric: answer}
        values = {name: as_number(value) for name, value in objectives.named(answer).items()}
        return {name: value for name, value in values.items() if value is not None}


def _guarded(name: str, function: Callable[..., Any], *args: Any) -> Any:
    try:
        return function(*args)
    except Exception:  # the caller's fault must not end the caller's search
        logger.warning("%s failed; its answer is left out", name, exc_info=True)
        return None


def as_number(value: Any) -> float | None:
    """A value as a number; None where it is none. Not-a-number stays, it is a failed trial."""
    if value is None:
        return None
    try:
        return parse_number(value)
    except (TypeError, ValueError, OverflowError):
        logger.warning("a number was expected of the caller's function, got %.80r", value)
        return None


def parse_number(value: Any) -> float:
    """A number, or the text of one, as a plain number.

    Raises:
        TypeError: for what is none; true, false and bytes are not.
        ValueError: for other text.
        OverflowError: for one that is too large.
    """
    kind = getattr(value, "dtype", type(value))
    if kind in (bool, bytes, bytearray) or str(kind) in ("bool", "torch.bool"):
        raise TypeError(f"{value!r} is not a number")
    return float(value)


class CallbackListener:
    """Calls `on_recommendation` and `on_result`, once for each trial.

    Args:
        hooks: the caller's.
        show: shows a trial.
        done: trials whose calls were made by an earlier start of the search.
        notes: keeps what `feedback_fn` says.
    """

    def __init__(self, hooks: Hooks, show: Show, done: Iterable[int], notes: Feedback) -> None:
        self._hooks, self._show, self._notes = hooks, show, notes
        self._shown = set(done)

    def handle(self, event: Event) -> None:
        """Pass a trial's start and end on."""
        if isinstance(event, TrialStarted) and event.purpose == "search":
            self._on_start(event.trial)
        elif isinstance(event, TrialFinished):
            self._on_end(event.trial)

    def _on_start(self, number: int) -> None:
        if number in self._shown or self._hooks.on_recommendation is None:
            return
        self._shown.add(number)
        _guarded("on_recommendation", self._hooks.on_recommendation, self._show(number))

    def _on_end(self, number: int) -> None:
        if self._hooks.feedback_fn is not None:
            rec = self._show(number)
            said = _guarded("feedback_fn", self._hooks.feedback_fn, rec, rec.job_id or "")
            self._notes.put(number, said)
        if self._hooks.on_result is not None:
            rec = self._show(number)
            _guarded("on_result", self._hooks.on_result, rec, rec.metric_value, rec.status)

    def close(self) -> None:
        """Nothing is held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """How long trials are trained."""

    full: int = 0
    """Epochs of a full trial, which a trainer ends by itself."""
    key: str = ""
    """Where every rung is a job of its own: the spec key of its length."""


class HookedDriver:
    """Stands between an executor and the engine, so that the caller's functions see values first.

    With `eval_fn` the engine gets one report of a trial, at its end, with the caller's value;
    without one it gets every epoch, with the extractor's value where there is one. With several
    objectives it gets their score, and finds the value of each among the metrics.

    Args:
        driver: the engine.
        hooks: the caller's functions.
        ledger: for the trials.
        show: shows a trial to the caller.
        read_log: a trial's log so far.
        objectives: what is optimized.
        known_of: values of a trial that are known without training it, such as its latency.
        lengths: how long trials are trained.
    """

    def __init__(
        self,
        driver: TrialDriver,
        hooks: Hooks,
        ledger: Ledger,
        *,
        show: Show,
        read_log: Callable[[int], str],
        objectives: Objectives,
        known_of: Callable[[int], Mapping[str, float]] = lambda _number: {},
        lengths: Lengths = Lengths(),
    ) -> None:
        self._driver, self._hooks, self._ledger = driver, hooks, ledger
        self._show, self._read_log, self._objectives = show, read_log, objectives
        self._known_of, self._lengths = known_of, lengths
        self._missing: dict[int, str] = {}
        self._held: dict[int, list[dict[str, Any]]] = {}
        """What running trials have reported, kept back until their ends."""

    def next_launch(self) -> Launch | None:
        """As the engine says; a rung trial trains until its rung."""
        launch = self._driver.next_launch()
        if launch is None or not self._lengths.key:
            return launch
        until = self._ledger.trial(launch.number).until_epoch
        return replace(launch, spec=merged(launch.spec, {self._lengths.key: until}))

    def is_over(self) -> bool:
        """As the engine says."""
        return self._driver.is_over()

    def rest(self) -> bool:
        """As the engine says."""
        return self._driver.rest()

    def emit(self, event: Event) -> None:
        """As the engine does."""
        self._driver.emit(event)

    def on_epoch(self, number: int, payload: Mapping[str, Any]) -> bool:
        """Put the values of all objectives in place; hold back what `eval_fn` will replace."""
        line, values = dict(payload), self._values_of(number, payload)
        is_complete = not self._objectives.missing(values)
        if not is_complete and self._hooks.eval_fn is None:
            self._missing[number] = self._describe_missing(line, values)
            return False
        line = self._with_values(line, values)
        if self._hooks.eval_fn is None or not _may_be_finite(line["value"]):
            return self._driver.on_epoch(number, line)
        self._held.setdefault(number, []).append(line)
        # The engine ends trials of a rung, but gets these epochs only once the trial has ended.
        return not self._ledger.trial(number).until_epoch <= line["epoch"] < self._lengths.full

    def _values_of(self, number: int, payload: Mapping[str, Any]) -> dict[str, Any]:
        """What is known of every objective at one epoch."""
        metrics = payload.get("metrics") or {}
        primary = self._objectives.primary.metric
        values = {name: find_metric(metrics, name) for name in self._objectives.names[1:]}
        values |= {**self._known_of(number), primary: payload["value"]}
        if self._hooks.metric_extractor is not None and not payload.get("replayed"):
            log = self._read_log(number)
            for name in self._objectives.names:
                value = self._hooks.extract(log, name)
                values[name] = values.get(name) if value is None else value
        return values

    def _with_values(self, line: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
        """A line with the value that the engine is to get; None where one is still missing."""
        objectives = self._objectives
        if not objectives.is_several:
            return {**line, "value": values[objectives.primary.metric]}
        own = {name: values[name] for name in objectives.names if values.get(name) is not None}
        score = None if objectives.missing(values) else objectives.score(values)
        return {**line, "value": score, "metrics": {**(line.get("metrics") or {}), **own}}

    def _describe_missing(self, line: Mapping[str, Any], values: Mapping[str, Any]) -> str:
        names = ", ".join(repr(name) for name in self._objectives.missing(values))
        known = ", ".join(sorted(line.get("metrics") or {})) or "none"
        return f"{METRIC_NOT_FOUND}: {names}; there are {known}"

    def on_end(self, number: int, ended: Ended) -> None:
        """Ask `eval_fn` about a trial that was trained, then report to the engine."""
        lines = self._held.pop(number, [])
        if (missing := self._missing.pop(number, "")) and ended.failure is None:
            ended = Ended(failure={"kind": "spec", "message": missing})
        if lines and ended.failure is None and (without := self._report_value(number, lines)):
            text = f"{METRIC_NOT_FOUND}: {without}, and eval_fn gave none"
            ended = Ended(failure={"kind": "code", "message": text})
        self._driver.on_end(number, ended)

    def _report_value(self, number: int, lines: list[dict[str, Any]]) -> str:
        """Report the trial to the engine; returns the objectives of which nobody knows a value."""
        record, objectives = self._ledger.trial(number), self._objectives
        sign = self._ledger.direction.sign
        logged = [line for line in lines if line["value"] is not None]
        best = max(logged, key=lambda line: sign * float(line["value"]), default=None)
        last = lines[-1]
        rec = self._show(number)
        told = self._hooks.evaluate(rec, rec.job_id or "", objectives)
        values = {**_own_values(best or last, objectives), **told}
        if missing := objectives.missing(values):
            return ", ".join(repr(name) for name in missing)
        table = dict(last.get("metrics") or {})
        if best is not None:
            table["logged"] = float(best["value"])
        seconds = sum(float(line.get("seconds") or 0.0) for line in lines)
        line = {
            **last,
            "epoch": max(record.until_epoch, int(last["epoch"])),
            "metrics": table,
            "receipt": lines[0].get("receipt"),
            "checkpoint": (best or last).get("checkpoint"),
            "seconds": seconds or None,
            "replayed": False,
        }
        self._driver.on_epoch(number, self._with_values(line, values))
        return ""


def _own_values(line: Mapping[str, Any], objectives: Objectives) -> dict[str, Any]:
    """The values of objectives in a line that was held back."""
    if not objectives.is_several:
        value = line["value"]
        return {} if value is None else {objectives.primary.metric: value}
    metrics = line.get("metrics") or {}
    return {name: metrics[name] for name in objectives.names if name in metrics}


def _may_be_finite(value: Any) -> bool:
    return value is None or math.isfinite(float(value))
