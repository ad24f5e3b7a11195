"""Tells places of this machine from addresses of others.

`file://` stands before a path of this machine. It is taken away where places enter: a study, a
request, an answer of a platform.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote

_HERE = "file://"


def is_remote(place: str) -> bool:
    """Whether a place is an address that is not one of this machine."""
    return "://" in place and not place.startswith(_HERE)


def without_file(place: str) -> str:
    """A path without the `file://` before it, which may be quoted; anything else as it is."""
    name = place.removeprefix(_HERE)
    if name != place and not os.path.exists(name):  # noqa: PTH110 - no name is too long for it
        name = unquote(name)
    return name


def is_missing(place: str) -> bool:
    """Whether a place is of this machine, and is not there."""
    return not is_remote(place) and not Path(without_file(place)).exists()
