"""Runs trials as jobs of a platform's SDK (`hpo.automl.sdk`)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from hpo.automl.active_jobs import ActiveJob, ActiveJobs, ArtifactJobs
from hpo.automl.failures import explain_analysis
from hpo.automl.hooks import Hooks
from hpo.automl.job_values import JobValues
from hpo.automl.metrics import METRIC_NOT_FOUND
from hpo.automl.objectives import Objectives
from hpo.automl.sdk import (
    CANCELED,
    DONE,
    FAILED,
    GONE,
    Platform,
    attempt,
    attempt_by_name,
    exists_by,
    field_of,
    has_failed_by_log,
    id_of,
    is_clean_up_error,
    is_outage,
    read_logs,
    status_of,
)
from hpo.automl.submission import Submission
from hpo.core.addresses import without_file
from hpo.core.errors import RunError
from hpo.core.protocols import TrialDriver
from hpo.core.spec_dicts import merged, nest
from hpo.core.trial import Ended, Launch, TrialRecord
from hpo.jobs.parents import demand_platform_jobs
from hpo.run.checkpoints import choose_checkpoint
from hpo.run.ledger import Ledger
from hpo.run.plain_files import write_json
from hpo.run.run_dir import AUTOML_JOBS

logger = logging.getLogger(__name__)

MAX_POLL_ERRORS = 20
"""After so many failed polls in a row a job counts as lost."""
NOT_CREATED, NOT_REGISTERED = "job_creation_failed", "active_job_registration_failed"
JOB_CANCELED, INVALID = "job_canceled", "invalid_configuration"
INTERRUPTED = "job_creation_interrupted"
_BY_LOG = "failed by its log"
"""In place of the platform's word for the end of a job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformPlan:
    """What does not change between the jobs of one search."""

    objectives: Objectives
    epochs_key: str
    """Empty for a network without epochs."""
    slots: int
    action: str
    submission: Submission
    poll_s: float = 5.0
    resume_fields: tuple[str, ...] = ()
    """Spec keys that take the checkpoint to go on from."""
    finish_spec: Callable[[dict[str, Any], int], dict[str, Any]] = field(
        default=lambda spec, _number: spec
    )
    """(spec, epochs) -> the spec that is submitted."""


class PlatformExecutor:
    """Implements `hpo.core.protocols.Executor` over a platform's jobs.

    Args:
        platform: see `Platform`.
        plan: what all jobs have in common.
        hooks: the caller's functions.
        ledger: for the lengths of trials.
        folder: where `active_jobs.json` lies.

    Raises:
        RunError: when `active_jobs.json` or `jobs.json` cannot be read.
    """

    def __init__(
        self,
        platform: Platform,
        plan: PlatformPlan,
        hooks: Hooks,
        ledger: Ledger,
        folder: Path,
    ) -> None:
        self._platform, self._plan, self._hooks, self._ledger = platform, plan, hooks, ledger
        self.active = ActiveJobs(folder)
        self.active.load()
        self.artifacts = ArtifactJobs(folder)
        self._values = JobValues(platform, plan.objectives, hooks, plan.action)
        self._jobs_file = folder / AUTOML_JOBS
        self.job_ids = demand_platform_jobs(folder)
        """Trial -> (job id, results folder), also of those that have ended."""
        self._is_refused = False

    def run(self, driver: TrialDriver) -> None:
        """Submit and poll until the driver is over and no job is under way."""
        running: dict[int, ActiveJob] = {}
        self._drop_others(running)  # before a new trial takes the number of one that is lost
        while True:
            self._fill(running, driver)
            self._drop_others(running)
            if not running and (not self._is_refused or driver.is_over()):
                return
            time.sleep(self._plan.poll_s)
            for number in list(running):
                ended = self._poll(running[number], driver)
                if ended is not None:
                    active = running.pop(number)
                    if not active.unanswered:
                        state = "failure" if ended.failure else "success"
                        self.artifacts.put(active.job_id, state)
                        self._plan.submission.clean_up(number)  # before a retry has another name
                    driver.on_end(number, ended)
                    self.active.drop(number)  # not before: a kill within must find the job again

    def _drop_others(self, running: Mapping[int, ActiveJob]) -> None:
        """Drop jobs whose trials have ended; one of a trial that there is none of is canceled."""
        is_over = {trial.number: trial.state.is_finished for trial in self._ledger.trials()}
        for number in self.active.jobs.keys() - running.keys():
            if number not in is_over and self.active.jobs[number].job_id:
                self._cancel(self.active.jobs[number])
            if is_over.get(number, True):
                self.active.drop(number)

    def call_in_all_slots(self, method: str, *args: Any) -> list[Any]:
        """Call it once: where jobs run is the platform's own affair."""
        return [self.call(method, *args)]

    def divide(self, slots: Any) -> None:
        """Nothing changes: the platform places its jobs."""

    def call(self, method: str, *args: Any) -> Any:
        """Refuse: single actions are jobs too (see `evaluate`)."""
        del args
        raise RunError(f"{method}: cannot be called on a platform")

    def close(self) -> None:
        """Jobs that are under way stay so; a resumed search polls them."""

    # Submission ---------------------------------------------------------------------------------

    def _fill(self, running: dict[int, ActiveJob], driver: TrialDriver) -> None:
        """Submit what there is room for; after a refusal nothing more until the next look."""
        self._is_refused = False
        while not self._is_refused and len(running) < self._plan.slots:
            launch = driver.next_launch()
            if launch is None:
                return
            active = self._take(launch, driver)
            if active is not None:
                running[launch.number] = active

    def _take(self, launch: Launch, driver: TrialDriver) -> ActiveJob | None:
        """Find the trial's job where it is under way, else submit it."""
        known, record = self.active.jobs.get(launch.number), self._ledger.trial(launch.number)
        if known is not None and known.retry not in (None, record.retries):
            known = None  # of a start that was lost and given up
        if known is not None and not known.job_id:
            self._find_lost(known, f"{INTERRUPTED}: the search was ended meanwhile")
        if known is not None and known.job_id:
            logger.info("trial %d goes on as job %s", launch.number, known.job_id)
        else:
            length = int(record.params.get(self._plan.epochs_key, record.until_epoch))
            known = ActiveJob(rec_id=launch.number, until_epoch=length, retry=record.retries)
            failure = self._try_to_submit(known, launch)
            if failure is not None:
                self._is_refused = failure["kind"] == "infrastructure"
                driver.on_end(launch.number, Ended(failure=failure))
                self.active.drop(launch.number)
                return None
        self._note(known)
        return known

    def _note(self, active: ActiveJob) -> None:
        """Keep which job a trial is."""
        self.job_ids[active.rec_id] = (active.job_id, active.results_dir)
        write_json(self._jobs_file, self.job_ids)

    def _try_to_submit(self, known: ActiveJob, launch: Launch) -> dict[str, str] | None:
        """Submit a trial as a job; returns why that was impossible."""
        _, error = attempt(self.active.put, known)
        if error is not None:
            return _failure("infrastructure", f"{NOT_REGISTERED}: {error}")
        source, missing = self._source_of(self._ledger.trial(launch.number))
        if missing:
            return _failure("data", missing)
        spec, error = attempt(self._spec_of, known, launch, source)
        if error is not None:
            return _failure("spec", f"{INVALID}: {error}")
        submit = partial(self._plan.submission.submit, is_resumed=bool(source))
        created, error = attempt(submit, spec, launch.number)
        known.job_id = id_of(created)
        if not known.job_id:  # the answer may be lost, and the job made
            why = f"{type(error).__name__}: {error}" if error else f"no job id: {created!r:.80}"
            is_open = error is None or is_outage(error)
            self._find_lost(known, f"{NOT_CREATED}: {why}", is_open=is_open)
            if not known.job_id:
                return _failure("infrastructure", f"{NOT_CREATED}: {why}")
        elif not known.results_dir:
            known.results_dir = self._results_dir(known, created)
        _, error = attempt(self.active.put, known)
        if error is not None:
            self._cancel(known)
            return _failure("infrastructure", f"{NOT_REGISTERED}: {error}")
        return None

    def _results_dir(self, active: ActiveJob, answer: Any) -> str:
        """Where a job's results lie, by a platform's answer about it or by what it says later."""
        told = field_of(answer, "results_dir")
        if not told:
            told, _ = attempt_by_name(self._platform, "get_job_results_dir", active.job_id)
        return without_file(str(told or ""))

    def _find_lost(self, active: ActiveJob, why: str, *, is_open: bool = True) -> None:
        """Look for a job whose submission was cut off, by the id that was asked for.

        Where it is open whether there is one, and the platform cannot be asked, it is taken for one
        that runs: polls will tell.
        """
        wanted = self._plan.submission.asked_id(active.rec_id)
        if not wanted and why.startswith(INTERRUPTED):
            logger.warning(
                "trial %d: %s; %s takes no name by which its job could be found, so one may run "
                "beside the next", active.rec_id, why, type(self._platform).__name__,
            )  # fmt: skip
        found, error = attempt(self._platform.get_job_status, wanted) if wanted else (None, None)
        if (is_open and is_outage(error)) if error is not None else exists_by(found):
            active.job_id, active.unanswered = wanted, why
            if error is None:
                self._hear(active, found)

    def _hear(self, active: ActiveJob, answer: Any) -> None:
        """Take up the first answer about a job whose submission had none."""
        active.unanswered, active.results_dir = "", self._results_dir(active, answer)
        attempt(self.active.put, active)
        self._note(active)

    def _source_of(self, record: TrialRecord) -> tuple[str, str]:
        """The checkpoint that a rung trial goes on from, and what is wrong where there is none."""
        if record.start_from is None:
            return "", ""
        number, epoch = record.start_from
        job_id, folder = self.job_ids.get(number, ("", ""))
        where = f"epoch {epoch} of trial {number} (job {job_id})"
        if not folder or "://" in folder:
            return "", f"the checkpoint of {where} is not known: its results are not on this disk"
        goal = self._plan.objectives.primary
        try:
            found, _ = choose_checkpoint(
                Path(folder), epoch, goal.metric, direction=goal.direction, trained=epoch
            )
            return str(found), ""
        except RunError as error:
            return "", f"nothing to go on from: {error}"

    def _spec_of(self, active: ActiveJob, launch: Launch, source: str) -> dict[str, Any]:
        spec = dict(launch.spec)
        if self._plan.epochs_key:
            spec = merged(spec, nest({self._plan.epochs_key: active.until_epoch}))
        if source:
            spec = merged(spec, nest(dict.fromkeys(self._plan.resume_fields, source)))
        return self._plan.finish_spec(spec, active.until_epoch)

    # Polling ------------------------------------------------------------------------------------

    def _poll(self, active: ActiveJob, driver: TrialDriver) -> Ended | None:
        """Look at a job; None while it runs."""
        answer, error = attempt(self._platform.get_job_status, active.job_id)
        if active.unanswered and error is None and exists_by(answer):
            self._hear(active, answer)
        if active.unanswered and not (error is not None and is_outage(error)):
            return Ended(failure=_failure("infrastructure", active.unanswered))
        if error is not None or not status_of(answer):
            return self._count_error(active, error or f"no status in {answer!r:.80}", driver)
        status = status_of(answer)
        active.errors = 0
        is_over = status in DONE | FAILED | CANCELED
        logs = self._logs(active, is_over=is_over)
        if status not in FAILED | CANCELED and has_failed_by_log(logs):
            if not is_over:
                self._cancel(active)
            is_over, status = True, _BY_LOG
        self._values.read(active, logs, is_over=is_over)
        if not is_over:
            return None
        return self._end(active, driver, status, logs)

    def _end(self, active: ActiveJob, driver: TrialDriver, status: str, logs: str) -> Ended:
        """How a job ended: one that failed after its value was written has a value all the same."""
        is_known = not self._plan.objectives.missing(active.values)
        if status in GONE and self._values.tell_the_end(active):
            return self._succeed(active, driver)
        if status in CANCELED:
            return Ended(failure=_failure("code", f"{JOB_CANCELED}: the job ended as {status}"))
        is_saved = is_known and (is_clean_up_error(logs) or self._values.are_kept(active, status))
        if status in DONE or is_saved:
            return self._succeed(active, driver)
        return Ended(failure=self._analyse(active, logs, status))

    def _count_error(
        self, active: ActiveJob, error: Exception | str, driver: TrialDriver
    ) -> Ended | None:
        active.errors += 1
        if active.errors < MAX_POLL_ERRORS:
            logger.warning("job %s: its status cannot be read: %s", active.job_id, error)
            return None
        if self._values.tell_the_end(active):
            self._values.read(active, "", is_over=True)
            return self._succeed(active, driver)
        self._cancel(active)  # it may run all the same, beside the job that takes its place
        text = f"the status of job {active.job_id} could not be read {active.errors} times: {error}"
        return Ended(failure=_failure("infrastructure", text))

    def _logs(self, active: ActiveJob, *, is_over: bool) -> str:
        logs, error = attempt(read_logs, self._platform, active.job_id, is_over=is_over)
        if error is not None:
            logger.warning("job %s: its log cannot be read: %s", active.job_id, error)
        return str(logs or "")

    def _succeed(self, active: ActiveJob, driver: TrialDriver) -> Ended:
        self._keep_earlier(active)
        missing = self._plan.objectives.missing(active.values)
        primary = self._plan.objectives.primary.metric
        if missing and self._hooks.eval_fn is None:
            names = ", ".join(repr(name) for name in missing)
            return Ended(failure=_failure("code", f"{METRIC_NOT_FOUND}: {names}"))
        value = active.values.get(primary)
        epoch = self._ledger.trial(active.rec_id).until_epoch
        line = {"epoch": epoch, "value": value, "metrics": dict(active.values)}
        driver.on_epoch(active.rec_id, line)
        return Ended()

    def _keep_earlier(self, active: ActiveJob) -> None:
        """Let a rung trial that left its checkpoint, and no value, keep that of its start."""
        missing = self._plan.objectives.missing(active.values)
        start = self._ledger.trial(active.rec_id).start_from
        if not missing or start is None or not active.is_local:
            return
        if not self._values.has_last_checkpoint(active):
            return
        metric = self._plan.objectives.primary.metric
        source, epoch = start
        for line in self._ledger.trial(source).measurements:
            if line.epoch == epoch:
                known = line.metrics if self._plan.objectives.is_several else {metric: line.value}
                logger.warning("trial %d: no new value; it keeps trial %d's", active.rec_id, source)
                active.values |= {name: known[name] for name in missing if name in known}

    def _analyse(self, active: ActiveJob, logs: str, status: str) -> dict[str, str]:
        analysis, error = attempt_by_name(self._platform, "get_failure_analysis", active.job_id)
        if error is not None:
            logger.warning("job %s: no failure analysis: %s", active.job_id, error)
        return explain_analysis(analysis, logs, status)

    def _cancel(self, active: ActiveJob) -> None:
        _, error = attempt_by_name(self._platform, "cancel_job", active.job_id)
        if error is not None:
            logger.warning("job %s: cannot be canceled: %s", active.job_id, error)


def _failure(kind: str, text: str) -> dict[str, str]:
    return {"kind": kind, "message": " ".join(text.split())[:500]}
