"""What is installed: entry points and versions of packages, read anew when something is installed.

To look through all installed packages takes 10 ms, and a search asks some twenty times.
"""

from __future__ import annotations

import functools
import platform
import sys
from importlib import metadata
from pathlib import Path

PACKAGES = ("optuna", "ray", "torch", "pytorch-lightning", "pytorch-metric-learning", "timm")
"""Whose versions a run writes down."""

_Places = tuple[tuple[str, int], ...]
"""Folders of the search path, and when each was last changed."""


def entry_points(group: str) -> metadata.EntryPoints:
    """Entry points of a group, as `importlib.metadata` finds them."""
    return _entry_points(group, _places())


def installed_versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    return {"python": platform.python_version(), **_versions(_places())}


def _places() -> _Places:
    found = []
    for folder in sys.path:
        try:
            found.append((folder, Path(folder).stat().st_mtime_ns))
        except OSError:
            found.append((folder, 0))
    return tuple(found)


@functools.lru_cache(maxsize=16)
def _entry_points(group: str, _: _Places) -> metadata.EntryPoints:
    return metadata.entry_points(group=group)


@functools.lru_cache(maxsize=1)
def _versions(_: _Places) -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
