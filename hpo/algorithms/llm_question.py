"""Sends one question to a language model in a background thread.

An answer takes seconds to a minute. Trials that run meanwhile report and are judged as if nobody
were thinking.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Generic, TypeVar

T = TypeVar("T")

AT_ONCE_S = 0.3
"""Seconds for which an answer is waited for on the spot."""


class Question(Generic[T]):
    """A function that runs in a thread of its own.

    The thread keeps no process alive: a search that pauses waits for no answer, and asks again when
    it goes on.

    Args:
        ask: returns the answer; it must not touch what the caller's thread changes meanwhile.
    """

    def __init__(self, ask: Callable[[], T]) -> None:
        self._answer: Future[T] = Future()
        threading.Thread(target=self._run, args=(ask,), name="language-model", daemon=True).start()

    def _run(self, ask: Callable[[], T]) -> None:
        try:
            self._answer.set_result(ask())
        except BaseException as error:  # noqa: BLE001 - raised again by `answer`
            self._answer.set_exception(error)

    def is_answered(self) -> bool:
        """Whether the answer, or the error in its place, is there."""
        return self._answer.done()

    def wait(self, within_s: float | None = None) -> None:
        """Wait until it is; no longer than this, if given."""
        wait([self._answer], within_s)

    def answer(self) -> T:
        """Return what `ask` returned, or raise what it raised."""
        return self._answer.result()
