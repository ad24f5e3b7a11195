"""One malformed thing at a time: a case says what lies in the folder, what is typed and what must be answered.

The command line's own `main` is called in this process, so that a case costs milliseconds; what it prints is taken
from the file descriptors, C libraries included.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

PATIENCE_S = 10.0
"""Longer than this is a hang."""


class Hung(BaseException):
    """Passes through every `except Exception` on the way."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is typed, what lies in the folder, and which words the answer must hold."""

    name: str
    words: tuple[str, ...] | str
    """`hpo` or `ml_recog` and its arguments; as text, split at spaces."""
    says: tuple[str, ...]
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables that are set meanwhile."""
    make: Callable[[Path], object] | None = None
    """Makes what no table can hold."""

    told: tuple[str, ...] = ()
    """Beginnings of lines that come before the answer and are no fault, such as the chosen route."""

    @property
    def argv(self) -> list[str]:
        return self.words.split() if isinstance(self.words, str) else list(self.words)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back."""

    code: int
    out: str
    err: str
    seconds: float


PROGRAMS = {"hpo": "hpo.cli.main", "ml_recog": "trainer.cli"}


def lay_out(case: Case, folder: Path) -> None:
    """Put a case's files into a folder."""
    for name, content in case.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    if case.make is not None:
        case.make(folder)


def ask(argv: list[str], capture) -> Answer:
    """Call a program's `main`; `capture` is pytest's capfd, or what does the same."""
    program = importlib.import_module(PROGRAMS[argv[0]])
    capture.readouterr()
    began = time.monotonic()
    with _alarm(PATIENCE_S):
        try:
            code = program.main(argv[1:])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
    seconds = time.monotonic() - began
    sys.stdout.flush()
    shown = capture.readouterr()
    return Answer(code=code, out=shown.out, err=shown.err, seconds=seconds)


@contextlib.contextmanager
def _alarm(seconds: float):
    def ring(*_):
        raise Hung(f"no answer within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def judge(case: Case, answer: Answer) -> str:
    """Demand one clear line, exit code 2 and nothing else; returns the line."""
    lines = [line for line in answer.err.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(case.told or ("\n",))]
    told = "\n".join(lines)
    assert "Traceback" not in told, told
    assert answer.code == 2, f"exit code {answer.code}: {told or answer.out}"
    assert len(lines) == 1, told
    assert answer.out == "", answer.out
    line = lines[0]
    assert len(line) < 700, line
    assert not any(ugly in line for ugly in UGLY), line
    for word in case.says:
        assert word in line, f"{word!r} is not in: {line}"
    return line


UGLY = (
    "<class '",
    "object at 0x",
    "Errno",
    "NoneType",
    "site-packages",
    "__init__",
    "dict'",
    "\x00",
)
"""What belongs to the program and not to its user."""


@contextlib.contextmanager
def standing_in(folder: Path):
    """Work in a folder for a while."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
