import time
import tracemalloc
from functools import partial

import numpy as np
import pytest

from trainer import proposals
from trainer.errors import DataError, DivergedError
from trainer.proposals import has_faiss, has_faiss_gpu
from trainer.retrieval import UnitGallery, first_relevant_ranks, normalize, search, search_classes

BACKENDS = [
    "matmul",
    "torch",
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
    indices, distances = search(query, gallery, k, backend=backend, device="cpu")
    slow_indices, slow_distances = slow_search(query, gallery, k)
    assert np.array_equal(indices, slow_indices)
    assert np.allclose(distances, slow_distances, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_equal_distances_go_to_the_lowest_index(backend):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(5, 8)).astype(np.float32)
    gallery = rows[[3, 1, 1, 0, 1, 3, 2, 4, 0] * 30]
    indices, distances = search(rows, gallery, 4, backend=backend, device="cpu")
    for row, found in enumerate(indices):
        same = [i for i in range(len(gallery)) if np.array_equal(gallery[i], rows[row])]
        assert found.tolist() == same[:4]
    assert distances.max() == 0.0


@pytest.fixture
def faiss_card(monkeypatch):
    """In place of a GPU index, which needs a GPU, faiss's index of the CPU."""
    import faiss
    import torch

    made = []

    def index(resources, dim, config):
        made.append(config.device)
        return faiss.IndexFlatIP(dim)

    monkeypatch.setattr(faiss, "GpuIndexFlatIP", index)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    return made


def many_equals(rng):
    """A gallery with many copies of two rows, and queries that are entries of it."""
    gallery = np.concatenate([np.repeat(rng.normal(size=(2, 9)), 20, 0), rng.normal(size=(300, 9))])
    query = gallery[rng.permutation(len(gallery))[:60]]
    query[::5] = gallery[3]
    return query, gallery


@pytest.mark.skipif(not has_faiss(), reason="no faiss")
def test_an_index_on_a_gpu_proposes_and_torch_takes_what_it_leaves_open(faiss_card):
    query, gallery = many_equals(np.random.default_rng(8))
    ours = search(query, gallery, 3, backend="matmul")
    # torch computes on the CPU here; the index is asked for on the card of that name.
    theirs = search(query, gallery, 3, backend="faiss-gpu", device="cpu")
    assert faiss_card == [3]
    assert np.array_equal(ours[0], theirs[0])
    assert np.array_equal(ours[1], theirs[1])
    with_zero = np.concatenate([gallery, np.zeros((1, 9))])
    found = search(query, with_zero, 3, backend="faiss-gpu", device="cpu")
    assert np.array_equal(ours[0], found[0])
    assert faiss_card == [3]  # by products a zero row lies elsewhere: torch alone


@pytest.mark.skipif(not has_faiss() or has_faiss_gpu(), reason="no faiss, or it has a GPU")
def test_torch_takes_over_where_faiss_cannot_use_the_gpu(caplog):
    query, gallery = many_equals(np.random.default_rng(8))
    ours = search(query, gallery, 3, backend="matmul")
    theirs = search(query, gallery, 3, backend="faiss-gpu", device="cpu")
    assert np.array_equal(ours[0], theirs[0])
    assert "60 neighbours are searched another way: " in caplog.text


FAISS = """
import os, sys
import numpy as np

class Anything:
    def setTempMemory(self, count): pass
    def setPinnedMemory(self, count): pass

StandardGpuResources = GpuIndexFlatConfig = Anything

class GpuIndexFlatIP:
    def __init__(self, resources, dim, config):
        assert config.device == 3
    def add(self, rows): pass
    def search(self, rows, count):
        {does}
"""


@pytest.mark.parametrize(
    ("does", "survives"),
    [
        ("return None, np.arange(8)[:, None]", True),
        ("return None, np.zeros((8, 1))", False),
        ("print('no kernel image', file=sys.stderr, flush=True); os.abort()", False),
    ],
)
def test_faiss_is_tried_on_a_card_in_another_process(tmp_path, monkeypatch, caplog, does, survives):
    (tmp_path / "faiss.py").write_text(FAISS.format(does=does))
    monkeypatch.syspath_prepend(tmp_path)
    proposals._survives.cache_clear()
    assert proposals._survives(3) is survives
    assert ("no kernel image" in caplog.text) == ("abort" in does)
    proposals._survives.cache_clear()


def test_faiss_is_not_asked_where_its_card_is_full(monkeypatch):
    import torch

    gallery = UnitGallery.of(np.ones((1000, 256)))
    needed = 256 * 4 * 1000 + (256 + 512) * 2**20
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _place: (needed, 2**40))
    proposals._demand_room(gallery, "cuda:1")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _place: (needed - 1, 2**40))
    with pytest.raises(RuntimeError, match=r"^faiss may take 768 MiB of the GPU, 768 are free$"):
        proposals._demand_room(gallery, "cuda:1")


def test_numpy_takes_what_a_device_has_no_memory_for(monkeypatch, caplog):
    import torch

    query, gallery = many_equals(np.random.default_rng(13))
    ours = search(query, gallery, 3, backend="matmul")
    topk, calls = torch.Tensor.topk, []

    def short_of_memory(scores, *args, **kwargs):
        calls.append(len(scores))
        if len(calls) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        return topk(scores, *args, **kwargs)

    monkeypatch.setattr("trainer.proposals.DEVICE_BLOCK_BYTES", 4 * 340 * 9)
    monkeypatch.setattr(torch.Tensor, "topk", short_of_memory)
    theirs = search(query, gallery, 3, backend="torch", device="cpu")
    assert calls == [9, 9, 9]
    assert np.array_equal(ours[0], theirs[0])
    assert np.array_equal(ours[1], theirs[1])
    assert "42 neighbours are searched another way: CUDA out of memory." in caplog.text


@pytest.mark.parametrize("backend", BACKENDS[1:])
@pytest.mark.parametrize("spread", [1.0, 1e-3, 1e-6, 0.0])
def test_all_find_the_same_even_when_embeddings_collapse(spread, backend):
    rng = np.random.default_rng(5)
    centre = rng.normal(size=24)
    query = centre + spread * rng.normal(size=(300, 24))
    gallery = centre + spread * rng.normal(size=(500, 24))
    ways = ("matmul", backend)
    ours, theirs = (search(query, gallery, 7, backend=way, device="cpu") for way in ways)
    assert np.array_equal(ours[0], theirs[0])
    assert np.array_equal(ours[1], theirs[1])


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_all_agree_where_some_queries_have_many_equals_and_blocks_are_small(monkeypatch, backend):
    monkeypatch.setattr("trainer.proposals._FAISS_BLOCK", 7)
    monkeypatch.setattr("trainer.proposals.BLOCK_BYTES", 4 * 340 * 2)
    monkeypatch.setattr("trainer.proposals.DEVICE_BLOCK_BYTES", 4 * 340 * 9)
    query, gallery = many_equals(np.random.default_rng(6))
    ways = ("matmul", backend)
    ours, theirs = (search(query, gallery, 3, backend=way, device="cpu") for way in ways)
    assert np.array_equal(ours[0], theirs[0])
    assert np.array_equal(ours[1], theirs[1])
    assert ours[0][0].tolist() == [0, 1, 2]


def exact_search(query, gallery, k):
    """Compare all pairs in whole numbers: unit vectors in steps of 2**-25, by Python's integers."""
    steps = lambda rows: [[round(float(v) * 2**25) for v in row] for row in normalize(rows)]  # noqa: E731
    gallery, found = steps(gallery), []
    for row in steps(query):
        squared = [sum((a - b) ** 2 for a, b in zip(row, g, strict=True)) for g in gallery]
        order = sorted(range(len(gallery)), key=lambda g: (squared[g], g))[:k]
        found.append((order, [np.float32((squared[g] / 2**50) ** 0.5) for g in order]))
    return np.array([f[0] for f in found]), np.array([f[1] for f in found], dtype=np.float32)


def collapsed(rng, count, dim, spread):
    return 3.0 + spread * rng.normal(size=(count, dim))


def with_copies(rng, count, dim):
    return rng.normal(size=(7, dim))[rng.integers(0, 7, count)]


def with_zeros(rng, count, dim):
    rows = rng.normal(size=(count, dim))
    rows[:: count // 5] = 0.0
    return rows


def partly_collapsed(rng, count, dim):
    rows = rng.normal(size=(count, dim))
    rows[: count // 3] = 1.0 + 1e-7 * rng.normal(size=(count // 3, dim))
    return rows


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("k", [1, 2, 9])
@pytest.mark.parametrize(
    "draw",
    [
        lambda *a: collapsed(*a, 1e-7),
        lambda *a: collapsed(*a, 1e-9),
        lambda *a: collapsed(*a, 1e-3),
        with_copies,
        with_zeros,
        partly_collapsed,
    ],
)
def test_order_and_distances_equal_comparing_whole_numbers(backend, k, draw):
    rng = np.random.default_rng(k)
    gallery = draw(rng, 300, 5)
    query = np.concatenate([draw(rng, 12, 5), gallery[:3]])
    indices, distances = search(query, gallery, k, backend=backend, device="cpu")
    slow_indices, slow_distances = exact_search(query, gallery, k)
    assert np.array_equal(indices, slow_indices)
    assert np.array_equal(distances, slow_distances)


@pytest.mark.parametrize("k", [1, 2, 7])
@pytest.mark.parametrize(
    "draw", [with_copies, with_zeros, partly_collapsed, partial(collapsed, spread=0.0)]
)
def test_the_nearest_of_classes_are_the_first_of_each_in_the_whole_order(monkeypatch, k, draw):
    rng = np.random.default_rng(k)
    gallery, labels = draw(rng, 160, 6), rng.permutation(np.arange(160) % 7)
    query = np.concatenate((gallery[::9], rng.normal(size=(9, 6)).astype(np.float32)))
    order, gaps = exact_search(query, gallery, 160)
    for block_bytes in (proposals.BLOCK_BYTES, 5000):
        monkeypatch.setattr(proposals, "BLOCK_BYTES", block_bytes)
        found, distances = search_classes(query, UnitGallery.of(gallery), labels, k)
        for row in range(len(query)):
            seen = [labels[entry] for entry in order[row]]
            firsts = [rank for rank, label in enumerate(seen) if label not in seen[:rank]][:k]
            assert found[row].tolist() == order[row][firsts].tolist()
            assert distances[row].tolist() == gaps[row][firsts].tolist()


def test_a_wide_margin_covers_products_rounded_to_tf32():
    import torch

    rng = np.random.default_rng(12)
    rows = normalize(rng.normal(size=(400, 64)))
    # What a GPU multiplies in TF32: 10 binary places of each factor.
    as_int = torch.from_numpy(rows).view(torch.int32)
    rounded = ((as_int + 0x1000) & ~0x1FFF).view(torch.float32)
    error = (rounded @ rounded.T - torch.from_numpy(rows @ rows.T)).abs().max()
    assert error < proposals._TF32_ERROR


def test_collapsed_embeddings_cost_little_more_than_others():
    rng = np.random.default_rng(9)

    def seconds(spread):
        query, gallery = (collapsed(rng, 2000, 32, spread) for _ in range(2))
        begun = time.process_time()
        search(query, gallery, 5, backend="matmul")
        return time.process_time() - begun

    seconds(1.0)
    # Sorting all pairs took over thirty times as long.
    assert min(seconds(1e-8) for _ in range(3)) < 8 * min(seconds(1.0) for _ in range(3))


def test_a_gallery_made_ready_once_gives_the_same():
    rng = np.random.default_rng(10)
    gallery, query = rng.normal(size=(3_000, 64)).astype(np.float32), rng.normal(size=(4, 64))
    ready = UnitGallery.of(gallery)
    each_time = search(query, gallery, 3)
    for _ in range(2):
        once = search(query, ready, 3)
        assert all(np.array_equal(one, other) for one, other in zip(once, each_time, strict=True))


def test_one_query_takes_no_copy_of_a_gallery_that_is_ready():
    gallery = UnitGallery.of(np.random.default_rng(11).normal(size=(20_000, 64)))
    tracemalloc.start()
    search(np.ones((1, 64)), gallery, 5)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < gallery.unit_GD.nbytes / 10


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
    monkeypatch.setattr("trainer.proposals.BLOCK_BYTES", 4 * 31 * 4)
    split = search(query, gallery, 3)
    assert np.array_equal(whole[0], split[0])
    assert np.array_equal(whole[1], split[1])


def test_k_beyond_the_gallery_is_one_line():
    with pytest.raises(DataError, match=r"got k=4 with 3"):
        search(np.ones((1, 2)), np.eye(3, 2) + 1, 4)


def test_nan_is_a_divergence_and_not_a_neighbour():
    with pytest.raises(DivergedError, match="1 of 2 rows"):
        search(np.array([[1.0, np.nan], [1.0, 0.0]]), np.eye(2), 1)
    with pytest.raises(DivergedError, match="2 of 3 rows"):
        UnitGallery.of(np.array([[1.0, np.nan], [1.0, 0.0], [np.inf, 1.0]]))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_zero_row_lies_at_distance_one_of_everything(backend):
    gallery = np.array([[0.34, 0.94], [0.0, 0.0], [0.2, 0.98]])
    indices, distances = search(np.array([[2.0, 0.0]]), gallery, 2, backend=backend, device="cpu")
    assert indices.tolist() == [[1, 0]]
    assert distances[0] == pytest.approx([1.0, (2 - 2 * 0.34 / np.hypot(0.34, 0.94)) ** 0.5])


def test_bad_rows_are_counted_over_all_blocks(monkeypatch):
    monkeypatch.setattr("trainer.proposals.BLOCK_BYTES", 8 * 2 * 2)
    rows = np.ones((9, 2))
    rows[[1, 4, 8], 0] = np.nan
    with pytest.raises(DivergedError, match="3 of 9 rows"):
        normalize(rows)


@pytest.mark.parametrize("device", [None, "cpu"])
@pytest.mark.parametrize("tile", [4096, 40, 39, 7, 1])
def test_first_relevant_rank_equals_walking_down_the_ranking(monkeypatch, tile, device):
    """By numpy and by torch, in tiles of queries and of entries."""
    monkeypatch.setattr("trainer.retrieval._TILE_QUERIES", tile)
    monkeypatch.setattr("trainer.proposals.BLOCK_BYTES", 8 * 7 * tile)
    rng = np.random.default_rng(3)
    query, gallery = rng.normal(size=(40, 5)), rng.normal(size=(60, 5))
    gallery[10:20] = gallery[0:10]
    query[:5] = gallery[[0, 15, 30, 45, 59]]
    query[5], gallery[33] = 0, 0
    query_labels, gallery_labels = rng.integers(0, 6, 40), rng.integers(0, 5, 60)
    ranks = first_relevant_ranks(query, gallery, query_labels, gallery_labels, device=device)
    order, _ = search(query, gallery, 60)
    for row, label in enumerate(query_labels):
        found = [place for place, g in enumerate(order[row], 1) if gallery_labels[g] == label]
        assert ranks[row] == (found[0] if found else 0)
    ready = UnitGallery.of(gallery)
    again = first_relevant_ranks(query[7:9], ready, query_labels[7:9], gallery_labels)
    assert again.tolist() == ranks[7:9].tolist()
    assert first_relevant_ranks(query[:0], ready, query_labels[:0], gallery_labels).shape == (0,)


@pytest.mark.parametrize("spread", [0.0, 1e-7, 1e-4])
def test_ranks_are_those_of_whole_numbers_even_when_embeddings_collapse(spread):
    rng = np.random.default_rng(5)
    query, gallery = collapsed(rng, 30, 8, spread), collapsed(rng, 200, 8, spread)
    query_labels, gallery_labels = rng.integers(0, 20, 30), rng.integers(0, 20, 200)
    ranks = first_relevant_ranks(query, gallery, query_labels, gallery_labels)
    order = exact_search(query, gallery, 200)[0]
    for row, label in enumerate(query_labels):
        assert ranks[row] == 1 + np.flatnonzero(gallery_labels[order[row]] == label)[0]


def test_ranks_are_counted_on_the_cpu_where_a_device_has_no_memory(monkeypatch, caplog):
    import torch

    def refuse(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    rng = np.random.default_rng(6)
    query, gallery = rng.normal(size=(9, 4)), rng.normal(size=(30, 4))
    labels = rng.integers(0, 3, 9), rng.integers(0, 3, 30)
    expected = first_relevant_ranks(query, gallery, *labels)
    monkeypatch.setattr(torch, "from_numpy", refuse)
    found = first_relevant_ranks(query, gallery, *labels, device="cpu")
    assert found.tolist() == expected.tolist()
    assert "9 ranks are counted on the CPU: CUDA out of memory" in caplog.text


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
    search(query[:10], query, 1, backend=backend, device="cpu")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    indices, _ = search(query, query, 1, backend=backend, device="cpu")
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert np.array_equal(indices[:, 0], np.arange(100_000))
    assert (after - before) / 2**20 < 2.0
