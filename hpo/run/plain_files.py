"""Small files that programs leave for each other: JSON, and what they have printed."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hpo.core.durable_files import write_atomically


def write_json(path: Path, data: Any, *, is_durable: bool = True) -> None:
    """Write a JSON file as `write_atomically` does; what JSON does not know becomes text."""
    text = json.dumps(data, indent=1, default=str) + "\n"
    write_atomically(path, text, is_durable=is_durable)


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object; empty where there is none, half of one, or something else."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def read_printed(path: Path) -> str:
    """Read a text that a program has written so far; empty where it cannot be read."""
    try:  # a pipe of that name would wait for its writer
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    except OSError:
        return ""


def walk_files(folder: Path) -> list[Path]:
    """All files anywhere below a folder, sorted; what vanishes meanwhile, or is closed, is none."""
    found = (Path(place, name) for place, _, names in os.walk(folder) for name in names)
    return sorted(path for path in found if os.path.isfile(path))  # noqa: PTH113 - as below


def is_folder(path: Path) -> bool:
    """Whether a folder is there; none where one above it is closed."""
    return os.path.isdir(path)  # noqa: PTH112 - `Path.is_dir` raises there


def json_objects(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects of a text, one a line; other lines are passed over."""
    for line in text.splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            item = json.loads(line)
            if isinstance(item, dict):
                yield item
