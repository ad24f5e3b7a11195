"""Sends what a thread prints elsewhere, while other threads print where they did.

    with diverted(log):
        print("into the log")
        with undiverted():
            print("to the terminal")

`contextlib.redirect_stdout` would move the streams of the whole process, and two threads that use
it leave each other's closed files behind.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from hpo.core.process.imports import is_own_process

_LOCK = threading.Lock()
_OF_THREAD = threading.local()
"""Stream's name -> where this thread prints, the last one counts; None stands for no diversion."""


class _ByThread:
    """Stands for `sys.stdout` or `sys.stderr` while a thread diverts it."""

    def __init__(self, name: str, given: Any) -> None:
        self._name, self.given = name, given
        self.users = 0
        self.of_others: list[TextIO] = []
        """Where threads print that divert nothing; they print to `given` without any."""

    def __getattr__(self, attribute: str) -> Any:
        own = getattr(_OF_THREAD, self._name, None)
        target = own[-1] if own else next(reversed(self.of_others), None)
        return getattr(self.given if target is None else target, attribute)


@contextlib.contextmanager
def diverted(stream: TextIO, *names: str) -> Iterator[None]:
    """Have this thread print to a stream.

    In processes of this project, which are there for what is diverted, other threads follow.

    Args:
        stream: stays the caller's.
        names: `stdout`, `stderr`; both where none is named.
    """
    with contextlib.ExitStack() as stack:
        for name in names or ("stdout", "stderr"):
            proxy = stack.enter_context(_installed(name))
            if is_own_process():
                proxy.of_others.append(stream)
                stack.callback(proxy.of_others.remove, stream)
            stack.enter_context(_pushed(name, stream))
        yield


@contextlib.contextmanager
def muted() -> Iterator[None]:
    """Drop what this thread prints to stdout."""
    sink = _nowhere()
    with contextlib.closing(sink), _installed("stdout"), _pushed("stdout", sink):
        yield


@contextlib.contextmanager
def undiverted() -> Iterator[None]:
    """Have this thread print where it did before it was diverted; for functions of the user's."""
    with _pushed("stdout", None), _pushed("stderr", None):
        yield


@contextlib.contextmanager
def _pushed(name: str, stream: TextIO | None) -> Iterator[None]:
    own = _OF_THREAD.__dict__.setdefault(name, [])
    own.append(stream)
    try:
        yield
    finally:
        own.pop()


@contextlib.contextmanager
def _installed(name: str) -> Iterator[_ByThread]:
    with _LOCK:
        proxy = getattr(sys, name)
        if not isinstance(proxy, _ByThread):
            proxy = _ByThread(name, proxy or _nowhere())  # a program may have none
            setattr(sys, name, proxy)
        proxy.users += 1
    try:
        yield proxy
    finally:
        with _LOCK:
            proxy.users -= 1
            if not proxy.users and getattr(sys, name) is proxy:
                setattr(sys, name, proxy.given)


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")
