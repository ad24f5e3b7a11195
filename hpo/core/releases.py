"""Tells a file of a newer release from a damaged one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import hpo

NAME = "hpo"
"""Our own among the versions that a run keeps."""


def own_version() -> str:
    """The release that is at work."""
    return hpo.__version__


def newer_writer(versions: Any) -> str:
    """The release that wrote a run, where that is a newer one than this; else empty.

    Args:
        versions: of programs by name, as the run keeps them; maybe damaged.
    """
    written = versions.get(NAME) if isinstance(versions, Mapping) else None
    is_newer = isinstance(written, str) and _numbers(written) > _numbers(own_version())
    return written if isinstance(written, str) and is_newer else ""


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]
