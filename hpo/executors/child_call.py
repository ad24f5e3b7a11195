"""Calls methods of a trainer in a process of its own, for a driver that must stay free of torch.

    with calls_in_child("ml_recog") as call:
        call("screen", {"spec": spec}, progress)

The process reads calls from its stdin, a line each, and writes JSON lines to its stdout: progress,
then the result or the error. What libraries print goes to its stderr. One process answers all
calls; after one that failed, the next call gets a new one.
"""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

from hpo.core.process import children
from hpo.core.protocols import Progress
from hpo.core.trial_failures import describe_failure, exits_as_failures
from hpo.study.trainers import find_trainer

logger = logging.getLogger(__name__)

_SHOWN = 300
"""Characters of what a dead child printed last."""


class CallFailedError(Exception):
    """A call failed in the child.

    Args:
        kind: the cause in the words of a failed trial (`hpo.core.trial.FAILURE_KINDS`).
        message: one line.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


Call = Callable[[str, Mapping[str, Any], Progress], Any]
"""Called with a method's name, its arguments by name as plain data, and a function that receives
progress, whose errors end the child. Raises CallFailedError where the method raised, or its process
died."""


@contextlib.contextmanager
def calls_in_child(trainer_name: str) -> Iterator[Call]:
    """Give what calls methods of a trainer, and end its process afterwards.

    A call `method(**arguments, progress=...)` returns what the method does.
    """
    with contextlib.ExitStack() as running:
        child: _Child | None = None

        def call(method: str, arguments: Mapping[str, Any], progress: Progress) -> Any:
            nonlocal child
            child = child or running.enter_context(_Child.started())
            try:
                return child.ask([trainer_name, method, dict(arguments)], progress)
            except BaseException:
                child = None  # a failure may have left the process unfit for the next call
                running.close()
                raise

        yield call


@dataclass(frozen=True, slots=True)
class _Child:
    """A process that answers calls, and the file that holds what it has printed."""

    process: subprocess.Popen[str]
    printed: IO[str]

    @classmethod
    @contextlib.contextmanager
    def started(cls) -> Iterator[_Child]:
        """Start one; it is killed at the end."""
        with (
            tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace") as printed,
            subprocess.Popen(
                children.own("hpo.executors.child_call"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=printed,
                text=True,
                env=children.environment(),
                start_new_session=True,  # Ctrl-C reaches the driver alone
            ) as process,
        ):
            try:
                yield cls(process, printed)
            finally:
                process.kill()

    def ask(self, question: list[Any], progress: Progress) -> Any:
        """Have it answer one call.

        Raises:
            CallFailedError: the method raised, or the process died.
        """
        process = self.process
        assert process.stdin is not None  # noqa: S101 - opened as pipes above
        assert process.stdout is not None  # noqa: S101
        with contextlib.suppress(
            BrokenPipeError
        ):  # the process has ended; the error is raised below
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
        for line in process.stdout:
            told = json.loads(line)
            if "progress" in told:
                progress(*told["progress"])
            elif "failure" in told:
                raise CallFailedError(**told["failure"])
            else:
                return told["result"]
        self.printed.seek(0)
        words = " ".join(self.printed.read()[-_SHOWN:].split())
        raise CallFailedError("code", f"its process ended with {process.wait()}: {words}")


def main(_words: list[str]) -> int:
    """Make the calls that stand on stdin, a line each."""
    given, out, sys.stdout = sys.stdin, sys.stdout, sys.stderr

    def send(**line: Any) -> None:
        out.write(json.dumps(line) + "\n")
        out.flush()

    for line in given:
        trainer_name, method, arguments = json.loads(line)
        try:
            with exits_as_failures():
                call = getattr(find_trainer(trainer_name), method)
                send(result=call(**arguments, progress=lambda *words: send(progress=words)))
        except Exception as error:
            logger.exception("%s failed", method)
            send(failure=describe_failure(error))
    return 0
