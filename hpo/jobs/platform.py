"""Runs jobs on this machine through the calls of an AutoML platform."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpo.core.errors import RunError, SpecError
from hpo.core.process.groups import end_group
from hpo.jobs.compose_spec import JobRequest
from hpo.jobs.create import JobMaker
from hpo.jobs.data_sources import ROOTS
from hpo.jobs.job import ENDED, Job, find_job
from hpo.jobs.run_command import Echo, run_job, start_worker
from hpo.run.plain_files import read_printed

POLL_S = 0.2
STOP_WITHIN_S = 30.0


class LocalJobs(JobMaker):
    """The jobs below one root.

    Args:
        root: jobs lie in `<root>/results/<job_id>/`.
        skill_dir: the skill whose actions are run; None takes the parent's, else that of the
            registered recognition trainer.

    Example: `jobs = LocalJobs(root)`, `job = jobs.create_job("export", parent_job_id="train-1")`,
        `jobs.wait(job.id).status` -> "success", and the file is `job.results_dir / "model.onnx"`.
    """

    def __init__(self, root: Path | str = ".", skill_dir: Path | str | None = None) -> None:
        super().__init__(root, skill_dir)
        self._workers: list[subprocess.Popen[bytes]] = []

    def create_job(
        self,
        action: str = "train",
        *,
        parent_job_id: str = "",
        spec_overrides: Mapping[str, Any] | None = None,
        specs: Mapping[str, Any] | None = None,
        job_id: str = "",
        base_checkpoint: str = "",
        checkpoint: str | int = "best_model",
        data_roots: Mapping[str, str] | None = None,
    ) -> Job:
        """Make a job and start it in the background.

        Args:
            action: as the skill names it.
            parent_job_id: job, run or path that the job starts from.
            spec_overrides: dotted, nested or shorthand keys; they beat everything else.
            specs: a whole spec in place of the skill's template.
            job_id: the new job's id.
            base_checkpoint: weights that a training starts from.
            checkpoint: which checkpoint of the parent.
            data_roots: `train_dataset_uri`, `eval_dataset_uri`, `calibration_dataset_uri`: what
                holds the data that the skill lists.

        Returns:
            The record; `id` and `results_dir` are final, `status` is what it was at the start.

        Raises:
            HpoError: one line about what is wrong; nothing was started then.
        """
        roots = data_roots or {}
        unknown = sorted(set(roots) - set(ROOTS))
        if unknown:
            raise SpecError(f"data_roots.{unknown[0]}: no such root; they are {', '.join(ROOTS)}")
        request = JobRequest(action=action, overrides=spec_overrides or {}, roots=roots, base=specs)
        job = self.prepare_job(
            request,
            parent_job_id=parent_job_id,
            job_id=job_id,
            checkpoint=checkpoint,
            base_checkpoint=base_checkpoint,
        )
        return self.start(job)

    def start(self, job: Job) -> Job:
        """Run a prepared job in a process of its own."""
        self._workers = [worker for worker in self._workers if worker.poll() is None]
        self._workers.append(start_worker(job))
        return job

    def run(self, job: Job, echo: Echo | None = None) -> Job:
        """Run a prepared job here, to its end."""
        return run_job(job, echo)

    def get_job(self, job_id: str) -> Job:
        """Read a job's record as it is now."""
        return find_job(self.root, job_id)

    def get_job_status(self, job_id: str) -> Job:
        """As `get_job`: its `status` is pending, running, success, failure or canceled."""
        return self.get_job(job_id)

    def get_job_logs(self, job_id: str) -> str:
        """Everything that the job's command has written so far."""
        return read_printed(self.get_job(job_id).log_file)

    def get_failure_analysis(self, job_id: str) -> dict[str, Any]:
        """Why a job failed: `status`, `exit_code`, `message`, `log` (path) and its last lines."""
        job = self.get_job(job_id)
        tail = self.get_job_logs(job_id).splitlines()[-20:]
        facts = {"status": job.status, "exit_code": job.exit_code, "message": job.message}
        return {**facts, "log": str(job.log_file), "tail": tail}

    def wait(self, job_id: str, timeout_s: float | None = None) -> Job:
        """Wait until a job has ended.

        Raises:
            RunError: when it has not ended in time.
        """
        limit = None if timeout_s is None else time.monotonic() + timeout_s
        while (job := self.get_job(job_id)).status not in ENDED:
            if limit is not None and time.monotonic() > limit:
                raise RunError(f"{job_id}: is still {job.status} after {timeout_s:.0f} s")
            time.sleep(POLL_S)
        return job

    def cancel_job(self, job_id: str) -> Job:
        """Ask a running job to end, and wait for it; one that has ended is left alone.

        Raises:
            RunError: when it does not end.
        """
        told: int | None = None
        end = time.monotonic() + STOP_WITHIN_S
        while (job := self.get_job(job_id)).status not in ENDED:
            if job.pid is not None and job.pid != told:
                told = job.pid
                end_group(job.pid, STOP_WITHIN_S / 2)
            if time.monotonic() > end:
                raise RunError(f"{job_id}: is still {job.status}, {STOP_WITHIN_S:.0f} s after")
            time.sleep(POLL_S)
        return job


def create_job(
    action: str,
    *,
    parent_job_id: str = "",
    root: Path | str = ".",
    skill_dir: Path | str | None = None,
    **more: Any,
) -> Job:
    """Make and start one job; see `LocalJobs.create_job` for what else can be said."""
    return LocalJobs(root, skill_dir).create_job(action, parent_job_id=parent_job_id, **more)
