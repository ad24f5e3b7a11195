"""The engine: turns suggestions into launches and epochs into decisions, and keeps the ledger.

It is passive and single-threaded: an executor asks for launches and reports what happened
(`hpo.core.protocols.TrialDriver`). Everything it knows it reads back from the ledger, so the same
path serves a fresh start, a crash and "20 more trials".
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from hpo.core.asking import ask
from hpo.core.budget import MEASURES, RAN_DRY, Spent
from hpo.core.events import Confirmed, Epoch, Event, TrialFinished, TrialStarted, TrialSuspended
from hpo.core.protocols import Algorithm, Emit, EventSource, OptunaView, StagedSearch
from hpo.core.repeats import propose_repeat
from hpo.core.reports import to_measurement
from hpo.core.selection import best_trial, open_repeats, roles
from hpo.core.trial import Ended, Launch, Measurement, Purpose, Suggestion, TrialRecord, TrialState
from hpo.core.trial_failures import Retries, describe_not_finite, describe_retry, shared_cause
from hpo.run.disk_errors import demand_storage
from hpo.run.disk_space import DiskSpace
from hpo.run.ledger import Ledger
from hpo.run.replay import replay
from hpo.searching.budget_account import Account
from hpo.searching.engine_parts import Live, Plan
from hpo.searching.launcher import Launcher
from hpo.searching.receipts import check_receipt
from hpo.searching.warm_start import CannotStartError, settled_start

logger = logging.getLogger(__name__)


class ReceiptError(Exception):
    """A suggestion did not arrive at the trainer's live objects: a bug, not a result."""


class Engine:
    """Drives one search.

    Args:
        ledger: the study.
        algorithm: proposes and prunes; fresh, it is brought up to date from the ledger here.
        plan: the study's constants.
        emit: calls the listeners with an event.
        should_stop: asked at every step whether the user wants the search to pause; ends it by
            raising.
        disk_space: watches the run's disk; None never waits for room.
        now: a clock in seconds that never goes back; default: the machine's.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        algorithm: Algorithm,
        plan: Plan,
        emit: Emit,
        should_stop: Callable[[], bool] = lambda: False,
        disk_space: DiskSpace | None = None,
        now: Callable[[], float] | None = None,
    ) -> None:
        self.specs = plan.specs
        self._ledger, self._algorithm = ledger, algorithm
        self._plan, self._emit = plan, emit
        self._should_stop = should_stop
        self._disk_space = disk_space
        if disk_space is not None:
            disk_space.on_waited = self._exclude_time
        self._now = now or time.monotonic
        self._launcher = Launcher(ledger, self.specs, refuse=plan.refuse)
        self._live: dict[int, Live] = {}
        self._account = Account(ledger, plan, self._now)
        self._stopping = self._shared_cause = ""
        self._confirming = self._ran_dry = False
        self._retries = Retries()
        self._decided = replay(algorithm, ledger)
        self._waiting = [t.number for t in ledger.trials() if not t.state.is_finished]
        if isinstance(algorithm, EventSource):
            algorithm.attach(emit)

    def next_launch(self) -> Launch | None:
        """Return an interrupted trial, else a new one while the budget lasts, else a repeat."""
        while records := self._next_records():
            if (launch := self._launch(*records)) is not None:
                return launch  # else none of them can start
        if not self._live:  # what follows the last trial is not charged
            self._account.stop_clock()
        return None

    def _next_records(self) -> list[TrialRecord]:
        """What is to start now: an interrupted trial, a new one or its batch, or a repeat."""
        self._close_decided()
        if self._pausing() or self._waits_for_space():
            return []
        self._complete_batch()
        if (waiting := self._next_waiting()) is not None:
            self._waiting.remove(waiting.number)
            return [waiting]
        if self._limit_reached() is None and not self._confirming:
            records = self._next_search_trials()
            if records or not self._ran_dry:
                return records
        if self._shared_cause or any(not self._ledger.trial(n).is_repeat for n in self._live):
            return []
        return self._next_confirmation()

    def is_over(self) -> bool:
        """Whether nothing more is to be started once the running trials have ended."""
        if self._pausing():
            return True
        if self._live or self._next_waiting() is not None:
            return False
        return self._limit_reached() is not None and not self._open_confirmations()

    def rest(self) -> bool:
        """Let a moment pass where the search waits for room on the disk."""
        if self._disk_space is None or not self._disk_space.why or self.is_over():
            return False
        self._disk_space.rest()
        return True

    def emit(self, event: Event) -> None:  # noqa: D102 - as `TrialDriver` says
        self._emit(event)

    def on_epoch(self, number: int, payload: Mapping[str, Any]) -> bool:
        """Record an epoch and say whether the trial goes on."""
        live, record = self._live[number], self._ledger.trial(number)
        if live.verdict:
            return False
        receipt = payload.get("receipt")
        if receipt is not None and record.receipt is None:
            self._check_receipt(record, receipt)
        if payload["epoch"] <= record.epochs:  # a resumed trial reports its history again
            if self._pausing():
                self._suspend(live)
                return False
            return True
        now = self._now()
        measurement = to_measurement(payload, seconds=now - live.last_report)
        live.last_report = now
        if not math.isfinite(measurement.value):
            live.verdict, live.failure = "failed", describe_not_finite(measurement)
            return False
        # Kept with the epoch: a resumed search may give trials another share of a GPU.
        gpus = self._account.gpus_per_trial / live.sharing
        measurement = replace(measurement, gpus=gpus)
        self._ledger.record(number, measurement, clock=self._account.clock())
        self._emit(Epoch.of(record, measurement))
        return self._decide(record, live, measurement)

    def on_end(self, number: int, ended: Ended) -> None:
        """Close a trial, keep it for later, or start it again."""
        self._should_stop()  # raises where the run is gone: the trial has not failed then
        live, record = self._live.pop(number), self._ledger.trial(number)
        if not self._live:  # what follows a last epoch is not charged
            self._account.stop_clock()
        failure = live.failure or ended.failure
        if live.verdict == "suspended":
            self._emit_suspended(record, live.reason)
        elif live.verdict == "pruned":
            self._finish(record, TrialState.PRUNED, reason=live.reason)
        elif failure is not None and live.verdict != "reached":
            self._fail(record, failure)
        elif record.epochs < record.until_epoch:
            words = f"the trainer ended after epoch {record.epochs} of {record.until_epoch}"
            self._fail(record, {"kind": "code", "message": words})
        else:
            if ended.receipt is not None:
                self._check_receipt(record, ended.receipt)
            self._finish(record, TrialState.COMPLETE)

    def take_places(self, count: int, gpus: float) -> None:
        """Count so many trials at a time and GPUs of each, where these were divided anew."""
        self._account.at_a_time, self._account.gpus_per_trial = count, gpus

    def spent(self) -> Spent:
        """What has been used of the budget."""
        return self._account.spent()

    def best(self) -> TrialRecord | None:
        """The best trial so far."""
        return best_trial(self._ledger.trials(), self._ledger.direction)

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

    def _close_decided(self) -> None:
        """Close trials that were over when the driver was killed, but not yet booked as such."""
        for number in list(self._waiting):
            record, decision = self._ledger.trial(number), self._decided.pop(number, None)
            if decision is not None and decision.stop:
                self._waiting.remove(number)
                self._finish(record, TrialState.PRUNED, reason=decision.reason)
            elif record.epochs >= record.until_epoch and record.receipt is not None:
                self._waiting.remove(number)
                self._finish(record, TrialState.COMPLETE)

    def _next_waiting(self) -> TrialRecord | None:
        """The first interrupted trial that its part of the budget still lets go on."""
        records = (self._ledger.trial(number) for number in self._waiting)
        return next((r for r in records if self._account.limit_of(r) is None), None)

    def _next_search_trials(self) -> list[TrialRecord]:
        self._account.start_clock()
        if (record := self._next_search_trial()) is None:
            self._ran_dry = not self._live
            return []
        return [record, *self._rest_of_batch()]

    def _next_search_trial(self) -> TrialRecord | None:
        """Ask the algorithm for a trial and write it down; None where it has none to start now."""
        if isinstance(self._algorithm, StagedSearch):
            self._algorithm.pace(self._account.search_share())
        suggestion = ask(self._algorithm, self._ledger.next_number, waits=not self._live)
        if suggestion is None:
            return None
        seed = self._launcher.search_seed(self._plan.study_seed)
        return self._start(suggestion, seed=seed, purpose=Purpose.SEARCH)

    def _rest_of_batch(self) -> list[TrialRecord]:
        """The other trials of a batch whose first one has been asked for."""
        algorithm, records = self._algorithm, []
        while isinstance(algorithm, StagedSearch) and algorithm.open_batch() is not None:
            records.append(self._next_search_trial())
        return [record for record in records if record is not None]

    def _complete_batch(self) -> None:
        """Write down what is missing of a batch that a kill has cut off, before it is trained.

        Asked for later, its trials would be chosen knowing the others' results.
        """
        self._waiting += [record.number for record in self._rest_of_batch()]

    def _next_confirmation(self) -> list[TrialRecord]:
        self._confirming = True
        if not (pending := self._open_confirmations()):
            return []
        trials, study_seed = self._ledger.trials(), self._plan.study_seed
        suggestion, seed = propose_repeat(pending, trials, study_seed=study_seed)
        return [self._start(suggestion, seed=seed, purpose=Purpose.CONFIRM)]

    def _open_confirmations(self) -> list[TrialRecord]:
        """Finalists that are still to be trained again, next one first."""
        account = self._account
        is_closed = not self._plan.confirm or account.limit_of_everything() is not None
        if is_closed or not account.has_room_for_repeat():
            return []
        return open_repeats(self._ledger.trials(), self._ledger.direction, self._plan.confirm)

    def _start(self, suggestion: Suggestion, *, seed: int, purpose: Purpose) -> TrialRecord:
        known = self._algorithm.distributions if isinstance(self._algorithm, OptunaView) else None
        return self._ledger.start(
            settled_start(suggestion, self._ledger),
            now=time.time(),
            clock=self._account.clock(),
            seed=seed,
            purpose=purpose,
            distributions=known,
        )

    def _launch(self, *records: TrialRecord) -> Launch | None:
        """A start of a trial, or of a batch; None when none can start."""
        self._account.start_clock()
        started = [(record, launch) for record in records if (launch := self._prepared(record))]
        for record, launch in started:
            self._live[record.number] = Live(last_report=self._now(), sharing=len(started))
            self._emit(TrialStarted.of(record, is_resumed=bool(launch.resume_from)))
        batch = tuple(launch for _, launch in started)
        return replace(batch[0], members=batch) if len(batch) > 1 else next(iter(batch), None)

    def _prepared(self, record: TrialRecord) -> Launch | None:
        """A trial's launch; None when it cannot start, which is booked as its failure."""
        try:
            return self._launcher.launch_of(record)
        except CannotStartError as error:
            cause = {"kind": error.kind, "message": str(error)}
            self._finish(record, TrialState.FAILED, error=cause)
            self._shared_cause = shared_cause(self._ledger.ended())
            return None
        except OSError as error:
            if self._disk_space is None or not self._disk_space.is_full(error):
                raise
            self._waiting.append(record.number)
            return None

    def _decide(self, record: TrialRecord, live: Live, measurement: Measurement) -> bool:
        """Ask the algorithm, then look at the user's wish and the budget."""
        if not record.is_repeat:
            decision = self._algorithm.report(record.number, measurement)
            if decision.stop:
                live.verdict, live.reason = "pruned", decision.reason
                return False
        if measurement.epoch >= record.until_epoch:
            if self._plan.is_full(record, measurement.epoch):
                return True
            live.verdict = "reached"
            return False
        limit = self._account.limit_of(record)
        if self._pausing() or limit:
            self._suspend(live, f"budget of {MEASURES.get(str(limit), limit)} spent")
            return False
        return True

    def _suspend(self, live: Live, reason: str = "") -> None:
        live.verdict, live.reason = "suspended", self._stopping or self._shared_cause or reason

    def _check_receipt(self, record: TrialRecord, receipt: Mapping[str, Any]) -> None:
        spec, decided = self.specs.spec_of(record), self.specs.decided_for(record)
        found = check_receipt(receipt, spec=spec, params=record.params, decided=decided)
        if found.mismatch:
            raise ReceiptError(f"trial {record.number}: {found.mismatch}")
        self._ledger.annotate(record.number, receipt={**receipt, "unseen": list(found.unseen)})

    def _finish(
        self,
        record: TrialRecord,
        state: TrialState,
        *,
        reason: str = "",
        error: Mapping[str, str] | None = None,
    ) -> None:
        self._ledger.finish(
            record.number, state, now=time.time(), clock=self._account.clock(), error=error
        )
        if record.is_repeat:
            named = roles(self._ledger.trials(), self._ledger.direction)
            self._emit(Confirmed.of(record, named.get(record.number, "")))
            return
        self._algorithm.tell(record)
        self._emit(TrialFinished.of(record, reason))

    def _fail(self, record: TrialRecord, failure: Mapping[str, str]) -> None:
        """Start a trial again whose worker was lost; otherwise it has failed, with its cause."""
        disk = self._disk_space
        if disk is not None and disk.is_disk_failure(record.number, failure):
            self._emit_suspended(record, disk.why)
            self._waiting.append(record.number)
            return
        demand_storage(self.specs.run, record, failure, self._emit)
        is_lost = failure["kind"] == "infrastructure"
        if is_lost and self._pausing():
            self._emit_suspended(record, failure["message"])
            return
        if is_lost and self._retries.allow(record):
            self._ledger.annotate(record.number, retries=record.retries + 1)
            logger.warning("%s", describe_retry(record, failure["message"]))
            self._waiting.append(record.number)
            return
        self._finish(record, TrialState.FAILED, error=failure)
        self._shared_cause = shared_cause(self._ledger.ended())

    def _emit_suspended(self, record: TrialRecord, reason: str) -> None:
        self._emit(TrialSuspended(trial=record.number, epoch=record.epochs, reason=reason))

    def _pausing(self) -> bool:
        if not self._stopping and self._should_stop():
            self._stopping = "interrupted"
        return bool(self._stopping) or bool(self._shared_cause)

    def _waits_for_space(self) -> bool:
        """Whether there is more to start, and no room on the disk for it."""
        disk = self._disk_space
        return disk is not None and self._has_more() and disk.is_short(len(self._live))

    def _has_more(self) -> bool:
        is_open = self._next_waiting() is not None or self._limit_reached() is None
        return is_open or bool(self._open_confirmations())

    def _exclude_time(self, seconds: float) -> None:
        """Charge nobody for a time in which this process could write nothing, and stood still."""
        self._account.exclude_time(seconds)
        for live in self._live.values():
            live.last_report += seconds

    def _limit_reached(self) -> str | None:
        """The limit that keeps new search trials from starting."""
        if self._ran_dry:
            return RAN_DRY
        return self._account.limit_of_search()
