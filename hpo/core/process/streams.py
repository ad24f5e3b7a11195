"""Output whose reader may go away: a pipe's, as in `hpo search | head`, or a closed terminal."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any, TextIO

_GONE = (errno.EPIPE, errno.EIO)
NAMES = {1: "standard output", 2: "standard error"}
"""What errors call a descriptor, in place of a path."""


class _Output(io.FileIO):
    """A descriptor for writing; once its reader has gone, what is written is dropped."""

    called = ""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in _GONE:
                error.filename = self.called or NAMES.get(self.fileno())
                raise
        _drop(self.fileno())
        return len(data)


def can_draw(stream: TextIO) -> bool:
    """Whether a stream is a terminal on which lines may be drawn anew."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def can_color(stream: TextIO) -> bool:
    """Whether it is one that shows colours, and nobody wants it without (https://no-color.org)."""
    return can_draw(stream) and not os.environ.get("NO_COLOR")


def open_output(
    descriptor: int, *, by_line: bool, encoding: str = "utf-8", called: str = ""
) -> io.TextIOWrapper:
    """A stream for text over a descriptor, which stays open with the stream closed.

    Args:
        descriptor: for writing.
        by_line: whether each line is written at once.
        encoding: of the text.
        called: what errors call it; by default by its number.
    """
    raw = _Output(descriptor, "w", closefd=False)
    raw.called = called
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=encoding, line_buffering=by_line)


def _drop(descriptor: int) -> None:
    """Have what is written to a descriptor from now on go nowhere."""
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, descriptor)
    os.close(sink)


def end_output(refused: OSError | None = None) -> str:
    """Write out what waits in stdout; what cannot be written is dropped. Returns why it cannot.

    Args:
        refused: what was raised where a part of it was written, and has not waited.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        _drop(1)
        refused = error
    return f"{NAMES[1]}: {refused.strerror}; send it to where there is room" if refused else ""


def outlive_readers() -> None:
    """Let stdout and stderr be written to whatever becomes of them; open those that are closed."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        encoding = getattr(getattr(sys, name), "encoding", "utf-8")
        by_line = name == "stderr" or os.isatty(descriptor)
        stream = open_output(descriptor, by_line=by_line, encoding=encoding)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
