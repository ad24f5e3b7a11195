"""Reads what a user names as start weights: a file, or an address that the trainer resolves."""

from __future__ import annotations

import re
from pathlib import Path

from hpo.core.errors import SpecError
from hpo.core.text import absolute_path

_SCHEME = re.compile(r"[a-z][a-z0-9+_-]+:")
_FOLDER = "local-dir:"
NOTHING = "none"
"""The address of no weights."""


def is_address(text: str) -> bool:
    """Whether weights are named otherwise than by a path: `timm://x`, `hf-hub:a/b`, `lite0`."""
    if _SCHEME.match(text):
        return True
    path = Path(text)
    is_word = len(path.parts) == 1 and not path.suffix and not text.startswith(("~", "."))
    return is_word and not path.is_file()


def anchored_weights(text: str, folder: Path) -> str:
    """Make a relative path one below `folder`; an address stays to the letter.

    A word without an ending (`lite0`) is a name unless there is such a file.
    """
    if text.startswith(_FOLDER):
        place = folder / Path(text.removeprefix(_FOLDER)).expanduser()
        return f"{_FOLDER}{place.resolve()}"
    if not text or _SCHEME.match(text):
        return text
    path = absolute_path(text, folder)
    return text if is_address(text) and not path.is_file() else str(path)


def check_weights(text: str, where: str, hint: str) -> str:
    """Return an address as it is, and the absolute path of a file.

    Raises:
        SpecError: there is no such file.
    """
    placed = anchored_weights(text, Path.cwd())
    if is_address(placed):
        return placed
    path = Path(placed)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise SpecError(f"{where}: {path} {what}; {hint}")
    return placed
