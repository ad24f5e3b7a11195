import tracemalloc
from dataclasses import fields, replace

import numpy as np
import pytest

from trainer.errors import DataError
from trainer.gallery import GalleryIndex
from trainer.unknowns import Queries
from trainer.vectors import KINDS, Vectors


def index_of(names, labels, seed=0, dim=4):
    rng = np.random.default_rng(seed)
    return GalleryIndex(
        vectors=Vectors.of(rng.normal(size=(len(labels), dim))),
        labels_G=np.array(labels),
        class_names=names,
        paths=tuple(f"{names[label]}/{i}.png" for i, label in enumerate(labels)),
    )


def test_it_reads_back_what_it_wrote_without_pickle(tmp_path):
    index = index_of(("apple", "Käse"), [0, 1, 1])
    index.save(tmp_path / "g" / "gallery.npz")
    again = GalleryIndex.load(tmp_path / "g" / "gallery.npz")
    assert np.array_equal(again.emb_GD, index.emb_GD)
    assert again.labels_G.tolist() == [0, 1, 1]
    assert again.class_names == ("apple", "Käse")
    assert again.paths == index.paths
    assert [p.name for p in (tmp_path / "g").iterdir()] == ["gallery.npz"]


def test_classes_of_one_name_become_one():
    joined = index_of(("a", "b"), [0, 1]).extended(index_of(("b", "c"), [0, 1, 1], seed=1))
    assert joined.class_names == ("a", "b", "c")
    assert joined.labels_G.tolist() == [0, 1, 1, 2, 2]
    assert joined.names_of(np.array([[4, 2]])).tolist() == [["c", "b"]]


def test_damaged_and_foreign_files_are_one_line(tmp_path):
    (tmp_path / "bad.npz").write_bytes(b"nothing")
    with pytest.raises(DataError, match="not a gallery index"):
        GalleryIndex.load(tmp_path / "bad.npz")
    np.savez(tmp_path / "other.npz", weights=np.ones(3))
    with pytest.raises(DataError, match="not a gallery index"):
        GalleryIndex.load(tmp_path / "other.npz")
    np.savez(tmp_path / "pickled.npz", embeddings=np.array([{}], dtype=object))
    with pytest.raises(DataError, match="not a gallery index"):
        GalleryIndex.load(tmp_path / "pickled.npz")


def test_embeddings_of_another_length_are_refused():
    with pytest.raises(DataError, match="length 4 must be given, got 5"):
        index_of(("a",), [0]).extended(index_of(("a",), [0], dim=5))


def test_the_nearest_of_each_class_are_those_of_a_plain_loop():
    rng = np.random.default_rng(3)
    labels = np.repeat(np.arange(5), [40, 2, 9, 1, 8])
    emb = rng.normal(size=(60, 6))
    emb[:40] *= 0.1
    emb[:40] += 1.0  # one class stands before all others
    index = GalleryIndex(
        vectors=Vectors.of(emb), labels_G=labels, class_names=tuple("abcde"), paths=("p",) * 60
    )
    query = np.concatenate((emb[:3], rng.normal(size=(9, 6))))
    unit_GD = emb / np.linalg.norm(emb, axis=1, keepdims=True)
    found, distances = index.nearest_classes(query, 4)
    for row, q in enumerate(query / np.linalg.norm(query, axis=1, keepdims=True)):
        gaps = np.linalg.norm(unit_GD - q, axis=1)
        best = sorted((gaps[labels == label].min(), label) for label in range(5))[:4]
        assert labels[found[row]].tolist() == [label for _, label in best]
        np.testing.assert_allclose(distances[row], [gap for gap, _ in best], atol=1e-5)
    with pytest.raises(DataError, match="at most the 5 classes of the gallery, got 6"):
        index.nearest_classes(query, 6)


def test_large_classes_that_lie_close_together_take_no_more_memory_than_a_block(monkeypatch):
    monkeypatch.setattr("trainer.proposals.BLOCK_BYTES", 1 << 20)
    rng = np.random.default_rng(5)
    centre_CD = rng.normal(size=(8, 16))
    emb = np.repeat(centre_CD, 800, axis=0) + rng.normal(0, 0.001, size=(6400, 16))
    index = GalleryIndex(
        vectors=Vectors.of(emb), labels_G=np.repeat(np.arange(8), 800),
        class_names=tuple("abcdefgh"), paths=("p",) * 6400,
    )  # fmt: skip
    query = emb[::64]
    index.nearest(query[:1], 1)
    tracemalloc.start()
    found, _ = index.nearest_classes(query, 5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    unit_CD = centre_CD / np.linalg.norm(centre_CD, axis=1, keepdims=True)
    by_centre = np.argsort(-unit_CD @ unit_CD.T, axis=1)[:, :5]
    assert (index.labels_G[found] == by_centre[index.labels_G[::64]]).mean() > 0.99
    assert peak < 12e6


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_read_as_it_was_and_finds_itself(tmp_path, kind):
    index = index_of(("a", "b", "c"), [0, 1, 2] * 40, dim=24).kept_as(kind)
    index.save(tmp_path / "g.npz")
    again = GalleryIndex.load(tmp_path / "g.npz")
    assert (again.kind, again.matching) == (kind, "nearest")
    assert again.vectors.codes_ND.dtype == {"16-bit": np.float16, "8-bit": np.int8}.get(
        kind, np.float32
    )
    exact = index_of(("a", "b", "c"), [0, 1, 2] * 40, dim=24)
    for number in range(0, 120, 7):
        entries, distances = again.nearest(exact.emb_GD[number : number + 1], 2)
        assert entries[0, 0] == number
        assert distances[0, 0] == pytest.approx(0, abs=0.03 if kind == "8-bit" else 1e-3)
    more = again.extended(index_of(("b", "d"), [0, 1], seed=9, dim=24))
    more.save(tmp_path / "more.npz")
    grown = GalleryIndex.load(tmp_path / "more.npz")
    new = index_of(("b", "d"), [0, 1], seed=9, dim=24).emb_GD
    assert grown.names_of(grown.nearest(new, 1)[0])[:, 0].tolist() == ["b", "d"]
    assert len(grown.taken(np.arange(2, 122)).nearest(new, 1)[0]) == 2


def test_a_large_gallery_is_mapped_and_answers_at_once(tmp_path):
    rng = np.random.default_rng(0)
    emb = rng.normal(size=(40_000, 64)).astype(np.float32)
    index = GalleryIndex(
        vectors=Vectors.of(emb), labels_G=np.arange(40_000) % 977,
        class_names=tuple(map(str, range(977))), paths=("p",) * 40_000,
    )  # fmt: skip
    index.save(tmp_path / "g.npz")
    again = GalleryIndex.load(tmp_path / "g.npz")
    assert isinstance(again.vectors.codes_ND.base, np.memmap)
    assert again.vectors.codes_ND.ctypes.data % 64 == 0
    assert not again.vectors.codes_ND.flags.writeable
    assert again.nearest(emb[[17, 39_999]], 1)[0].tolist() == [[17], [39_999]]
    with np.load(tmp_path / "g.npz") as arrays:  # as any reader reads it
        assert np.array_equal(arrays["embeddings"], index.emb_GD)
        assert arrays["labels"][1000] == 23


def test_vectors_that_are_kept_are_those_that_are_found_after_reading(tmp_path):
    index = index_of(("a",), [0] * 30, dim=7)
    index.save(tmp_path / "g.npz")
    query = np.random.default_rng(5).normal(size=(4, 7))
    for one, other in zip(
        index.nearest(query, 9),
        GalleryIndex.load(tmp_path / "g.npz").nearest(query, 9),
        strict=True,
    ):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("matching", ["nearest", "prototypes"])
@pytest.mark.parametrize("known", [4, 16, 59])
def test_scores_of_what_was_found_before_are_those_of_a_loop(matching, known):
    rng = np.random.default_rng(known)
    labels = np.repeat(np.arange(6), [30, 2, 9, 1, 8, 10])
    emb = rng.normal(size=(60, 6))
    emb[:30] = 1.0 + 0.1 * emb[:30]
    index = GalleryIndex(
        vectors=Vectors.of(emb), labels_G=labels, class_names=tuple("abcdef"), paths=("p",) * 60,
        matching=matching,
    )  # fmt: skip
    query = np.concatenate((emb[:9], rng.normal(size=(9, 6))))
    found = index.nearest(query, min(known, index.num_entries))
    unit = lambda rows: rows / np.linalg.norm(rows, axis=1, keepdims=True)  # noqa: E731
    entries, classes = unit(emb), labels
    if matching == "prototypes":
        entries = unit(np.stack([entries[labels == c].mean(axis=0) for c in range(6)]))
        classes = np.arange(6)
    for row, score in zip(unit(query), index.score_unknown(query, found), strict=True):
        gaps = np.linalg.norm(entries - row, axis=1)
        first, *others = sorted(gaps[classes == c].min() for c in range(6))[:4]
        assert score == pytest.approx(first - 0.75 * np.mean(others), abs=1e-5)
    assert np.array_equal(index.score_unknown(query, found), index.score_unknown(query))


@pytest.mark.parametrize("classes", [5, 9])
@pytest.mark.parametrize("added", [1, 3, 40])
def test_scores_after_entries_were_added_are_those_of_the_whole_gallery(
    tmp_path, monkeypatch, classes, added
):
    rng = np.random.default_rng(added)
    names = tuple(f"c{i}" for i in range(12))
    centres = rng.normal(size=(12, 6))

    def drawn(count, known, to):
        labels = np.concatenate((np.arange(known), rng.integers(0, known, count)))[-count:]
        return GalleryIndex(
            vectors=Vectors.of(centres[labels] + 0.7 * rng.normal(size=(count, 6))),
            labels_G=labels, class_names=names[:known], paths=(to,) * count,
        )  # fmt: skip

    own = rng.integers(0, 12, 50)
    emb = centres[own] + 0.7 * rng.normal(size=(50, 6))
    queries = Queries.of(emb, [names[c] for c in own], names[:3])
    shift = np.where(rng.random(50) < 0.5, np.float32(0.1), np.float32(np.nan))
    index = drawn(60, classes, "old")
    index = replace(index, queries=replace(queries, shift_Q=shift))
    index.save(tmp_path / "g.npz")
    for _ in range(2):  # from what was kept in the file
        index = GalleryIndex.load(tmp_path / "g.npz").extended(drawn(added, 12, "new"))
        index.save(tmp_path / "g.npz")
    assert index.measured is not None
    whole = replace(index, measured=None).calibration
    for field in fields(whole):
        np.testing.assert_array_equal(
            getattr(index.calibration, field.name), getattr(whole, field.name), field.name
        )
    # A file of an earlier release does not say which entries were near: all are searched.
    plain = replace(index, measured=replace(index.measured, near_QK=None))
    assert plain.extended(drawn(added, 12, "new")).measured is None
    assert index.kept_as("16-bit").extended(drawn(added, 12, "new")).measured is None
    assert index.matched_by("prototypes").extended(drawn(added, 12, "new")).measured is None
