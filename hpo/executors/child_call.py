"""Calls a method of a trainer in a process of its own, for a driver that must stay free of torch.

    call_in_child("ml_recog", "screen", {"spec": spec}, progress)

The child reads the call from its stdin and writes JSON lines to its stdout: progress, then the
result or the error. What libraries print goes to its stderr.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Mapping
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


def call_in_child(
    trainer_name: str, method: str, arguments: Mapping[str, Any], progress: Progress
) -> Any:
    """Return what `method(**arguments, progress=...)` of a trainer returns.

    Args:
        trainer_name: registered name of the trainer.
        method: its name.
        arguments: plain data.
        progress: called with how far it is; what it raises ends the child.

    Raises:
        CallFailedError: the method raised, or its process died.
    """
    with tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace") as printed:
        child = subprocess.Popen(
            children.own("hpo.executors.child_call"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=printed,
            text=True,
            env=children.environment(),
            start_new_session=True,  # Ctrl-C reaches the driver alone
        )
        with child:
            try:
                return _answer_of(child, [trainer_name, method, dict(arguments)], progress, printed)
            finally:
                child.kill()


def _answer_of(
    child: subprocess.Popen[str], question: list[Any], progress: Progress, printed: IO[str]
) -> Any:
    assert child.stdin is not None  # noqa: S101 - opened as pipes above
    assert child.stdout is not None  # noqa: S101
    json.dump(question, child.stdin)
    child.stdin.close()
    for line in child.stdout:
        told = json.loads(line)
        if "progress" in told:
            progress(*told["progress"])
        elif "failure" in told:
            raise CallFailedError(**told["failure"])
        else:
            return told["result"]
    printed.seek(0)
    words = " ".join(printed.read()[-_SHOWN:].split())
    raise CallFailedError("code", f"its process ended with {child.wait()}: {words}")


def main(_words: list[str]) -> int:
    """Make the call that stands on stdin."""
    trainer_name, method, arguments = json.load(sys.stdin)
    out, sys.stdout = sys.stdout, sys.stderr

    def send(**line: Any) -> None:
        out.write(json.dumps(line) + "\n")
        out.flush()

    try:
        with exits_as_failures():
            call = getattr(find_trainer(trainer_name), method)
            send(result=call(**arguments, progress=lambda *words: send(progress=words)))
    except Exception as error:
        logger.exception("%s failed", method)
        send(failure=describe_failure(error))
    return 0
