"""Keeps small results as JSON files in the cache folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from trainer.durable_files import write_text

T = TypeVar("T")


def kept_or_made(
    file: Path,
    kinds: tuple[type[T], ...],
    make: Callable[[], T],
    keeps: Callable[[T], bool] = lambda _: True,
) -> T:
    """Return what a file holds; what is missing or damaged is made, and kept.

    Args:
        file: in the cache folder; the caller keeps others away where making takes long.
        kinds: of what it may hold.
        make: makes it.
        keeps: whether what was made is to be kept.
    """
    with suppress(OSError, ValueError):
        found: object = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(found, kinds):
            return found
    made = make()
    if keeps(made):
        write_text(file, json.dumps(made))
    return made
