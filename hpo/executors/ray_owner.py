"""Knows which Ray of this process belongs to searches; ends it, or leaves its cluster, in the end.

A Ray that the program around a search has started or joined by itself is never touched.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hpo.core.diverted import muted
from hpo.core.errors import HpoError

logger = logging.getLogger(__name__)


class Ours:
    """The Ray that searches of this process have started or joined."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.address: str | None = None
        """Of a cluster; empty for one of our own; None where there is none."""
        self.users = 0
        """Executors that run trials in it."""
        self._undo = contextlib.ExitStack()

    def free(self, address: str) -> bool:
        """Make way for a Ray at an address; whether that one is ours already.

        Raises:
            HpoError: the program, or another search in it, has another one.
        """
        ray = sys.modules.get("ray")
        if ray is None or not ray.is_initialized():
            self._forget()
            return False
        if address and self.address == address:
            return True
        if self.address is not None and not self.users:  # left by a search that was refused
            self.end()
            return False
        raise HpoError(
            "executor: this program uses Ray already, by its own ray.init() or in another search, "
            'and a process has but one; call ray.shutdown() first, or give executor="inprocess"'
        )

    @contextlib.contextmanager
    def starting(self, address: str, variables: Mapping[str, str]) -> Iterator[None]:
        """Set variables for a Ray at an address; where it does not start, nothing is left."""
        before = {name: os.environ.get(name) for name in variables}
        self._undo.callback(_set_variables, before)
        os.environ.update(variables)
        read_settings_again()
        try:
            yield
        except BaseException:
            self.end()
            raise
        self._undo.callback(_silence())
        self.address = address

    def at_end(self, do: Callable[[], None]) -> None:
        """Have something done once it has ended."""
        self._undo.callback(do)

    def end(self) -> None:
        """End or leave it, and give the program its own settings back."""
        import ray

        with muted():
            ray.shutdown()
        self._forget()
        read_settings_again()

    def _forget(self) -> None:
        self._undo.close()
        self.address, self.users = None, 0


OURS = Ours()


def demand_free(address: str = "") -> None:
    """Refuse to start or join a Ray beside one of the program's own.

    Raises:
        HpoError: the program has one.
    """
    with OURS.lock:
        OURS.free(address)


def leave() -> None:
    """Say that an executor needs Ray no more: the last one ends it, or leaves the cluster."""
    with OURS.lock:
        OURS.users -= 1
        if OURS.users <= 0:
            OURS.end()


@contextlib.contextmanager
def leaving_unused() -> Iterator[None]:
    """Leave at the end a cluster that was joined for a search which then has not begun."""
    try:
        yield
    finally:
        with OURS.lock:
            if OURS.address is not None and OURS.users <= 0:
                OURS.end()


def read_settings_again() -> None:
    """Make Ray see mode and token: it read them when it was imported, or for an earlier search."""
    internals: Any = importlib.import_module("ray._raylet")
    internals.Config.initialize("")
    internals.AuthenticationTokenLoader.instance().reset_cache()


def _silence() -> Callable[[], None]:
    """Let Ray say nothing of trials that fail or workers that are renewed: the engine does.

    Returns:
        What makes it speak again.
    """
    internals: Any = importlib.import_module("ray._private.worker")
    loggers = [logging.getLogger(name) for name in ("ray", "ray.tune", "ray.train", "ray.data")]
    levels, spoken = [one.level for one in loggers], internals.print_to_stdstream
    internals.print_to_stdstream = lambda data, **_: logger.debug("Ray says: %s", data)
    for one in loggers:
        one.setLevel(logging.CRITICAL)

    def undo() -> None:
        internals.print_to_stdstream = spoken
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)

    return undo


def _set_variables(values: Mapping[str, str | None]) -> None:
    """Set variables of the environment; those that are None are removed."""
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
