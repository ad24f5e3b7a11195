"""Types of the doctor's findings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trainer.data.origin import origin
from trainer.doctor.fingerprint import Fingerprint

Severity = Literal["error", "warning", "info"]
Finding = dict[str, Any]
"""`{"kind", "severity", "message", "paths", "count"}`; of many paths the first ones. With `"pairs"`
where pictures resemble one another: `[path, path]` of each pair, the paths then being those of
the pairs one after another."""

_PATHS_KEPT = 50


@dataclass(frozen=True, slots=True)
class Item:
    """One picture with all that is known of it."""

    split: str
    label: str
    path: Path
    look: Fingerprint


def finding(
    kind: str, severity: Severity, message: str, paths: Iterable[str | Path] = ()
) -> Finding:
    """Return a finding as plain data."""
    every = list(paths)
    return {
        "kind": kind,
        "severity": severity,
        "message": message,
        "paths": [origin(path) for path in every[:_PATHS_KEPT]],
        "count": len(every),
    }


def pair_finding(
    kind: str, severity: Severity, message: str, pairs: Iterable[tuple[Path, Path]]
) -> Finding:
    """Return a finding on pairs of pictures as plain data."""
    found = finding(kind, severity, message, [path for pair in pairs for path in pair])
    paths = found["paths"]
    return found | {"pairs": [paths[i : i + 2] for i in range(0, len(paths), 2)]}
