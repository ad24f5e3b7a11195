"""Takes some validation pictures of many: as many of each class, evenly over its files.

What compares networks needs no more than a thousand pictures to tell which is ahead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trainer.data.folder import ImageFolder, match_classes


def thin_out(
    reference: ImageFolder, query: ImageFolder, most: int, *, ignore_unmatched: bool = False
) -> tuple[ImageFolder, ImageFolder]:
    """Return at most `most` pictures of the gallery and as many of the queries.

    Every class keeps the same number where it has as many; with more than `most` classes among the
    queries, evenly spaced ones of these stay, in both.

    Raises:
        DataError: as `match_classes`.
    """
    match = match_classes(reference, query, ignore_unmatched=ignore_unmatched)
    shared = _spread(np.unique(match.labels), most)
    if len(query.paths) > most:
        rows = _of_each(match.labels, shared, max(1, most // len(shared)))
        query = _part(query, match.keep[rows])
    if len(reference.paths) > most:
        every = np.arange(len(reference.classes))
        kept = every if len(every) <= most else shared
        reference = _part(reference, _of_each(reference.labels, kept, max(1, most // len(kept))))
    return reference, query


def _of_each(
    labels_N: NDArray[np.int64], classes: Sequence[int] | NDArray[np.int64], most: int
) -> NDArray[np.int64]:
    rows = [_spread(np.flatnonzero(labels_N == label), most) for label in classes]
    return np.sort(np.concatenate(rows))


def _spread(values_N: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most so many values, evenly spaced."""
    if len(values_N) <= most:
        return values_N
    return values_N[np.linspace(0, len(values_N) - 1, most).round().astype(np.int64)]


def _part(folder: ImageFolder, rows: NDArray[np.int64]) -> ImageFolder:
    """The folder as if it held these pictures alone."""
    kept, labels = np.unique(folder.labels[rows], return_inverse=True)
    return replace(
        folder,
        classes=tuple(folder.classes[label] for label in kept),
        paths=tuple(folder.paths[row] for row in rows),
        labels=labels.astype(np.int64),
    )
