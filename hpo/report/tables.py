"""What the winner gets wrong, as tables that other programs read."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpo.core.durable_files import write_atomically
from hpo.core.text import storable

MISTAKES, SUSPECTS, CONFUSION = "mistakes.csv", "suspect_labels.csv", "confusion.csv"


def write_tables(explained: Mapping[str, Any], folder: Path) -> None:
    """Write the three tables of an explanation into a folder; see `Explainer.explain`.

    `mistakes.csv` has every query whose nearest picture is of another class, the clearest first;
    `suspect_labels.csv` every picture whose label its neighbours contradict; `confusion.csv` how
    many queries of each class have a nearest picture of which class, the right one included.
    """
    _write(folder / MISTAKES, _mistakes(explained["queries"]))
    _write(folder / SUSPECTS, _suspects(explained["suspects"]))
    rows = ([*pair, number] for pair, number in sorted(_pairs(explained["queries"]).items()))
    _write(folder / CONFUSION, [["class", "nearest_class", "queries"], *rows])


def confusion_matrix(
    queries: Sequence[Mapping[str, Any]], most: int
) -> tuple[list[str], list[list[int]], int]:
    """Return the classes of most mistakes, sorted by name, and how they are taken for each other.

    Returns:
        At most so many names, queries by (own class, class of the nearest picture), and how many
        classes there are in all.
    """
    pairs = _pairs(queries)
    mistakes: Counter[str] = Counter()
    for pair, number in pairs.items():
        for name in pair:
            mistakes[name] += number * (pair[0] != pair[1])
    names = sorted(sorted(mistakes, key=lambda name: (-mistakes[name], name))[:most])
    return names, [[pairs[own, found] for found in names] for own in names], len(mistakes)


def _pairs(queries: Sequence[Mapping[str, Any]]) -> Counter[tuple[str, str]]:
    return Counter((row["class"], row["nearest"]["class"]) for row in queries)


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
