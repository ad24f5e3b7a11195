"""Vectors of fewer bits, and neighbours by faiss, against distances of every pair."""

import numpy as np
import pytest

from trainer.errors import DivergedError
from trainer.proposals import has_faiss
from trainer.vectors import BYTE, FLAT, HALF, HNSW, FaissIndex, Vectors


def grouped(num, dim, seed):
    """Unit vectors around some centres, as embeddings of classes lie."""
    rng = np.random.default_rng(seed)
    emb = rng.normal(size=(num // 10, dim)).repeat(10, axis=0) + 0.4 * rng.normal(size=(num, dim))
    return (emb / np.linalg.norm(emb, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(("kind", "worst"), [(FLAT, 1e-7), (HALF, 5e-4), (BYTE, 0.015)])
def test_what_is_kept_is_the_vector_to_so_many_bits(kind, worst):
    unit = grouped(200, 48, 0)
    kept = Vectors.of(3.0 * unit, kind)
    assert np.abs(kept.unit() - unit).max() <= worst
    assert np.array_equal(kept.unit(np.array([7, 3])), kept.unit()[[7, 3]])
    np.testing.assert_allclose(np.linalg.norm(kept.unit(), axis=1), 1, atol=1e-6)


def test_zeros_stay_and_values_that_are_no_numbers_are_refused():
    emb = np.array([[0.0, 0.0], [3.0, 4.0]])
    for kind in (HALF, BYTE):
        np.testing.assert_allclose(Vectors.of(emb, kind).unit(), [[0, 0], [0.6, 0.8]], atol=0.01)
    with pytest.raises(DivergedError, match="1 of 2 rows"):
        Vectors.of(np.array([[np.nan, 1.0], [1.0, 1.0]]), BYTE)


@pytest.mark.skipif(not has_faiss(), reason="no faiss")
@pytest.mark.parametrize(("kind", "least"), [(HALF, 1.0), (BYTE, 1.0), (HNSW, 0.98)])
@pytest.mark.parametrize("queries", [3, 50])
def test_neighbours_are_those_of_the_vectors_as_they_are_kept(kind, least, queries):
    unit = grouped(600, 32, 1)
    kept = Vectors.of(unit, kind)
    query = unit[:queries] + 0.1 * np.random.default_rng(2).normal(size=(queries, 32))
    found, distances = FaissIndex.of(kept, kind, None).nearest(query, 5)
    exact = kept.unit().astype(np.float64)
    right = 0
    for row, q in enumerate(query / np.linalg.norm(query, axis=1, keepdims=True)):
        gaps = np.linalg.norm(exact - q, axis=1)
        right += len(set(found[row]) & set(gaps.argsort()[:5]))
        np.testing.assert_allclose(distances[row], gaps[found[row]], atol=1e-5)
        assert (np.diff(distances[row]) >= 0).all()
    assert right / (5 * queries) >= least


@pytest.mark.skipif(not has_faiss(), reason="no faiss")
def test_a_graph_is_used_again_and_grows_by_what_is_new():
    unit = grouped(400, 16, 3)
    first = FaissIndex.of(Vectors.of(unit[:300]), HNSW, None)
    whole = FaissIndex.of(Vectors.of(unit), HNSW, first.graph())
    assert whole.nearest(unit[[0, 299, 300, 399]], 1)[0][:, 0].tolist() == [0, 299, 300, 399]
    assert len(first.graph()) < unit[:300].nbytes + 300 * 200  # links alone
