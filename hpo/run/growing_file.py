"""Follows a file that another program appends lines to; what was read is not read again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_MARK_BYTES = 4096
"""So much of what was read last is looked at again, to notice a file that was written anew."""


class GrowingFile:
    """A file of lines that grows, is not there yet, or is written anew by who starts again.

    Args:
        path: where it is or will be.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._mark = (0, b"")
        """Where some of what was read begins, and what it was."""
        self._seen: tuple[int, int] | None = None
        """Size and time of the last look; while they stay, so does the file."""
        self._is_earlier = False
        self.rest = ""
        """What stands behind the last whole line, which may be one that nobody has ended."""

    def skip(self) -> None:
        """Take what is there for read, unless it is written anew: with the same text, too."""
        if not self._path.is_file():
            return
        with self._path.open("rb") as file:
            self._seen = _facts(file)
            self._read = self._seen[0]
            self._remember(file)
        self._is_earlier = True

    def begins_anew(self) -> bool:
        """Look whether it was written anew; if so, the next lines are those from its start."""
        if self._read == 0 or not self._has_changed():
            return False
        with self._path.open("rb") as file:
            return self._rewound(file)

    def new_lines(self, *, whole: bool = True) -> Iterator[str]:
        """Yield the lines since the last call, without their ends.

        Args:
            whole: whether a line that nobody has ended waits (`rest`) instead of being read.
        """
        if not self._has_changed():
            return
        with self._path.open("rb") as file:
            seen = _facts(file)
            self._rewound(file)
            file.seek(self._read)
            self.rest = ""
            for line in file:
                text = line.decode("utf-8", errors="replace")
                if whole and not line.endswith(b"\n"):
                    self.rest = text
                    break
                self._read += len(line)
                yield from text.splitlines()
            self._remember(file)
            self._seen = seen

    def _has_changed(self) -> bool:
        """Whether there is a file, not a pipe which would wait for its writer, with news."""
        if not self._path.is_file():
            return False
        facts = self._path.stat()
        return (facts.st_size, facts.st_mtime_ns) != self._seen

    def _rewound(self, file: IO[bytes]) -> bool:
        """Go back to the start where the file is no longer that which was read."""
        size, (start, mark) = _facts(file)[0], self._mark
        file.seek(start)
        is_anew = file.read(len(mark)) != mark or size < self._read
        is_anew |= self._is_earlier and size == self._read
        self._is_earlier = False
        if is_anew:
            self._read, self._mark, self.rest = 0, (0, b""), ""
        return is_anew

    def _remember(self, file: IO[bytes]) -> None:
        start = max(0, self._read - _MARK_BYTES)
        file.seek(start)
        self._mark = (start, file.read(self._read - start))


def _facts(file: IO[bytes]) -> tuple[int, int]:
    """Size and time of change of an open file."""
    facts = os.fstat(file.fileno())
    return facts.st_size, facts.st_mtime_ns
