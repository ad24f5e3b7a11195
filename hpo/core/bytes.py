"""Formats and parses sizes in bytes; measures free space and folder sizes."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

from hpo.core.errors import SpecError
from hpo.core.text import quoted

GRAMMAR = "a size such as 500MB, 20GB or 1.5TiB"
_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
_BINARY = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.ASCII)
PROBE_BYTES = 1 << 14
_LEAST_QUOTA = 1_000_000
"""A quota below it is a slip: the ledger alone takes a good part of that."""


def parse_size(text: str, where: str) -> int | None:
    """Read a size in bytes; empty text is none.

    `GB` counts in thousands, `GiB` in 1024s.

    Raises:
        SpecError: when it is no size, or too small for any run.
    """
    if not text.strip():
        return None
    match = _SIZE.fullmatch(text.strip().lower())
    if match is None or (match[3] and not match[2]):
        raise SpecError(f"{where}: must be {GRAMMAR}, got {quoted(text)}")
    size = int(float(match[1]) * (_BINARY if match[3] else _UNITS)[match[2]])
    if size < _LEAST_QUOTA:
        raise SpecError(
            f"{where}: must be at least {render_bytes(_LEAST_QUOTA)}, got {quoted(text)}; write "
            f"{GRAMMAR}"
        )
    return size


def render_bytes(count: float) -> str:
    """Write bytes for people, in thousands: `640 kB`, `36.0 MB`, `1.2 GB`."""
    if count < 1000:
        return f"{count:.0f} bytes"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 999.95:
            return f"{count:.0f} kB" if unit == "kB" else f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} TB"


def free_bytes(folder: Path) -> int:
    """What this user may still write to the disk of a folder."""
    return shutil.disk_usage(folder).free


def folder_bytes(folder: Path) -> int:
    """What a folder takes: every file once however many names it has; links are not followed.

    What goes away meanwhile counts as nothing, and so does a folder that is not there.
    """
    seen: set[tuple[int, int]] = set()
    total = 0
    for root, _folders, files in os.walk(folder):
        for name in files:
            try:
                facts = (Path(root) / name).lstat()
            except OSError:
                continue
            if (facts.st_dev, facts.st_ino) not in seen:
                seen.add((facts.st_dev, facts.st_ino))
                total += max(facts.st_size, 512 * facts.st_blocks)
    return total


def why_not_writable(folder: Path) -> str:
    """Say why nothing can be written into a folder that is there or is to be made; empty if it can.

    A file without a name is made, and filled a little, where the folder is or in the nearest folder
    above that exists.
    """
    try:
        nearest = next(filter(_is_there, (folder, *folder.parents)))
        if not nearest.is_dir():
            return f"{nearest} is not a folder"
        with tempfile.TemporaryFile(dir=nearest) as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _is_there(path: Path) -> bool:
    """Whether there is anything, a link to nothing included; raises where that cannot be seen."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
