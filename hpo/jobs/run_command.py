"""Runs a job's command: in a process of its own (`start_worker`), or in this one.

The command inherits the job's lock, so a job counts as running while its command lives, even when
the worker that watches it was killed.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from hpo.core.errors import SpecError
from hpo.core.process import children
from hpo.core.process.signals import handling
from hpo.core.yaml_io import parse_yaml
from hpo.jobs.job import CANCELED, FAILURE, RUNNING, SUCCESS, Job, read_job
from hpo.jobs.spec_formats import demand_config_path, filled

STOPPED = (130, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP)
"""Exit codes of a command that was asked to end."""
_MAX_RESULTS = 200
"""So many printed values are kept in a record; the rest stands in the action's own files."""

_LAST_WORDS_S = 5.0
"""So long its output is read on once a command has ended."""

_RESULT = re.compile(r"([A-Za-z_][\w. @()-]{0,80}): (\S.*)")

Echo = Callable[[str, str], None]
"""Receives each line as it comes, with the stream that it came on (`stdout`, `stderr`)."""


def command_of(template: str, spec_file: Path) -> list[str]:
    """The words of a skill's command line.

    Args:
        template: such as `ml_recog train -e {config_path}`.
        spec_file: what takes the place of `{config_path}`.

    Raises:
        SpecError: when it does not hold `{config_path}`, or the program is not installed.
    """
    demand_config_path(template, "command")
    words = filled(shlex.split(template), config_path=str(spec_file))
    program = shutil.which(words[0], path=_search_path())
    if program is None:
        raise SpecError(
            f"command: {words[0]} is not installed in this environment or on PATH; "
            "install what the skill runs"
        )
    return [program, *words[1:]]


def run_job(job: Job, echo: Echo | None = None) -> Job:
    """Run a job's command to its end and record how it went.

    Args:
        job: its record; the command's working folder is the present one.
        echo: receives the command's lines.

    Returns:
        The final record. A Ctrl-C or SIGTERM is passed on to the command once, and kills it the
        second time; the job is then canceled.

    Raises:
        RunError: when another worker runs the job.
    """
    with job.lock() as lock:
        job = replace(
            job, status=RUNNING, started=time.time(), pid=None,
            ended=None, exit_code=None, message="", result={},
        )  # fmt: skip
        job.save()
        try:
            code, lines = _follow(job, lock, echo)
        except OSError as error:
            code, lines = 1, _Lines(errors=[f"{job.command[0]}: cannot be started: {error}"])
        job = _ended(job, code, lines)
        job.save()
    return job


class _Lines:
    """What is kept of a command's output: printed values, and the last line about an error."""

    def __init__(self, errors: list[str] | None = None) -> None:
        self.results: dict[str, Any] = {}
        self.errors = errors or []
        self.was_stopped = False
        self.group = 0
        """The command's process group, once it has been started."""

    def add(self, stream: str, line: str) -> None:
        if stream == "stderr" and line.strip():
            self.errors = [line.strip()]
            return
        match = _RESULT.fullmatch(line.strip())
        if match and len(self.results) < _MAX_RESULTS:
            self.results[match[1]] = _scalar(match[2])


def _scalar(text: str) -> Any:
    try:
        value = parse_yaml(text, "a printed value")
    except SpecError:
        return text
    return value if isinstance(value, int | float | bool) else text


def _ended(job: Job, code: int, lines: _Lines) -> Job:
    status = SUCCESS if code == 0 else FAILURE
    if lines.was_stopped or code in STOPPED:
        status = CANCELED
    name = Path(job.command[0]).name if job.command else ""
    last = lines.errors[-1] if lines.errors else f"exit code {code}"
    if code < 0:
        last = f"killed by {signal.Signals(-code).name}"
    message = re.sub(rf"^{re.escape(name)} \S+: (error: )?", "", last)
    return replace(
        job,
        status=status,
        exit_code=code,
        ended=time.time(),
        message="" if status == SUCCESS else message,
        result=lines.results,
    )


def _follow(job: Job, lock: int, echo: Echo | None) -> tuple[int, _Lines]:
    """Start the command, copy its output into the log, and wait for it."""
    lines = _Lines()
    receivers = [lines.add] + ([echo] if echo else [])
    with job.log_file.open("a", encoding="utf-8") as log, _passed_on(lines):
        process = subprocess.Popen(
            job.command,
            cwd=job.cwd or None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=os.environ | {"PATH": _search_path(), "PYTHONUNBUFFERED": "1"},
            start_new_session=True,  # Ctrl-C reaches the command once, by us
            pass_fds=(lock,),
        )
        lines.group = process.pid
        if lines.was_stopped:  # while it was being started
            _kill(lines, signal.SIGTERM)
        replace(job, pid=process.pid).save()
        guard = threading.Lock()
        readers = [
            threading.Thread(target=_copy, args=(stream, name, log, guard, receivers), daemon=True)
            for stream, name in ((process.stdout, "stdout"), (process.stderr, "stderr"))
        ]
        for reader in readers:
            reader.start()
        code = process.wait()
        for reader in readers:
            reader.join(_LAST_WORDS_S)  # what it left behind may hold its output for ever
    return code, lines


def _copy(
    stream: IO[str], name: str, log: IO[str], guard: threading.Lock, receivers: list[Echo]
) -> None:
    with stream:
        for line in stream:
            with guard:
                if log.closed:
                    return
                log.write(line if line.endswith("\n") else f"{line}\n")
                log.flush()
                for receive in receivers:
                    receive(name, line.rstrip("\n"))


@contextlib.contextmanager
def _passed_on(lines: _Lines) -> Iterator[None]:
    """Pass SIGINT, SIGTERM and SIGHUP on to the command: first as SIGTERM, then as SIGKILL."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(_number: int, _frame: object) -> None:
        how = signal.SIGKILL if lines.was_stopped else signal.SIGTERM
        lines.was_stopped = True
        if lines.group:
            _kill(lines, how)

    with handling(handle, signal.SIGINT):
        yield


def _kill(lines: _Lines, how: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(lines.group, how)


def _search_path() -> str:
    """PATH with this interpreter's folder in front: a skill's program may live only there."""
    return os.pathsep.join([str(children.COMMANDS), os.environ.get("PATH", "")])


def start_worker(job: Job) -> subprocess.Popen[bytes]:
    """Start a process of its own that runs a job and outlives this one."""
    return subprocess.Popen(
        children.own("hpo.jobs.run_command", str(job.folder)),
        env=children.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def main(words: list[str]) -> int:
    """Run the job of one folder; returns its command's exit code."""
    return run_job(read_job(Path(words[0]))).exit_code or 0
