"""Events: what happens in a search, told once to every listener."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TextIO

logger = logging.getLogger(__name__)

NAMES = (
    "routed",
    "started",
    "preparing",
    "baseline",
    "review",
    "algorithm",
    "trial_started",
    "epoch",
    "trial_finished",
    "trial_suspended",
    "confirmed",
    "chosen",
    "evaluated",
    "compared",
    "exported",
    "finished",
    "interrupted",
    "error",
)
"""Every event name; `started`, `finished` and `error` frame what `--json` prints."""

Event = dict[str, Any]
Emit = Callable[..., None]
"""`emit(name, **data)`."""


class Listener(Protocol):
    """Hears every event of a run, and returns quickly; its failure never reaches the search."""

    def hear(self, event: Event) -> None:
        """Take one event: `{"event": name, "time": unix seconds, ...}`."""

    def close(self) -> None:
        """No more events will come."""


class EventBus:
    """Hands events to listeners; one that fails is dropped with a warning, the search goes on."""

    def __init__(self, listeners: Sequence[Listener] = ()) -> None:
        self._listeners = list(listeners)

    def add(self, listener: Listener) -> None:
        """Let one more listener hear what follows."""
        self._listeners.append(listener)

    def emit(self, name: str, **data: Any) -> None:
        """Tell all listeners that `name` has happened."""
        if name not in NAMES:
            raise ValueError(f"unknown event {name!r}")
        event = {"event": name, "time": round(time.time(), 3), **data}
        for listener in list(self._listeners):
            try:
                listener.hear(event)
            except Exception as error:  # noqa: BLE001 - a listener's failure must not end a search
                _warn(listener, "no longer listens", error)
                self._listeners.remove(listener)

    def close(self) -> None:
        """Close all listeners."""
        for listener in self._listeners:
            try:
                listener.close()
            except Exception as error:  # noqa: BLE001 - as above
                _warn(listener, "did not close", error)
        self._listeners.clear()


def _warn(listener: Listener, what: str, error: Exception) -> None:
    """Tell a listener's failure: a full disk in a line, a fault of its own with the traceback."""
    is_outside = isinstance(error, OSError)
    logger.warning("%s %s: %s", type(listener).__name__, what, error, exc_info=not is_outside)


class EventFile:
    """Appends events to a file, one JSON object a line."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("a", encoding="utf-8", buffering=1)

    def hear(self, event: Event) -> None:
        """Write one line."""
        self._stream.write(to_json(event) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


class EventPrinter:
    """Writes events to a stream as they happen: the `--json` output."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last = ""

    def hear(self, event: Event) -> None:
        """Write one line at once."""
        self._last = event["event"]
        self._stream.write(to_json(event) + "\n")
        self._stream.flush()

    def tell_error(self, error: Exception) -> None:
        """Make an `error` event the last line, unless it is that already."""
        if self._last != "error":
            message = " ".join(str(error).split())
            self.hear({"event": "error", "time": round(time.time(), 3), "message": message})

    def close(self) -> None:
        """The stream belongs to the caller."""


def to_json(event: Event) -> str:
    """One event as a line of strict JSON; a number that JSON does not know becomes null."""
    try:
        return json.dumps(event, allow_nan=False, default=str)
    except ValueError:
        return json.dumps(_finite(event), allow_nan=False, default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
