"""The event bus: sends what happens in a search to every listener."""

from __future__ import annotations

import errno
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from hpo.core.event_json import to_json
from hpo.core.events import Error, Event
from hpo.core.protocols import Listener

logger = logging.getLogger(__name__)

FULL = (errno.ENOSPC, errno.EDQUOT)
"""A listener that fails by these has lost nothing that it could not write later."""


class EventBus:
    """Hands events to listeners; one that fails is dropped with a warning, the search goes on."""

    def __init__(self, listeners: Sequence[Listener] = ()) -> None:
        self._listeners = list(listeners)
        self._without_room: set[int] = set()

    def add(self, listener: Listener) -> None:
        """Send what follows to one more listener."""
        self._listeners.append(listener)

    def emit(self, event: Event) -> None:
        """Send an event to all listeners."""
        for listener in list(self._listeners):
            try:
                listener.handle(event)
            except Exception as error:  # noqa: BLE001 - a listener's failure must not end a search
                self._note_failure(listener, error)
            else:
                self._without_room.discard(id(listener))

    def _note_failure(self, listener: Listener, error: Exception) -> None:
        """Drop a listener that failed, unless all that it lacks is room on the disk."""
        if not isinstance(error, OSError) or error.errno not in FULL:
            _warn(listener, "no longer listens", error)
            self._listeners.remove(listener)
        elif id(listener) not in self._without_room:
            self._without_room.add(id(listener))
            _warn(listener, "is late", error)

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
    """Appends events to a file, one JSON object a line; what the disk refuses is written later."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("ab", buffering=0)
        # What a full disk cut off, when the process before this one ended, stays a line of its own.
        self._unwritten = b"" if path.read_bytes()[-1:] in (b"", b"\n") else b"\n"

    def handle(self, event: Event) -> None:
        """Write one line, and before it those that found no room."""
        self._unwritten += to_json(event).encode() + b"\n"
        self._write()

    def close(self) -> None:
        """Close the file."""
        try:
            self._write()
        finally:
            self._stream.close()

    def _write(self) -> None:
        while self._unwritten:
            self._unwritten = self._unwritten[self._stream.write(self._unwritten) :]


class EventPrinter:
    """Writes events to a stream as they happen: the `--json` output."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last: Event | None = None

    def handle(self, event: Event) -> None:
        """Write one line at once."""
        self._last = event
        self._stream.write(to_json(event) + "\n")
        self._stream.flush()

    def print_error(self, error: object) -> None:
        """Make an `error` event the last line, unless it is that already."""
        if not isinstance(self._last, Error):
            self.handle(Error(message=" ".join(str(error).split())))

    def close(self) -> None:
        """The stream belongs to the caller."""
