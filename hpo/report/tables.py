"""What the winner gets wrong, as tables that other programs read."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpo.core.text import storable
from hpo.run.run_dir import write_atomically

MISTAKES, SUSPECTS, CONFUSION = "mistakes.csv", "suspect_labels.csv", "confusion.csv"


def write_tables(explained: Mapping[str, Any], folder: Path) -> None:
    """Write the three tables of an explanation into a folder; see `Explainer.explain`.

    `mistakes.csv` has every query whose nearest picture is of another class, the clearest first;
    `suspect_labels.csv` every picture whose label its neighbours contradict; `confusion.csv` how
    many queries of each class (rows) have a nearest picture of each class (columns).
    """
    _write(folder / MISTAKES, _mistakes(explained["queries"]))
    _write(folder / SUSPECTS, _suspects(explained["suspects"]))
    names, counts = confusion_matrix(explained["queries"])
    rows = ([name, *row] for name, row in zip(names, counts, strict=True))
    _write(folder / CONFUSION, [["class", *names], *rows])


def confusion_matrix(queries: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[int]]]:
    """Return class names, sorted, and queries by (own class, class of the nearest picture)."""
    pairs = Counter((row["class"], row["nearest"]["class"]) for row in queries)
    names = sorted({name for pair in pairs for name in pair})
    return names, [[pairs[own, found] for found in names] for own in names]


def _mistakes(queries: Sequence[Mapping[str, Any]]) -> Iterable[list[Any]]:
    yield ["picture", "class", "taken_for", "nearest", "distance", "own_nearest", "own_distance"]
    misses = [row for row in queries if not row["hit"]]
    for row in sorted(misses, key=lambda r: r["nearest"]["distance"] - r["own"]["distance"]):
        nearest, own = row["nearest"], row["own"]
        yield [
            _file(row),
            row["class"],
            nearest["class"],
            _file(nearest),
            f"{nearest['distance']:.6f}",
            _file(own),
            f"{own['distance']:.6f}",
        ]


def _suspects(suspects: Sequence[Mapping[str, Any]]) -> Iterable[list[Any]]:
    yield ["picture", "class", "looks_like", "role", "margin"]
    for row in suspects:
        yield [_file(row), row["class"], row["says"], row["role"], f"{row['margin']:.6f}"]


def _file(row: Mapping[str, Any]) -> str:
    """Where the user put a picture; explanations of earlier releases say where it lies."""
    return str(row.get("file") or row["path"])


def _write(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_atomically(path, storable(text.getvalue()))
