"""Runs whole commands and Python scripts as local processes, through the calls of a platform.

    jobs = ProcessPlatform(Path("jobs"), venv_path=Path("venv"))
    job = jobs.create_job(image="", command="python train.py", env_vars={"SEED": "3"})

A job's folder `<work_dir>/<job_id>/` holds its log and record, and in `results/` what it writes;
the environment variable `RESULTS_DIR` names that folder. The command inherits the folder's lock, so
that a job counts as running while its processes live, whoever has started them.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hpo.core.addresses import is_remote, without_file
from hpo.core.durable_files import write_atomically
from hpo.core.errors import RunError, SpecError
from hpo.core.process.groups import end_group, is_alive
from hpo.core.spec_dicts import merged, nest, value_at
from hpo.jobs.spec_formats import filled, render_spec
from hpo.run.lock_file import hold, is_locked
from hpo.run.plain_files import read_object, read_printed, write_json

RECORD, LOG, EXIT, PID, LOCK = "job.json", "log.txt", "exit_code", "pid", ".lock"
RUNNING, COMPLETE, ERROR, CANCELED = "Running", "Complete", "Error", "Canceled"
STOP_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One job, as `create_job` and `get_job_status` show it."""

    id: str
    status: str
    results_dir: str
    pid: int = 0


class ProcessPlatform:
    """Local processes as the jobs of a platform.

    Args:
        work_dir: jobs have their folders below it.
        venv_path: a virtual environment whose programs jobs find first; empty: this interpreter's.
    """

    def __init__(self, work_dir: Path | str = "jobs", venv_path: Path | str = "") -> None:
        self.work_dir = Path(work_dir).absolute()
        self._programs = Path(venv_path).absolute() / "bin" if venv_path else None
        if self._programs is not None and not (self._programs / "python").exists():
            raise SpecError(f"venv_path: {self._programs}/python: no such file")
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def create_job(
        self,
        image: str = "",
        command: str = "",
        *,
        env_vars: Mapping[str, str] | None = None,
        gpu_ids: Sequence[int] | None = None,
        name: str = "",
    ) -> Process:
        """Start a command of the shell.

        Args:
            image: not used: the command runs on this machine, as it is.
            command: what the shell is given.
            env_vars: set for this job alone.
            gpu_ids: GPUs that the job may see.
            name: that the job gets as its id.

        Raises:
            RunError: when there is a job of that name.
        """
        del image
        if not command.strip():
            raise SpecError("command: must be given")
        job_id, folder = self._make(name)
        return self._start(job_id, ["/bin/sh", "-c", command], folder, env_vars, gpu_ids, folder)

    def create_python_job(  # noqa: PLR0913 - the published call
        self,
        *,
        script: str,
        specs: Mapping[str, Any],
        config_format: str = "yaml",
        script_args: Sequence[str] = ("--config", "{config_path}"),
        inputs: Mapping[str, Any] | None = None,
        outputs: Mapping[str, Any] | None = None,
        upload_excludes: Sequence[str] = (),
        cwd: str = "",
        network_arch: str = "",
        action: str = "",
        env_vars: Mapping[str, str] | None = None,
        gpu_ids: Sequence[int] | None = None,
        name: str = "",
    ) -> Process:
        """Start a Python script with its spec in a file.

        Args:
            script: absolute.
            specs: nested.
            config_format: of the spec file: `json`, `yaml` or `toml`.
            script_args: may hold `{config_path}`, `{results_dir}` and `{job_id}`.
            inputs: spec keys of inputs; none may be an address of another machine.
            outputs: spec keys of outputs, which are moved into the job's own folder.
            upload_excludes: not used: nothing is uploaded.
            cwd: where the script is run.
            network_arch: not used: for the log alone.
            action: not used: for the log alone.
            env_vars: set for this job alone.
            gpu_ids: GPUs that the job may see.
            name: that the job gets as its id.

        Raises:
            SpecError: when an input lies on another machine.
            RunError: when there is a job of that name.
        """
        del upload_excludes, network_arch, action
        places = _local_inputs(specs, inputs or {})
        job_id, folder = self._make(name)
        results = folder / "results"
        places |= {n: str(results / n.rpartition(".")[2]) for n in outputs or {}}
        own = merged(specs, nest(places))
        file = folder / f"spec.{config_format}"
        write_atomically(file, render_spec(own, config_format))
        words = filled(script_args, config_path=str(file), results_dir=str(results), job_id=job_id)
        python = str(self._programs / "python") if self._programs else sys.executable
        start = [python, "-B", script, *words]  # -B: nothing is written beside the script
        return self._start(job_id, start, folder, env_vars, gpu_ids, Path(cwd or folder))

    def get_job_status(self, job_id: str) -> Process:
        """How a job stands: `Running`, `Complete`, `Error` or `Canceled`."""
        record = self._record(job_id)
        process = self._running.get(job_id)
        if process is not None and process.poll() is None:
            return record
        if record.status == CANCELED:
            return record
        code = self._exit_code(job_id)
        if code is None and process is None and self._is_running(record):
            return record
        code = self._exit_code(job_id)  # which is written before the process is gone
        return replace(record, status=COMPLETE if code == 0 else ERROR)

    def get_job_logs(self, job_id: str, tail: int | None = None) -> str:
        """What a job has printed; with `tail` so many of its last lines."""
        text = read_printed(self._folder(job_id) / LOG)
        return text if tail is None else "\n".join(text.splitlines()[-tail:])

    def get_failure_analysis(self, job_id: str) -> dict[str, Any]:
        """Why a job failed: `status`, `exit_code` and the last line of its log."""
        lines = [line for line in self.get_job_logs(job_id).splitlines() if line.strip()]
        code = self._exit_code(job_id)
        last = lines[-1] if lines else "it printed nothing"
        return {"status": self.get_job_status(job_id).status, "exit_code": code, "message": last}

    def get_job_results_dir(self, job_id: str) -> str:
        """Where a job writes."""
        return self._record(job_id).results_dir

    def read_job_result_file(self, job_id: str, relative: str) -> str | None:
        """The text of a file below a job's results; None where there is none."""
        results = Path(self._record(job_id).results_dir)
        file = (results / relative).resolve()
        if not file.is_relative_to(results.resolve()) or not file.is_file():
            return None
        return file.read_text(encoding="utf-8", errors="replace")

    def cancel_job(self, job_id: str) -> Process:
        """End a job that runs.

        Raises:
            RunError: when another process does not come to the end of starting it.
        """
        end = time.monotonic() + STOP_WITHIN_S
        while (record := self.get_job_status(job_id)).status == RUNNING and not record.pid:
            if time.monotonic() > end:
                raise RunError(f"{job_id}: is being started by another process; try again later")
            time.sleep(0.01)
        if record.status != RUNNING:
            return record
        record = replace(record, status=CANCELED)
        self._save(record)
        end_group(record.pid, STOP_WITHIN_S)
        return record

    def delete_job_artifacts(self, job_id: str) -> bool:
        """Delete what a job has written; its log and record stay."""
        shutil.rmtree(self._record(job_id).results_dir, ignore_errors=True)
        return not Path(self._record(job_id).results_dir).exists()

    def _make(self, name: str) -> tuple[str, Path]:
        """Make a job's folder; one whose start was cut off before it began is taken."""
        job_id = name or f"job-{uuid.uuid4().hex[:12]}"
        if job_id != Path(job_id).name or job_id.startswith("."):
            raise SpecError(f"name: must be usable as a folder name, got {name!r}")
        folder = self.work_dir / job_id
        (folder / "results").mkdir(parents=True, exist_ok=True)
        if self._has_begun(folder):
            raise RunError(f"{job_id}: there is such a job in {self.work_dir} already")
        return job_id, folder

    @staticmethod
    def _has_begun(folder: Path) -> bool:
        """Whether a job was started; who starts it and its own first step write its number."""
        if not (record := read_object(folder / RECORD)):
            return False
        has_number = bool(record.get("pid")) or (folder / PID).exists() or is_locked(folder / LOCK)
        return has_number or not (folder / LOCK).exists()  # of an earlier release

    def _is_running(self, record: Process) -> bool:
        lock = self.work_dir / record.id / LOCK
        # Earlier releases held none.
        return is_locked(lock) if lock.exists() else is_alive(record.pid)

    def _start(
        self,
        job_id: str,
        words: list[str],
        folder: Path,
        env_vars: Mapping[str, str] | None,
        gpu_ids: Sequence[int] | None,
        cwd: Path,
    ) -> Process:
        environment = {**os.environ, "RESULTS_DIR": str(folder / "results")}
        programs = self._programs or Path(sys.executable).parent
        environment["PATH"] = f"{programs}{os.pathsep}{environment.get('PATH', '')}"
        if gpu_ids is not None:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, gpu_ids))
        environment |= {str(name): str(value) for name, value in (env_vars or {}).items()}
        # The shell keeps the exit code, so that a later process can tell how the job ended.
        files = {name: shlex.quote(str(folder / name)) for name in (PID, EXIT)}
        line = f"echo $$ > {files[PID]}; {shlex.join(words)}; echo $? > {files[EXIT]}"
        record = Process(id=job_id, status=RUNNING, results_dir=str(folder / "results"))
        taken = f"{job_id}: is started by another process"
        with hold(folder / LOCK, lambda: taken) as lock, (folder / LOG).open("wb") as log:
            self._save(record)
            process = subprocess.Popen(
                ["/bin/sh", "-c", line], cwd=cwd, env=environment, stdin=subprocess.DEVNULL,
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True, pass_fds=(lock,),
            )  # fmt: skip
            self._running[job_id] = process
            record = replace(record, pid=process.pid)
            self._save(record)
        return record

    def _folder(self, job_id: str) -> Path:
        folder = self.work_dir / job_id
        if job_id != Path(job_id).name or not self._has_begun(folder):
            raise RunError(f"{job_id}: no such job in {self.work_dir}")
        return folder

    def _record(self, job_id: str) -> Process:
        folder = self._folder(job_id)
        record = Process(**json.loads((folder / RECORD).read_text(encoding="utf-8")))
        record = replace(record, results_dir=str(folder / "results"))  # it may have been copied
        number = read_printed(folder / PID).strip()
        return record if record.pid or not number else replace(record, pid=int(number))

    def _save(self, record: Process) -> None:
        write_json(self.work_dir / record.id / RECORD, asdict(record))

    def _exit_code(self, job_id: str) -> int | None:
        try:
            return int((self._folder(job_id) / EXIT).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None


def _local_inputs(specs: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, str]:
    """The inputs that a spec names, by its keys, as paths of this machine.

    Raises:
        SpecError: when one lies on another machine.
    """
    named = {name: place for name in inputs if (place := value_at(specs, name))}
    if remote := [name for name, place in named.items() if is_remote(str(place))]:
        raise SpecError(f"{', '.join(remote)}: must lie on this machine, as its processes run here")
    return {name: without_file(place) for name, place in named.items() if isinstance(place, str)}
