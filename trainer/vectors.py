"""Unit vectors as a gallery keeps them (32, 16 or 8 bits a value), and their neighbours by faiss.

Shapes: N vectors, D dimensions, Q queries, K neighbours. 8 bits are whole steps of one size for all
values. What faiss finds among rounded vectors, or along a graph (HNSW, Malkov and Yashunin 2018),
is measured again with the vectors as they are kept, so that distances do not depend on the way they
were found. Without faiss all vectors are compared: slower, and no worse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.retrieval import Floats, Indices, normalize, search

FLAT, HALF, BYTE, HNSW = "flat", "16-bit", "8-bit", "hnsw"
KINDS = (FLAT, HALF, BYTE, HNSW)
"""How a gallery is kept and searched: `flat` and `hnsw` keep 32 bits a value."""
DTYPES = {FLAT: "float32", HALF: "float16", BYTE: "int8", HNSW: "float32"}
"""Of the codes of each kind."""

_SPARE = 8
"""Neighbours that are measured beyond those asked for."""
_MANY_QUERIES = 32
_LINKS, _BUILD_WIDTH, _SEARCH_WIDTH = 16, 40, 64
"""Of an HNSW graph: M, efConstruction and efSearch in the paper's words."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """Unit vectors, or zeros, as they are kept."""

    codes_ND: NDArray[Any]  # noqa: N815 - shape suffix
    """float32, float16 or int8."""
    step: float = 1.0
    """What a code of 1 stands for."""

    @classmethod
    def of(cls, emb_ND: NDArray[Any], kind: str = FLAT) -> Vectors:
        """Bring embeddings of any length to unit length and keep them as the kind says.

        Raises:
            DivergedError: a value is NaN or infinite.
        """
        return cls.of_unit(normalize(emb_ND), kind)

    @classmethod
    def of_unit(cls, unit_ND: Floats, kind: str) -> Vectors:
        """Keep vectors of unit length as the kind says."""
        if kind == HALF:
            return cls(unit_ND.astype(np.float16))
        if kind == BYTE:
            step = float(np.abs(unit_ND).max(initial=0.0)) / 127 or 1.0
            return cls(np.rint(unit_ND / step).astype(np.int8), step)
        return cls(unit_ND)

    def __len__(self) -> int:
        return len(self.codes_ND)

    @property
    def length(self) -> int:
        """Values of a vector."""
        return int(self.codes_ND.shape[1])

    def unit(self, rows: Indices | None = None) -> Floats:
        """Return all vectors, or those of some rows, at unit length."""
        codes_ND = self.codes_ND if rows is None else self.codes_ND[rows]
        return codes_ND if codes_ND.dtype == np.float32 else normalize(codes_ND)


class FaissIndex:
    """Finds neighbours among vectors of another kind than `flat`."""

    def __init__(self, vectors: Vectors, index: Any) -> None:
        self._vectors, self._index = vectors, index

    @classmethod
    def of(cls, vectors: Vectors, kind: str, graph: NDArray[np.uint8] | None) -> FaissIndex:
        """Make vectors ready; a graph that was made of all or the first of them is used again."""
        return cls(vectors, _hnsw(vectors, graph) if kind == HNSW else _rounded(vectors))

    def graph(self) -> NDArray[np.uint8]:
        """Return the HNSW graph, without the vectors."""
        import faiss

        graph: NDArray[np.uint8] = faiss.serialize_index(self._index, faiss.IO_FLAG_SKIP_STORAGE)
        return graph

    def nearest(self, query_QD: NDArray[Any], k: int) -> tuple[Indices, Floats]:
        """Return numbers and distances (0 to 2) of the k nearest, shape (Q, k), ties by number."""
        unit_QD = normalize(query_QD)
        wanted = min(k + _SPARE, len(self._vectors))
        proposed_QW = self._propose(unit_QD, wanted)
        found_QK = np.empty((len(unit_QD), k), dtype=np.int64)
        distances_QK = np.empty((len(unit_QD), k), dtype=np.float32)
        for row, proposed_W in enumerate(proposed_QW):
            numbers = np.sort(proposed_W[proposed_W >= 0])
            if len(numbers) < k:  # a graph with parts that no link leads to
                numbers = np.arange(len(self._vectors))
            places, distances = search(unit_QD[row : row + 1], self._vectors.unit(numbers), k)
            found_QK[row], distances_QK[row] = numbers[places[0]], distances[0]
        return found_QK, distances_QK

    def _propose(self, unit_QD: Floats, wanted: int) -> Indices:
        import faiss

        threads = faiss.omp_get_max_threads()
        # Threads that wait for each other take longer than so few queries, on a busy machine most.
        faiss.omp_set_num_threads(1 if len(unit_QD) < _MANY_QUERIES else threads)
        try:
            proposed_QW: Indices = self._index.search(unit_QD, wanted)[1]
        finally:
            faiss.omp_set_num_threads(threads)
        return proposed_QW


def _rounded(vectors: Vectors) -> Any:
    import faiss

    is_half = vectors.codes_ND.dtype == np.float16
    kinds = faiss.ScalarQuantizer
    kind = kinds.QT_fp16 if is_half else kinds.QT_8bit_uniform
    index = faiss.IndexScalarQuantizer(vectors.length, kind, faiss.METRIC_INNER_PRODUCT)
    codes_ND = np.ascontiguousarray(vectors.codes_ND)
    codes_N = codes_ND.reshape(-1).view(np.uint8)
    if not is_half:  # faiss counts from 0, and takes the middle of each step
        codes_N = codes_N ^ np.uint8(0x80)
        bounds = np.array([-128.5, 255.0], dtype=np.float32) * np.float32(vectors.step)
        faiss.copy_array_to_vector(bounds, index.sq.trained)
        index.is_trained = True
    faiss.copy_array_to_vector(codes_N, index.codes)
    index.ntotal = len(vectors)
    return index


def _hnsw(vectors: Vectors, graph: NDArray[np.uint8] | None) -> Any:
    import faiss

    index: Any
    unit_ND = np.ascontiguousarray(vectors.unit())
    index = None if graph is None else _read_graph(graph, unit_ND)
    if index is None:
        index = faiss.IndexHNSWFlat(vectors.length, _LINKS)
        index.hnsw.efConstruction = _BUILD_WIDTH
        known = 0
    else:
        known = index.ntotal
        storage: Any = faiss.IndexFlatL2(vectors.length)
        storage.add(unit_ND[:known])
        index.storage, index.own_fields = storage, True
        storage.this.disown()
    if known < len(vectors):
        index.add(unit_ND[known:])
    index.hnsw.efSearch = _SEARCH_WIDTH
    return index


def _read_graph(graph: NDArray[np.uint8], unit_ND: Floats) -> Any:
    """Read a graph of the first vectors or all; None where it is damaged or of others."""
    import faiss

    try:
        index = faiss.deserialize_index(np.ascontiguousarray(graph), faiss.IO_FLAG_SKIP_STORAGE)
    except (RuntimeError, AssertionError):
        return None
    is_hnsw = isinstance(index, faiss.IndexHNSW) and index.d == unit_ND.shape[1]
    return index if is_hnsw and index.ntotal <= len(unit_ND) else None
