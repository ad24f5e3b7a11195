"""Calls the user's callbacks at most once each; their exceptions are logged and end nothing."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hpo.automl.metrics import METRIC_NOT_FOUND
from hpo.automl.recommendation import Recommendation
from hpo.core.events import Event, TrialFinished, TrialStarted
from hpo.core.protocols import TrialDriver
from hpo.core.spec_dicts import merged
from hpo.core.trial import Ended, Job
from hpo.run.ledger import Ledger

logger = logging.getLogger(__name__)

MetricExtractor = Callable[[str, str], float | None]
"""`metric_extractor(logs, metric_name)`: the latest value in a log, or None."""

Show = Callable[[int], Recommendation]
"""Shows a trial to the caller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Functions that the caller of `run` may pass."""

    metric_extractor: MetricExtractor | None = None
    eval_fn: Callable[[Recommendation, str], float | None] | None = None
    final_eval_fn: Callable[[Recommendation, str], Any] | None = None
    on_recommendation: Callable[[Recommendation], Any] | None = None
    on_result: Callable[[Recommendation, float | None, str], Any] | None = None

    def extract(self, logs: str, metric: str) -> float | None:
        """Ask the caller's extractor; its failure is told and polling goes on."""
        if self.metric_extractor is None:
            return None
        return as_number(_guarded("metric_extractor", self.metric_extractor, logs, metric))

    def evaluate(self, rec: Recommendation, job_id: str) -> float | None:
        """Ask the caller's evaluator; None means that the log's value counts."""
        if self.eval_fn is None:
            return None
        return as_number(_guarded("eval_fn", self.eval_fn, rec, job_id))


def _guarded(name: str, function: Callable[..., Any], *args: Any) -> Any:
    try:
        return function(*args)
    except Exception:  # the caller's fault must not end the caller's search
        logger.warning("%s failed and is passed over", name, exc_info=True)
        return None


def as_number(value: Any) -> float | None:
    """A value as a number; None where it is none. Not-a-number stays, it is a failed trial."""
    if value is None or isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        logger.warning("a number was expected of the caller's function, got %r", value)
        return None


class CallbackListener:
    """Calls `on_recommendation` and `on_result`, once for each trial.

    Args:
        hooks: the caller's.
        show: shows a trial.
        done: trials whose calls were made by an earlier start of the search.
    """

    def __init__(self, hooks: Hooks, show: Show, done: tuple[int, ...] = ()) -> None:
        self._hooks, self._show = hooks, show
        self._told = set(done)

    def handle(self, event: Event) -> None:
        """Pass a trial's start and end on."""
        if isinstance(event, TrialStarted) and event.purpose == "search":
            self._on_start(event.trial)
        elif isinstance(event, TrialFinished):
            self._on_end(event.trial)

    def _on_start(self, number: int) -> None:
        if number in self._told or self._hooks.on_recommendation is None:
            return
        self._told.add(number)
        _guarded("on_recommendation", self._hooks.on_recommendation, self._show(number))

    def _on_end(self, number: int) -> None:
        if self._hooks.on_result is not None:
            rec = self._show(number)
            _guarded("on_result", self._hooks.on_result, rec, rec.metric, rec.status)

    def close(self) -> None:
        """Nothing is held."""


class HookedDriver:
    """Stands between an executor and the engine, so that the caller's functions see values first.

    With `eval_fn` the engine hears of a trial once, at its end, with the caller's value; without
    one it hears every epoch, with the extractor's value where there is one.

    Args:
        driver: the engine.
        hooks: the caller's functions.
        ledger: for the trials.
        show: shows a trial to the caller.
        read_log: a trial's log so far.
        metric: the metric's name.
        epochs_key: where every rung is a job of its own: the spec key of its length.
    """

    def __init__(
        self,
        driver: TrialDriver,
        hooks: Hooks,
        ledger: Ledger,
        *,
        show: Show,
        read_log: Callable[[int], str],
        metric: str,
        epochs_key: str = "",
    ) -> None:
        self._driver, self._hooks, self._ledger = driver, hooks, ledger
        self._show, self._read_log, self._metric = show, read_log, metric
        self._epochs_key = epochs_key
        self._missing: dict[int, str] = {}
        self._held: dict[int, list[dict[str, Any]]] = {}
        """What running trials have told, kept back until their ends."""

    def next_job(self) -> Job | None:
        """As the engine says; a rung's job is told to train until its rung."""
        job = self._driver.next_job()
        if job is None or not self._epochs_key:
            return job
        until = self._ledger.trial(job.number).until_epoch
        return replace(job, spec=merged(job.spec, {self._epochs_key: until}))

    def is_over(self) -> bool:
        """As the engine says."""
        return self._driver.is_over()

    def rest(self) -> bool:
        """As the engine says."""
        return self._driver.rest()

    def on_epoch(self, number: int, payload: Mapping[str, Any]) -> bool:
        """Put the extractor's value in place; hold back what `eval_fn` will replace."""
        line = dict(payload)
        if self._hooks.metric_extractor is not None and not line.get("replayed"):
            value = self._hooks.extract(self._read_log(number), self._metric)
            line["value"] = line["value"] if value is None else value
        if line["value"] is None and self._hooks.eval_fn is None:
            known = ", ".join(sorted(line.get("metrics") or {})) or "none"
            self._missing[number] = f"{METRIC_NOT_FOUND}: {self._metric!r}; there are {known}"
            return False
        if self._hooks.eval_fn is None or not _may_be_finite(line["value"]):
            return self._driver.on_epoch(number, line)
        self._held.setdefault(number, []).append(line)
        return True

    def on_end(self, number: int, ended: Ended) -> None:
        """Ask `eval_fn` about a trial that was trained, then tell the engine."""
        lines = self._held.pop(number, [])
        if (missing := self._missing.pop(number, "")) and ended.failure is None:
            ended = Ended(failure={"kind": "spec", "message": missing})
        if lines and ended.failure is None and not self._tell_value(number, lines):
            text = f"{METRIC_NOT_FOUND}: {self._metric!r}, and eval_fn gave none"
            ended = Ended(failure={"kind": "code", "message": text})
        self._driver.on_end(number, ended)

    def _tell_value(self, number: int, lines: list[dict[str, Any]]) -> bool:
        """Tell the engine the trial's value; False when nobody knows one."""
        record = self._ledger.trial(number)
        sign = 1.0 if self._ledger.direction == "maximize" else -1.0
        logged = [line for line in lines if line["value"] is not None]
        best = max(logged, key=lambda line: sign * float(line["value"]), default=None)
        rec = self._show(number)
        value = self._hooks.evaluate(rec, rec.job_id)
        if value is None and best is None:
            return False
        last = lines[-1]
        table = dict(last.get("metrics") or {})
        if best is not None:
            table["logged"] = float(best["value"])
        seconds = sum(float(line.get("seconds") or 0.0) for line in lines)
        self._driver.on_epoch(
            number,
            {
                **last,
                "epoch": max(record.until_epoch, int(last["epoch"])),
                "value": value if value is not None or best is None else best["value"],
                "metrics": table,
                "receipt": lines[0].get("receipt"),
                "checkpoint": (best or last).get("checkpoint"),
                "seconds": seconds or None,
                "replayed": False,
            },
        )
        return True


def _may_be_finite(value: Any) -> bool:
    return value is None or math.isfinite(float(value))
