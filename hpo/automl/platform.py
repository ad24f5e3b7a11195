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
from hpo.automl.artifacts import values_by_reader, values_in_folder
from hpo.automl.failures import explain_analysis
from hpo.automl.hooks import Hooks
from hpo.automl.metrics import METRIC_NOT_FOUND, find_in_log
from hpo.automl.objectives import Objectives
from hpo.automl.sdk import (
    CANCELED,
    DONE,
    FAILED,
    Platform,
    attempt,
    attempt_by_name,
    exists_by,
    has_failed_by_log,
    id_of,
    is_clean_up_error,
    read_logs,
    status_of,
)
from hpo.automl.submission import Submission
from hpo.core.errors import RunError
from hpo.core.protocols import TrialDriver
from hpo.core.spec_dicts import merged, nest
from hpo.core.trial import Ended, Launch, TrialRecord
from hpo.jobs.parents import platform_jobs
from hpo.run.checkpoints import choose_checkpoint
from hpo.run.ledger import Ledger
from hpo.run.plain_files import is_folder, write_json
from hpo.run.run_dir import AUTOML_JOBS

logger = logging.getLogger(__name__)

MAX_POLL_ERRORS = 20
"""After so many failed polls in a row a job counts as lost."""
NOT_CREATED, NOT_REGISTERED = "job_creation_failed", "active_job_registration_failed"
JOB_CANCELED, INVALID = "job_canceled", "invalid_configuration"
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
        RunError: when `active_jobs.json` cannot be read.
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
        self._jobs_file = folder / AUTOML_JOBS
        self.job_ids = platform_jobs(folder)
        """Trial -> (job id, results folder), also of those that have ended."""

    def run(self, driver: TrialDriver) -> None:
        """Submit and poll until the driver is over and no job is under way."""
        running: dict[int, ActiveJob] = {}
        self._drop_others(running)  # before a new trial takes the number of one that is lost
        while True:
            while len(running) < self._plan.slots and (launch := driver.next_launch()) is not None:
                active = self._take(launch, driver)
                if active is not None:
                    running[launch.number] = active
            self._drop_others(running)
            if not running:
                return
            time.sleep(self._plan.poll_s)
            for number in list(running):
                ended = self._poll(running[number], driver)
                if ended is not None:
                    job_id = running.pop(number).job_id
                    self.artifacts.put(job_id, "failure" if ended.failure else "success")
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

    def _take(self, launch: Launch, driver: TrialDriver) -> ActiveJob | None:
        """Find the trial's job where it is under way, else submit it."""
        known, record = self.active.jobs.get(launch.number), self._ledger.trial(launch.number)
        if known is not None and known.retry not in (None, record.retries):
            known = None  # of a start that was lost and given up
        if known is not None and not known.job_id:
            self._find_lost(known)
        if known is not None and known.job_id:
            logger.info("trial %d goes on as job %s", launch.number, known.job_id)
        else:
            known = ActiveJob(
                rec_id=launch.number, until_epoch=record.until_epoch, retry=record.retries
            )
            failure = self._try_to_submit(known, launch)
            if failure is not None:
                driver.on_end(launch.number, Ended(failure=failure))
                self.active.drop(launch.number)
                return None
        self.job_ids[launch.number] = (known.job_id, known.results_dir)
        write_json(self._jobs_file, self.job_ids)
        return known

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
            self._find_lost(known)
        if not known.job_id:
            why = f"{type(error).__name__}: {error}" if error else f"no job id: {created!r:.80}"
            return _failure("infrastructure", f"{NOT_CREATED}: {why}")
        known.results_dir = known.results_dir or self._results_dir(known, created)
        _, error = attempt(self.active.put, known)
        if error is not None:
            self._cancel(known)
            return _failure("infrastructure", f"{NOT_REGISTERED}: {error}")
        return None

    def _results_dir(self, active: ActiveJob, answer: Any) -> str:
        """Where a job's results lie, by a platform's answer about it or by what it says later."""
        if told := getattr(answer, "results_dir", ""):
            return str(told)
        found, _ = attempt_by_name(self._platform, "get_job_results_dir", active.job_id)
        return str(found or "")

    def _find_lost(self, active: ActiveJob) -> None:
        """Look for a job whose submission was cut off, by the id that was asked for."""
        wanted = self._plan.submission.asked_id(active.rec_id)
        found, error = attempt(self._platform.get_job_status, wanted) if wanted else (None, None)
        if error is None and exists_by(found):
            active.job_id = wanted
            active.results_dir = self._results_dir(active, found)
            attempt(self.active.put, active)

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
        if error is not None:
            return self._count_error(active, error)
        status = status_of(answer)
        active.errors = 0
        is_over = status in DONE | FAILED | CANCELED
        logs = self._logs(active, is_over=is_over)
        if status not in FAILED | CANCELED and has_failed_by_log(logs):
            if not is_over:
                self._cancel(active)
            is_over, status = True, _BY_LOG
        self._read_values(active, logs, is_over=is_over)
        if not is_over:
            return None
        return self._end(active, driver, status, logs)

    def _end(self, active: ActiveJob, driver: TrialDriver, status: str, logs: str) -> Ended:
        """How a job ended: one that failed after its value was written has a value all the same."""
        is_known = not self._plan.objectives.missing(active.values)
        if status in CANCELED:
            return Ended(failure=_failure("code", f"{JOB_CANCELED}: the job ended as {status}"))
        is_saved = is_known and (is_clean_up_error(logs) or self._is_in_artifacts(active, status))
        if status in DONE or is_saved:
            return self._succeed(active, driver)
        return Ended(failure=self._analyse(active, logs, status))

    def _is_in_artifacts(self, active: ActiveJob, status: str) -> bool:
        """Whether a job that was ended by its log has left its values in files."""
        return status not in FAILED and not self._plan.objectives.missing(self._files(active))

    def _count_error(self, active: ActiveJob, error: Exception) -> Ended | None:
        active.errors += 1
        if active.errors < MAX_POLL_ERRORS:
            logger.warning("job %s: its status cannot be read: %s", active.job_id, error)
            return None
        self._cancel(active)  # it may run all the same, beside the job that takes its place
        text = f"the status of job {active.job_id} could not be read {active.errors} times: {error}"
        return Ended(failure=_failure("infrastructure", text))

    def _logs(self, active: ActiveJob, *, is_over: bool) -> str:
        logs, error = attempt(read_logs, self._platform, active.job_id, is_over=is_over)
        if error is not None:
            logger.warning("job %s: its log cannot be read: %s", active.job_id, error)
        return str(logs or "")

    def _read_values(self, active: ActiveJob, logs: str, *, is_over: bool) -> None:
        """Keep the newest values: the caller's extractor, files on this disk, the log, files."""
        names = self._plan.objectives.names
        files = self._files(active) if is_over or self._is_local(active) else {}
        for name in names:
            primary = name == names[0]
            places = [find_in_log(logs, name, is_primary=primary), files.get(name)]
            if self._is_local(active):
                places.reverse()
            places.insert(0, self._hooks.extract(logs, name))
            value = next((value for value in places if value is not None), None)
            if value is not None:
                active.values[name] = value

    @staticmethod
    def _is_local(active: ActiveJob) -> bool:
        return bool(active.results_dir) and "://" not in active.results_dir

    def _files(self, active: ActiveJob) -> dict[str, float]:
        """The values in the files of a job, on this disk or by the platform's reader."""
        names = self._plan.objectives.names
        if self._is_local(active) and is_folder(Path(active.results_dir)):
            return values_in_folder(Path(active.results_dir), names)
        read = partial(attempt_by_name, self._platform, "read_job_result_file", active.job_id)
        return values_by_reader(lambda place: read(place)[0], names, self._plan.action)

    def _succeed(self, active: ActiveJob, driver: TrialDriver) -> Ended:
        self._keep_earlier(active)
        missing = self._plan.objectives.missing(active.values)
        primary = self._plan.objectives.primary.metric
        if missing and self._hooks.eval_fn is None:
            names = ", ".join(repr(name) for name in missing)
            return Ended(failure=_failure("code", f"{METRIC_NOT_FOUND}: {names}"))
        value = active.values.get(primary)
        line = {"epoch": active.until_epoch, "value": value, "metrics": dict(active.values)}
        driver.on_epoch(active.rec_id, line)
        return Ended()

    def _keep_earlier(self, active: ActiveJob) -> None:
        """Let a rung trial that left its checkpoint, and no value, keep that of its start."""
        missing = self._plan.objectives.missing(active.values)
        start = self._ledger.trial(active.rec_id).start_from
        if not missing or start is None or not self._is_local(active):
            return
        metric = self._plan.objectives.primary.metric
        folder, length = Path(active.results_dir), active.until_epoch
        if attempt(choose_checkpoint, folder, length, metric, trained=length)[1] is not None:
            return
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
