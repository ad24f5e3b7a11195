"""Runs trials as jobs of a platform SDK that offers the four published calls.

What was submitted stands in `active_jobs.json` before and after the submission, so a resumed search
polls the jobs that are under way and submits none of them again.
"""

from __future__ import annotations

import inspect
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from hpo.automl.failures import explain_analysis
from hpo.automl.hooks import Hooks
from hpo.automl.metrics import METRIC_NOT_FOUND, find_in_log
from hpo.automl.status_file import StatusFile
from hpo.core.errors import RunError
from hpo.core.protocols import TrialDriver
from hpo.core.spec_dicts import merged, nest
from hpo.core.trial import Ended, Job, TrialRecord
from hpo.jobs.checkpoints import choose_checkpoint
from hpo.run.ledger import Ledger
from hpo.run.run_dir import write_atomically

logger = logging.getLogger(__name__)

ACTIVE_FILE = "active_jobs.json"
JOBS_FILE = Path(".automl") / "controller" / "jobs.json"
MAX_POLL_ERRORS = 20
"""After so many failed polls in a row a job counts as lost."""
_DONE = frozenset({"done", "success", "succeeded", "successful", "complete", "completed",
                   "finished", "pass", "passed"})  # fmt: skip
_FAILED = frozenset({"error", "failed", "failure", "canceled", "cancelled", "aborted", "stopped",
                     "terminated", "timeout", "timed_out", "deleted"})  # fmt: skip


class Platform(Protocol):
    """What a platform must be able to do; `cancel_job(id)` is used where it exists."""

    def create_job(self, **facts: Any) -> Any:
        """Submit a job and return an object with `id` and, where it is known, `results_dir`."""

    def get_job_status(self, job_id: str) -> Any:
        """Return an object with `status`."""

    def get_job_logs(self, job_id: str) -> str:
        """Return what the job has printed so far."""

    def get_failure_analysis(self, job_id: str) -> Any:
        """Say why a job failed."""


@dataclass(slots=True, kw_only=True)
class ActiveJob:
    """One trial that is a job of the platform."""

    rec_id: int
    job_id: str = ""
    """Empty while the submission is under way."""
    results_dir: str = ""
    until_epoch: int = 0
    errors: int = 0
    value: float | None = None
    status_file: StatusFile | None = field(default=None, repr=False)


class ActiveJobs:
    """`active_jobs.json`: which jobs are under way, kept up to date at every change."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ACTIVE_FILE
        self.jobs: dict[int, ActiveJob] = {}

    def load(self) -> None:
        """Read what an earlier start of the search left."""
        for entry in read_active(self._path.parent):
            job = ActiveJob(**{k: entry[k] for k in _SAVED if k in entry})
            self.jobs[job.rec_id] = job

    def put(self, job: ActiveJob) -> None:
        """Add or change a job."""
        self.jobs[job.rec_id] = job
        self.save()

    def drop(self, rec_id: int) -> None:
        """Forget a job that has ended."""
        self.jobs.pop(rec_id, None)
        self.save()

    def save(self) -> None:
        """Replace the file in one step."""
        rows = [{name: getattr(job, name) for name in _SAVED} for job in self.jobs.values()]
        write_atomically(self._path, json.dumps({"active_jobs": rows}, indent=1) + "\n")


_SAVED = ("rec_id", "job_id", "results_dir", "until_epoch")


def read_active(folder: Path) -> list[dict[str, Any]]:
    """The jobs that are under way, by file alone; empty where there is none or half a file."""
    try:
        data = json.loads((folder / ACTIVE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    rows = data.get("active_jobs") if isinstance(data, dict) else data
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformPlan:
    """What does not change between the jobs of one search."""

    metric: str
    epochs_key: str
    slots: int
    facts: Mapping[str, Any]
    """Keyword arguments of every `create_job`."""
    describe: Callable[[dict[str, Any], int], Mapping[str, Any]]
    """(spec, number) -> keyword arguments of one job: command, name, specs, ..."""
    poll_s: float = 5.0
    resume_fields: tuple[str, ...] = ()
    """Spec keys that take the checkpoint to go on from."""


class PlatformExecutor:
    """Implements `hpo.core.protocols.Executor` over a platform's jobs.

    Args:
        platform: see `Platform`.
        plan: what all jobs have in common.
        hooks: the caller's functions.
        ledger: for the lengths of trials.
        folder: where `active_jobs.json` lies.
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
        self._jobs_file = folder / JOBS_FILE
        self.job_ids = _read_jobs(self._jobs_file)
        """Trial -> (job id, results folder), also of those that have ended."""

    def run(self, driver: TrialDriver) -> None:
        """Submit and poll until the driver is over and no job is under way."""
        running: dict[int, ActiveJob] = {}
        while True:
            while len(running) < self._plan.slots and (job := driver.next_job()) is not None:
                active = self._take(job, driver)
                if active is not None:
                    running[job.number] = active
            if not running:
                return
            time.sleep(self._plan.poll_s)
            for number in list(running):
                ended = self._poll(running[number], driver)
                if ended is not None:
                    del running[number]
                    self.active.drop(number)
                    driver.on_end(number, ended)

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

    def _take(self, job: Job, driver: TrialDriver) -> ActiveJob | None:
        """Find the trial's job where it is under way, else submit it."""
        record = self._ledger.trial(job.number)
        known = self.active.jobs.get(job.number)
        if known is not None and not known.job_id:
            self._find_lost(known, job)
        if known is not None and known.job_id:
            logger.info("trial %d goes on as job %s", job.number, known.job_id)
        else:
            known = ActiveJob(rec_id=job.number, until_epoch=record.until_epoch)
            self.active.put(known)
            source, missing = self._source_of(record)
            if missing:
                self.active.drop(job.number)
                driver.on_end(job.number, Ended(failure={"kind": "data", "message": missing}))
                return None
            _, error = attempt(self._submit, known, job, source)
            if error is not None:
                self.active.drop(job.number)
                text = f"create_job failed: {type(error).__name__}: {error}"
                driver.on_end(job.number, Ended(failure=_failure(text)))
                return None
            self.active.put(known)
        self.job_ids[job.number] = (known.job_id, known.results_dir)
        write_atomically(self._jobs_file, json.dumps(self.job_ids, indent=1) + "\n")
        if known.results_dir and "://" not in known.results_dir:
            known.status_file = StatusFile(Path(known.results_dir), self._plan.metric)
        return known

    def _find_lost(self, active: ActiveJob, job: Job) -> None:
        """Look for a job whose submission was cut off, by the id that was asked for."""
        wanted = str(self._plan.describe(job.spec, job.number).get("job_id", ""))
        found, error = attempt(self._platform.get_job_status, wanted)
        if error is not None:  # there is none, or ids are the platform's own choice
            return
        active.job_id = wanted
        active.results_dir = str(getattr(found, "results_dir", "") or "")

    def _source_of(self, record: TrialRecord) -> tuple[str, str]:
        """The checkpoint that a rung's job goes on from, and what is wrong where there is none."""
        if record.start_from is None:
            return "", ""
        number, epoch = record.start_from
        job_id, folder = self.job_ids.get(number, ("", ""))
        where = f"epoch {epoch} of trial {number} (job {job_id})"
        if not folder or "://" in folder:
            return "", f"the checkpoint of {where} cannot be told: its results are not on this disk"
        try:
            return str(choose_checkpoint(Path(folder), epoch, self._plan.metric)[0]), ""
        except RunError as error:
            return "", f"nothing to go on from: {error}"

    def _submit(self, active: ActiveJob, job: Job, source: str) -> None:
        spec = merged(job.spec, nest({self._plan.epochs_key: active.until_epoch}))
        if source:
            spec = merged(spec, nest(dict.fromkeys(self._plan.resume_fields, source)))
        facts = {**self._plan.facts, **self._plan.describe(spec, job.number)}
        created = call_with_known(self._platform.create_job, facts)
        active.job_id = str(getattr(created, "id", created))
        active.results_dir = str(getattr(created, "results_dir", "") or "")

    def _poll(self, active: ActiveJob, driver: TrialDriver) -> Ended | None:
        """Look at a job; None while it runs."""
        answer, error = attempt(self._platform.get_job_status, active.job_id)
        if error is not None:
            return self._count_error(active, error)
        status = status_of(answer)
        active.errors = 0
        logs = self._logs(active)
        self._read_value(active, logs)
        if status in _DONE:
            return self._end(active, driver)
        if status in _FAILED:
            return Ended(failure=self._analyse(active, logs, status))
        return None

    def _count_error(self, active: ActiveJob, error: Exception) -> Ended | None:
        active.errors += 1
        if active.errors < MAX_POLL_ERRORS:
            logger.warning("job %s: its status cannot be read: %s", active.job_id, error)
            return None
        text = f"the status of job {active.job_id} could not be read {active.errors} times: {error}"
        return Ended(failure=_failure(text))

    def _logs(self, active: ActiveJob) -> str:
        logs, error = attempt(self._platform.get_job_logs, active.job_id)
        if error is not None:
            logger.warning("job %s: its log cannot be read: %s", active.job_id, error)
        return str(logs or "")

    def _read_value(self, active: ActiveJob, logs: str) -> None:
        """Keep the newest value: the caller's extractor, else status.json, else the log."""
        value = self._hooks.extract(logs, self._plan.metric)
        if value is None and active.status_file is not None:
            told = active.status_file.poll()
            value = told[-1][1] if told else None
        if value is None:
            value = find_in_log(logs, self._plan.metric)
        active.value = active.value if value is None else value

    def _end(self, active: ActiveJob, driver: TrialDriver) -> Ended:
        value = active.value
        if value is None and self._hooks.eval_fn is None:
            text = f"{METRIC_NOT_FOUND}: {self._plan.metric!r}"
            return Ended(failure={"kind": "code", "message": text})
        driver.on_epoch(active.rec_id, {"epoch": active.until_epoch, "value": value})
        return Ended()

    def _analyse(self, active: ActiveJob, logs: str, status: str) -> dict[str, str]:
        analysis, error = attempt(self._platform.get_failure_analysis, active.job_id)
        if error is not None:
            logger.warning("job %s: no failure analysis: %s", active.job_id, error)
        return explain_analysis(analysis, logs, status)


def attempt(call: Callable[..., Any], *args: Any) -> tuple[Any, Exception | None]:
    """Call a platform; what it raises comes back as a value."""
    try:
        return call(*args), None
    except Exception as error:  # noqa: BLE001 - a platform's own errors are of any class
        return None, error


def status_of(answer: Any) -> str:
    """A platform's status as one plain lower-case word, whether text, an enum or an object."""
    status = getattr(answer, "status", answer)
    status = getattr(status, "value", status)
    return str(status).rpartition(".")[2].strip().lower()


def call_with_known(function: Callable[..., Any], facts: Mapping[str, Any]) -> Any:
    """Call a platform with those keyword arguments that it takes."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return function(**facts)
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return function(**facts)
    names = {parameter.name for parameter in parameters}
    return function(**{name: value for name, value in facts.items() if name in names})


def _read_jobs(file: Path) -> dict[int, tuple[str, str]]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        return {int(number): (str(pair[0]), str(pair[1])) for number, pair in data.items()}
    except (OSError, ValueError, AttributeError, IndexError, TypeError):
        return {}


def _failure(text: str) -> dict[str, str]:
    return {"kind": "infrastructure", "message": " ".join(text.split())[:500]}
