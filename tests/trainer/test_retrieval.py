import numpy as np
import pytest

from trainer.errors import DataError, DivergedError
from trainer.retrieval import first_relevant_ranks, has_faiss, search

BACKENDS = [
    "matmul",
    pytest.param("faiss", marks=pytest.mark.skipif(not has_faiss(), reason="no faiss")),
]


def slow_search(query, gallery, k):
    """Sort all distances of unit vectors, one query at a time."""
    unit = lambda rows: rows / np.linalg.norm(rows, axis=1, keepdims=True)  # noqa: E731
    indices, distances = [], []
    for row in unit(query.astype(np.float64)):
        d = np.sqrt(((unit(gallery.astype(np.float64)) - row) ** 2).sum(axis=1))
        order = sorted(range(len(d)), key=lambda g: (round(d[g], 6), g))[:k]
        indices.append(order)
        distances.append(d[order])
    return np.array(indices), np.array(distances)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("k", [1, 3, 40])
def test_search_equals_sorting_all_distances(backend, k):
    rng = np.random.default_rng(k)
    query, gallery = rng.normal(size=(30, 12)), rng.normal(size=(40, 12))
    indices, distances = search(query, gallery, k, backend=backend)
    slow_indices, slow_distances = slow_search(query, gallery, k)
    assert np.array_equal(indices, slow_indices)
    assert np.allclose(distances, slow_distances, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_equal_distances_go_to_the_lowest_index(backend):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(5, 8)).astype(np.float32)
    gallery = rows[[3, 1, 1, 0, 1, 3, 2, 4, 0] * 30]
    indices, distances = search(rows, gallery, 4, backend=backend)
    for row, found in enumerate(indices):
        same = [i for i in range(len(gallery)) if np.array_equal(gallery[i], rows[row])]
        assert found.tolist() == same[:4]
    assert distances.max() == 0.0


@pytest.mark.skipif(not has_faiss(), reason="no faiss")
@pytest.mark.parametrize("spread", [1.0, 1e-3, 1e-6, 0.0])
def test_faiss_and_matmul_find_the_same_even_when_embeddings_collapse(spread):
    rng = np.random.default_rng(5)
    centre = rng.normal(size=24)
    query = centre + spread * rng.normal(size=(300, 24))
    gallery = centre + spread * rng.normal(size=(500, 24))
    ours, theirs = (search(query, gallery, 7, backend=name) for name in ("matmul", "faiss"))
    assert np.array_equal(ours[0], theirs[0])
    assert np.array_equal(ours[1], theirs[1])


@pytest.mark.skipif(not has_faiss(), reason="no faiss")
def test_faiss_and_matmul_agree_where_some_queries_have_many_equals_and_blocks_are_small(
    monkeypatch,
):
    monkeypatch.setattr("trainer.retrieval._FAISS_BLOCK", 7)
    monkeypatch.setattr("trainer.retrieval._BLOCK_BYTES", 4 * 340 * 2)
    rng = np.random.default_rng(6)
    gallery = np.concatenate([np.repeat(rng.normal(size=(2, 9)), 20, 0), rng.normal(size=(300, 9))])
    query = gallery[rng.permutation(len(gallery))[:60]]
    query[::5] = gallery[3]
    ours, theirs = (search(query, gallery, 3, backend=name) for name in ("matmul", "faiss"))
    assert np.array_equal(ours[0], theirs[0])
    assert np.array_equal(ours[1], theirs[1])
    assert ours[0][0].tolist() == [0, 1, 2]


def test_length_of_vectors_does_not_matter():
    rng = np.random.default_rng(1)
    query, gallery = rng.normal(size=(9, 6)), rng.normal(size=(20, 6))
    scaled, _ = search(
        query * rng.uniform(0.1, 9, (9, 1)), gallery * rng.uniform(0.1, 9, (20, 1)), 2
    )
    assert np.array_equal(search(query, gallery, 2)[0], scaled)


def test_blocks_do_not_change_the_answer(monkeypatch):
    rng = np.random.default_rng(2)
    query, gallery = rng.normal(size=(50, 6)), rng.normal(size=(31, 6))
    whole = search(query, gallery, 3)
    monkeypatch.setattr("trainer.retrieval._BLOCK_BYTES", 4 * 31 * 4)
    split = search(query, gallery, 3)
    assert np.array_equal(whole[0], split[0])
    assert np.array_equal(whole[1], split[1])


def test_k_beyond_the_gallery_is_one_line():
    with pytest.raises(DataError, match=r"got k=4 with 3"):
        search(np.ones((1, 2)), np.eye(3, 2) + 1, 4)


def test_nan_is_a_divergence_and_not_a_neighbour():
    with pytest.raises(DivergedError, match="1 of 2 rows"):
        search(np.array([[1.0, np.nan], [1.0, 0.0]]), np.eye(2), 1)


def test_first_relevant_rank_equals_walking_down_the_ranking():
    rng = np.random.default_rng(3)
    query, gallery = rng.normal(size=(40, 5)), rng.normal(size=(60, 5))
    gallery[10:20] = gallery[0:10]
    query_labels, gallery_labels = rng.integers(0, 6, 40), rng.integers(0, 5, 60)
    ranks = first_relevant_ranks(query, gallery, query_labels, gallery_labels)
    order, _ = search(query, gallery, 60)
    for row, label in enumerate(query_labels):
        found = [place for place, g in enumerate(order[row], 1) if gallery_labels[g] == label]
        assert ranks[row] == (found[0] if found else 0)


@pytest.mark.slow
@pytest.mark.skipif(not has_faiss(), reason="no faiss")
def test_collapsed_embeddings_stay_below_two_gib():
    import resource

    gallery = np.ones((100_000, 64), dtype=np.float32)
    search(gallery[:10], gallery, 1, backend="faiss")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    indices, _ = search(gallery[:2000], gallery, 1, backend="faiss")
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert not indices.any()
    assert (after - before) / 2**20 < 2.0


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_hundred_thousand_squared_stays_below_two_gib(backend):
    import resource

    rng = np.random.default_rng(4)
    query = rng.normal(size=(100_000, 64)).astype(np.float32)
    search(query[:10], query, 1, backend=backend)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    indices, _ = search(query, query, 1, backend=backend)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert np.array_equal(indices[:, 0], np.arange(100_000))
    assert (after - before) / 2**20 < 2.0
