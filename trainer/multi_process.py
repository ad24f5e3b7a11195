"""Starts a run on several devices as separate processes.

Lightning starts the processes of a run by running the command line again. Where the caller's
command line is not the trainer's, as in a harness's worker, the run is given a process of its own,
which `trainer.rank_process` is the command of; epochs and answers go through two pipes.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from trainer import children, errors
from trainer.config.root import Spec
from trainer.errors import InfrastructureError, SpecError, TrainerError
from trainer.launchers import without_place
from trainer.spec import spec_to_dict

if TYPE_CHECKING:
    from trainer.data.decoding import Progress

Report = Callable[[Mapping[str, Any]], bool]

_END_WITHIN_S = 20.0
"""How long the processes may take to end by themselves, once they were told to."""
_LOST = InfrastructureError.__name__


def fit_anywhere(
    spec: Spec,
    report: Report,
    resume_from: Path | None = None,
    start_epoch: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train as `trainer.training.fit` does: here, or on several devices in processes of its own."""
    if spec.train.num_gpus * spec.train.num_nodes > 1:
        return fit_in_processes(spec, report, resume_from, start_epoch, progress)
    from trainer.training import fit

    return fit(spec, report, resume_from, start_epoch, progress)


def fit_in_processes(
    spec: Spec,
    report: Report,
    resume_from: Path | None = None,
    start_epoch: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train as `trainer.training.fit` does, in one process per device; none of them is left behind.

    Raises:
        TrainerError: what the run itself raised, or `InfrastructureError` where its processes were
            lost.
    """
    if spec.train.num_nodes > 1:
        raise SpecError(
            f"train.num_nodes: must be 1 in a run that a harness starts, got {spec.train.num_nodes}"
        )
    task = {
        "spec": spec_to_dict(spec),
        "resume_from": None if resume_from is None else str(resume_from),
        "start_epoch": start_epoch,
        "parent": os.getpid(),
    }
    with _started(task) as (process, lines, answers, folder):
        for line in lines:
            message = json.loads(line)
            if "receipt" in message:
                return dict(message["receipt"])
            if "failure" in message:
                raise _rebuilt(_first_cause(folder, message["failure"]))
            if "progress" in message:
                if progress is not None:
                    progress(*message["progress"])
                continue
            _answer_for(report, message["epoch"], answers, process)
        code = process.wait()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        lost = f"the run's processes were lost ({how})"
        raise _rebuilt(_first_cause(folder, {"type": _LOST, "message": lost}))


def _first_cause(folder: Path, told: Mapping[str, str]) -> Mapping[str, str]:
    """What another process has failed by, where the first was killed for it or lost it."""
    if told["type"] != _LOST:
        return told
    files = sorted(folder.glob("failure_*.json"))
    others = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    return next((failure for failure in others if failure["type"] != _LOST), told)


def _answer_for(
    report: Report, epoch: Mapping[str, Any], answers: IO[str], process: subprocess.Popen[bytes]
) -> None:
    """Pass an epoch on and its answer back; what the report raises ends the run in good order."""
    try:
        goes_on = report(epoch)
    except BaseException:
        _answer(answers, goes_on=False)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_WITHIN_S)  # the last checkpoint may be on its way to the disk
        raise
    _answer(answers, goes_on=goes_on)


def _answer(answers: IO[str], *, goes_on: bool) -> None:
    with contextlib.suppress(BrokenPipeError):  # its end tells why
        answers.write(f"{json.dumps(goes_on)}\n")
        answers.flush()


@contextlib.contextmanager
def _started(
    task: Mapping[str, Any],
) -> Iterator[tuple[subprocess.Popen[bytes], IO[str], IO[str], Path]]:
    """Start the first process, in a group of its own that ends with the block.

    Yields:
        The process, its words, what answers them, and a folder that all processes can write to.
    """
    epochs_in, epochs_out = os.pipe()
    answers_in, answers_out = os.pipe()
    with (
        tempfile.TemporaryDirectory(prefix="ml-recog-") as folder,
        os.fdopen(epochs_in) as lines,
        os.fdopen(answers_out, "w") as answers,
    ):
        file = Path(folder) / "task.json"
        file.write_text(json.dumps({**task, "epochs": epochs_out, "answers": answers_in}))
        process = subprocess.Popen(
            children.command("trainer.rank_process", str(file)),
            env=without_place(children.environment()),
            pass_fds=(epochs_out, answers_in),
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            **_outputs(),
        )
        os.close(epochs_out)
        os.close(answers_in)
        try:
            yield process, lines, answers, Path(folder)
        finally:
            _end(process)


def _outputs() -> dict[str, Any]:
    """What the processes print goes where this one's words go, a trial's log for example."""
    try:
        log = sys.stderr.fileno()
    except (OSError, ValueError):
        return {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return {"stdout": log, "stderr": log}


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let the whole group end; kill what does not."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        if process.poll() is None:
            process.terminate()
        process.wait(_END_WITHIN_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _rebuilt(failure: Mapping[str, str]) -> Exception:
    """The error of the other process: one of the trainer's own, or its words."""
    kind = getattr(errors, failure["type"], None)
    if isinstance(kind, type) and issubclass(kind, TrainerError):
        return kind(failure["message"])
    return RuntimeError(f"{failure['type']}: {failure['message']}")
