"""Measures a gallery in every way it could be kept, without training and without changing it.

Precision@1 is that of the validation queries kept with the gallery. Shorter embeddings are the
first values of each, or its values along the gallery's main directions (PCA), at unit length again.
Shapes: Q queries, D dimensions.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from trainer.data.names import name_key
from trainer.errors import DataError
from trainer.gallery import GalleryIndex
from trainer.matching import NEAREST, PROTOTYPES
from trainer.metrics import CLASS_MEAN, precision_at_1
from trainer.retrieval import Floats, Indices
from trainer.vectors import FLAT, HNSW, KINDS, Vectors

_SHORTEST = 16
"""Values of the shortest embedding that is looked at."""
_TIMED = 15
_MANY = 20_000
"""From so many entries on, fewer queries are looked up."""
_FEW_QUERIES = 400
_SEED = 0


def measure_sizes(gallery: GalleryIndex) -> list[dict[str, Any]]:
    """Measure kinds and matchings, then embeddings of half the length, a quarter and so on.

    Returns:
        Rows, the first of them the gallery with all pictures and 32 bits a value: `kind`,
        `matching`, `length`, `shortened` (`no`, `first values` or `PCA`), `precision_at_1` (mean
        over classes), `num_queries` that it is of (those that the gallery keeps, of many a random
        part), `same` (share of queries with the same nearest class as in the first row),
        `bytes` (of what queries are compared with: embeddings and graph, or prototypes),
        `file_bytes` (of embeddings and graph in the file, which keeps all pictures) and
        `milliseconds` (one query, one at a time).

    Raises:
        DataError: the gallery holds no queries of its classes.
    """
    query_QD, labels_Q = _queries(gallery)
    plain = gallery.kept_as(FLAT).matched_by(NEAREST)
    first: Indices | None = None
    rows = []
    for index, asked_QD, facts in _ways(plain, query_QD):
        found_Q = index.labels_G[index.nearest(asked_QD, 1)[0][:, 0]]
        first = found_Q if first is None else first
        rows.append(
            {
                "kind": index.kind,
                "matching": index.matching,
                **facts,
                "length": index.vectors.length,
                "precision_at_1": precision_at_1(found_Q == labels_Q, labels_Q)[CLASS_MEAN],
                "num_queries": len(labels_Q),
                "same": float((found_Q == first).mean()),
                "bytes": _searched_bytes(index),
                "file_bytes": _num_bytes(index),
                "milliseconds": _milliseconds(index, asked_QD),
            }
        )
    return rows


def _queries(gallery: GalleryIndex) -> tuple[Floats, Indices]:
    """Return the queries whose class the gallery has, and their labels in it."""
    queries = gallery.queries
    position = {name_key(name): number for number, name in enumerate(gallery.class_names)}
    names = () if queries is None else queries.names
    labels_Q = np.array([position.get(name_key(name), -1) for name in names], dtype=np.int64)
    kept = np.flatnonzero(labels_Q >= 0)
    if queries is None or not len(kept):
        raise DataError(
            "the gallery holds no validation queries of its classes, which Precision@1 is measured "
            "by; export it again"
        )
    if len(gallery) > _MANY and len(kept) > _FEW_QUERIES:
        kept = np.sort(np.random.default_rng(_SEED).choice(kept, _FEW_QUERIES, replace=False))
    return queries.emb_QD[kept].astype(np.float32), labels_Q[kept]


def _ways(
    plain: GalleryIndex, query_QD: Floats
) -> Iterator[tuple[GalleryIndex, Floats, dict[str, str]]]:
    for kind in KINDS:
        yield plain.kept_as(kind), query_QD, {"shortened": "no"}
    for kind in KINDS:
        if kind != HNSW:  # prototypes are few, and all compared
            yield plain.matched_by(PROTOTYPES).kept_as(kind), query_QD, {"shortened": "no"}
    length = plain.vectors.length
    lengths = [length >> halvings for halvings in range(1, length.bit_length())]
    kept = [own for own in lengths if own >= _SHORTEST]
    for own in kept:
        short = replace(plain, vectors=Vectors.of(plain.emb_GD[:, :own]))
        yield short, query_QD[:, :own], {"shortened": "first values"}
    if not kept:
        return
    from sklearn.decomposition import PCA

    most = min(kept[0], len(plain))
    directions = PCA(n_components=most, svd_solver="covariance_eigh").fit(plain.emb_GD)
    turned_GD, asked_QD = directions.transform(plain.emb_GD), directions.transform(query_QD)
    for own in kept:
        if own <= most:
            short = replace(plain, vectors=Vectors.of(turned_GD[:, :own]))
            yield short, asked_QD[:, :own], {"shortened": "PCA"}


def _searched_bytes(index: GalleryIndex) -> int:
    """Bytes of what queries are compared with; prototypes are means, kept in no file."""
    is_of_means = index.matching == PROTOTYPES
    return index.entries.unit.unit_GD.nbytes if is_of_means else _num_bytes(index)


def _num_bytes(index: GalleryIndex) -> int:
    """Bytes of embeddings and graph in the gallery's file, which keeps all pictures."""
    graph = index.hnsw_graph()
    return index.vectors.codes_ND.nbytes + (0 if graph is None else len(graph))


def _milliseconds(index: GalleryIndex, query_QD: Floats) -> float:
    """Median of single queries, once everything is loaded."""
    seconds = []
    for row in range(_TIMED):
        own = query_QD[row % len(query_QD)][None]
        start = time.perf_counter()
        index.nearest(own, 1)
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds)
