"""The engine: turns proposals into jobs, epochs into decisions, and keeps the ledger.

It is passive and single-threaded: an executor asks for jobs and tells what happened
(`hpo.core.protocols.TrialDriver`). Everything it knows it reads back from the ledger, so the same
path serves a fresh start, a crash and "20 more trials".
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hpo.core.budget import Budget, Spent, exhausted
from hpo.core.events import Emit
from hpo.core.ledger import Ledger
from hpo.core.protocols import Algorithm
from hpo.core.receipts import find_mismatch
from hpo.core.rundir import RunDir
from hpo.core.seeds import derive_seed
from hpo.core.selection import best_trial, finalists
from hpo.core.specs import lookup, merged, to_yaml
from hpo.core.trial import Ended, Job, Measurement, Suggestion, TrialRecord, TrialState

logger = logging.getLogger(__name__)

MAX_RETRIES = 2
"""How often a trial is started again after its worker was lost."""
MAX_SAME_FAILURES = 3
"""This many trials in a row with the same cause end the search."""
CONFIRM_SHARE = 0.15
"""Share of a time or epoch budget that is kept for confirmations."""


class ReceiptError(Exception):
    """A suggestion did not arrive at the trainer's live objects: a bug, not a result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the engine needs to know of a study."""

    base_spec: Mapping[str, Any]
    """Full spec of a trial without its searched parameters."""
    seed_key: str
    direction: str
    budget: Budget
    confirm: int = 0
    gpus_per_trial: float = 0.0
    study_seed: int = 0


@dataclass(slots=True)
class _Live:
    """A trial that runs at this moment."""

    verdict: str = ""
    """Why it was told to stop: `pruned`, `suspended` or `failed`; empty while it may go on."""
    reason: str = ""
    failure: dict[str, str] | None = None
    last_report: float = field(default_factory=time.monotonic)


class Engine:
    """Drives one search.

    Args:
        run: the run directory.
        ledger: the study.
        algorithm: proposes and prunes; fresh, it is brought up to date from the ledger here.
        plan: the study's constants.
        emit: tells listeners what happens.
        should_stop: asked at every step whether the user wants the search to pause.
    """

    def __init__(
        self,
        *,
        run: RunDir,
        ledger: Ledger,
        algorithm: Algorithm,
        plan: Plan,
        emit: Emit,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._run = run
        self._ledger = ledger
        self._algorithm = algorithm
        self._plan = plan
        self._emit = emit
        self._should_stop = should_stop
        self._live: dict[int, _Live] = {}
        self._clock_base = ledger.active_seconds
        self._clock_start: float | None = None
        self._stopping = ""
        self._confirming = False
        self._shared_cause = ""
        self._ran_dry = False
        self._replay()
        self._waiting = deque(t.number for t in ledger.trials() if not t.state.is_finished)

    # What executors call -----------------------------------------------------------------------

    def next_job(self) -> Job | None:
        """Return an interrupted trial, else a new one while the budget lasts, else a repeat."""
        if self._pausing():
            return None
        if self._waiting and self._hard_limit_reached() is None:
            return self._job(self._ledger.trial(self._waiting.popleft()))
        if self._limit_reached() is None and not self._confirming:
            return self._next_search_job()
        if self._live_searches() or self._shared_cause:
            return None
        return self._next_confirmation()

    def is_over(self) -> bool:
        """Whether no further job will come once the running trials have ended."""
        if self._pausing():
            return True
        if self._live or (self._waiting and self._hard_limit_reached() is None):
            return False
        return self._limit_reached() is not None and not self._open_confirmations()

    def on_epoch(self, number: int, payload: Mapping[str, Any]) -> bool:
        """Record an epoch and say whether the trial goes on."""
        live, record = self._live[number], self._ledger.trial(number)
        if live.verdict:
            return False
        receipt = payload.get("receipt")
        if receipt is not None and record.receipt is None:
            self._check_receipt(record, receipt)
        if payload["epoch"] <= record.epochs:  # a resumed trial tells its history again
            return not self._pausing()
        measurement = _to_measurement(payload, seconds=self._own_seconds(live, payload))
        if not math.isfinite(measurement.value):
            live.verdict, live.failure = "failed", _not_finite(measurement)
            return False
        self._ledger.record(number, measurement, clock=self.clock())
        self._emit("epoch", **_epoch_event(record, measurement))
        return self._judge(record, live, measurement)

    def on_end(self, number: int, ended: Ended) -> None:
        """Close a trial, keep it for later, or start it again."""
        live, record = self._live.pop(number), self._ledger.trial(number)
        failure = live.failure or ended.failure
        if live.verdict == "suspended":
            self._emit("trial_suspended", trial=number, epoch=record.epochs, reason=live.reason)
        elif live.verdict == "pruned":
            self._finish(record, TrialState.PRUNED, reason=live.reason)
        elif failure is not None:
            self._fail(record, failure)
        elif record.epochs < record.until_epoch:
            words = f"the trainer ended after epoch {record.epochs} of {record.until_epoch}"
            self._fail(record, {"kind": "code", "message": words})
        else:
            if ended.receipt is not None:
                self._check_receipt(record, ended.receipt)
            self._finish(record, TrialState.COMPLETE)

    # What the search around it reads ----------------------------------------------------------

    def clock(self) -> float:
        """Seconds the search has been active, over all its starts."""
        running = 0.0 if self._clock_start is None else time.monotonic() - self._clock_start
        return self._clock_base + running

    def spent(self) -> Spent:
        """What has been used of the budget."""
        trials = self._ledger.trials()
        seconds = sum(t.seconds for t in trials)
        return Spent(
            trials=sum(t.purpose == "search" for t in trials),
            seconds=self.clock(),
            gpu_seconds=seconds * self._plan.gpus_per_trial,
            epochs=sum(t.epochs for t in trials),
        )

    def best(self) -> TrialRecord | None:
        """The best trial so far."""
        return best_trial(self._ledger.trials(), self._plan.direction)

    @property
    def ended_because(self) -> str:
        """`interrupted`, the limit that was reached, or the cause that failing trials share."""
        if self._shared_cause:
            return self._shared_cause
        return self._stopping or self._limit_reached() or ""

    @property
    def was_interrupted(self) -> bool:
        """Whether the user asked for a pause."""
        return self._stopping == "interrupted"

    # Inside ------------------------------------------------------------------------------------

    def _replay(self) -> None:
        """Bring the algorithm to where the ledger is."""
        for change in self._ledger.changes():
            record = self._ledger.trial(change.number)
            if record.purpose != "search":
                continue
            if change.what == "start":
                self._algorithm.restore(record)
            elif change.what == "epoch" and change.measurement is not None:
                self._algorithm.report(record.number, change.measurement)
            elif change.what == "end":
                self._algorithm.tell(record)

    def _next_search_job(self) -> Job | None:
        self._clock_start = self._clock_start or time.monotonic()
        suggestion = self._algorithm.ask(self._ledger.next_number)
        if suggestion is None:
            self._ran_dry = not self._live
            return None
        return self._start(suggestion, seed=self._search_seed(), purpose="search")

    def _search_seed(self) -> int:
        """One seed for all searched trials, so that they differ in their parameters alone."""
        seed = int(lookup(self._plan.base_spec, self._plan.seed_key))
        return seed if seed >= 0 else derive_seed(self._plan.study_seed, "trials")

    def _next_confirmation(self) -> Job | None:
        self._confirming = True
        pending = self._open_confirmations()
        if not pending or self._hard_limit_reached() is not None:
            return None
        self._clock_start = self._clock_start or time.monotonic()
        finalist = pending[0]
        suggestion = Suggestion(
            number=self._ledger.next_number,
            params=finalist.params,
            latents=finalist.latents,
            until_epoch=finalist.until_epoch,
        )
        seed = derive_seed(self._plan.study_seed, "confirm", finalist.seed, finalist.number)
        return self._start(suggestion, seed=seed, purpose="confirm")

    def _open_confirmations(self) -> list[TrialRecord]:
        """Finalists that have no repeat yet."""
        if self._plan.confirm == 0 or self._hard_limit_reached() is not None:
            return []
        trials = self._ledger.trials()
        done = [t.params for t in trials if t.purpose == "confirm"]
        chosen = finalists(trials, self._plan.direction, self._plan.confirm)
        return [t for t in chosen if t.params not in done]

    def _start(self, suggestion: Suggestion, *, seed: int, purpose: str) -> Job:
        distributions = getattr(self._algorithm, "distributions", None)
        record = self._ledger.start(
            suggestion,
            now=time.time(),
            clock=self.clock(),
            seed=seed,
            purpose=purpose,
            distributions=distributions,
        )
        return self._job(record)

    def _job(self, record: TrialRecord) -> Job:
        self._clock_start = self._clock_start or time.monotonic()
        folder = self._run.trial_dir(record.number)
        checkpoint = folder / "ckpt" / "last.ckpt"
        resume_from = str(checkpoint) if checkpoint.is_file() else None
        spec = self.spec_of(record)
        folder.mkdir(parents=True, exist_ok=True)
        written = merged(spec, {"results_dir": str(folder.relative_to(self._run.path))})
        (folder / "spec.yaml").write_text(to_yaml(written), encoding="utf-8")
        self._live[record.number] = _Live()
        self._emit(
            "trial_started",
            trial=record.number,
            params=record.params,
            purpose=record.purpose,
            resumed_from_epoch=record.epochs if resume_from else None,
        )
        return Job(number=record.number, spec=spec, folder=str(folder), resume_from=resume_from)

    def spec_of(self, record: TrialRecord) -> dict[str, Any]:
        """The full spec of one trial."""
        own = {
            self._plan.seed_key: record.seed,
            "results_dir": str(self._run.trial_dir(record.number)),
        }
        return merged(self._plan.base_spec, record.params, own)

    def _judge(self, record: TrialRecord, live: _Live, measurement: Measurement) -> bool:
        """Ask the algorithm, then look at the user's wish and the budget."""
        if record.purpose == "search":
            decision = self._algorithm.report(record.number, measurement)
            if decision.stop:
                live.verdict, live.reason = "pruned", decision.reason
                return False
        if measurement.epoch >= record.until_epoch:
            return True
        limit = self._running_limit_reached(record)
        if self._pausing() or limit:
            live.verdict, live.reason = "suspended", self._stopping or f"budget of {limit} spent"
            return False
        return True

    def _own_seconds(self, live: _Live, payload: Mapping[str, Any]) -> float:
        """The trainer's own count of seconds, else the time since its last sign of life."""
        now = time.monotonic()
        since, live.last_report = now - live.last_report, now
        return float(payload.get("seconds") or since)

    def _check_receipt(self, record: TrialRecord, receipt: Mapping[str, Any]) -> None:
        problem = find_mismatch(self.spec_of(record), record.params, receipt)
        if problem:
            raise ReceiptError(f"trial {record.number}: {problem}")
        self._ledger.annotate(record.number, receipt=receipt)

    def _finish(
        self,
        record: TrialRecord,
        state: TrialState,
        *,
        reason: str = "",
        error: Mapping[str, str] | None = None,
    ) -> None:
        self._ledger.finish(record.number, state, now=time.time(), clock=self.clock(), error=error)
        if record.purpose == "search":
            self._algorithm.tell(record)
        name = "confirmed" if record.purpose == "confirm" else "trial_finished"
        self._emit(
            name,
            trial=record.number,
            state=str(state),
            value=record.value,
            epoch=record.epochs,
            seconds=round(record.seconds, 3),
            error=record.error,
            reason=reason,
        )

    def _fail(self, record: TrialRecord, failure: Mapping[str, str]) -> None:
        """Start a trial again whose worker was lost; otherwise it has failed, with its cause."""
        lost = failure["kind"] == "infrastructure"
        if lost and record.retries < MAX_RETRIES and not self._pausing():
            self._ledger.annotate(record.number, retries=record.retries + 1)
            logger.warning(
                "trial %d: %s; starting it again from epoch %d (retry %d of %d)",
                record.number,
                failure["message"],
                record.epochs,
                record.retries,
                MAX_RETRIES,
            )
            self._waiting.append(record.number)
            return
        self._finish(record, TrialState.FAILED, error=failure)
        self._shared_cause = self._find_shared_cause()

    def _find_shared_cause(self) -> str:
        """The message that the last trials have all failed with, if that is enough to give up."""
        ended = sorted(
            (t for t in self._ledger.trials() if t.ended is not None), key=lambda t: t.ended or 0.0
        )[-MAX_SAME_FAILURES:]
        causes = {(t.error or {}).get("message", "") for t in ended}
        if len(ended) < MAX_SAME_FAILURES or len(causes) != 1:
            return ""
        return causes.pop()

    def _pausing(self) -> bool:
        if not self._stopping and self._should_stop():
            self._stopping = "interrupted"
        return bool(self._stopping) or bool(self._shared_cause)

    def _live_searches(self) -> bool:
        return any(self._ledger.trial(n).purpose == "search" for n in self._live)

    def _limit_reached(self) -> str | None:
        """The limit that keeps new search trials from starting."""
        if self._ran_dry:
            return "algorithm"
        return exhausted(self._search_budget(), self.spent())

    def _hard_limit_reached(self) -> str | None:
        """The limit that ends confirmations too; a pure trial budget does not."""
        return exhausted(replace(self._plan.budget, trials=None), self.spent())

    def _running_limit_reached(self, record: TrialRecord) -> str | None:
        """The limit that cuts off a running trial; the number of trials never does."""
        budget = self._plan.budget if record.purpose == "confirm" else self._search_budget()
        return exhausted(replace(budget, trials=None), self.spent())

    def _search_budget(self) -> Budget:
        """The budget less what is kept for confirmations."""
        budget = self._plan.budget
        if self._plan.confirm == 0:
            return budget
        share = 1.0 - CONFIRM_SHARE
        return replace(
            budget,
            seconds=None if budget.seconds is None else budget.seconds * share,
            gpu_seconds=None if budget.gpu_seconds is None else budget.gpu_seconds * share,
            epochs=None if budget.epochs is None else max(1, int(budget.epochs * share)),
        )


def _to_measurement(payload: Mapping[str, Any], *, seconds: float) -> Measurement:
    return Measurement(
        epoch=int(payload["epoch"]),
        value=float(payload["value"]),
        metrics={k: float(v) for k, v in (payload.get("metrics") or {}).items()},
        seconds=seconds,
        checkpoint=_relative(payload.get("checkpoint")),
    )


def _relative(checkpoint: Any) -> str | None:
    """Keep the path of a checkpoint below the trial's folder, so that a run can be moved."""
    if not checkpoint:
        return None
    path = Path(str(checkpoint))
    return str(Path(*path.parts[-2:])) if path.is_absolute() else str(path)


def _not_finite(measurement: Measurement) -> dict[str, str]:
    return {
        "kind": "diverged",
        "message": f"the metric of epoch {measurement.epoch} is {measurement.value}, not a number",
    }


def _epoch_event(record: TrialRecord, measurement: Measurement) -> dict[str, Any]:
    return {
        "trial": record.number,
        "epoch": measurement.epoch,
        "value": measurement.value,
        "seconds": round(measurement.seconds, 3),
        "metrics": measurement.metrics,
    }
