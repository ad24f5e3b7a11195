"""Every array of a gallery file, damaged in turn."""

import numpy as np
import pytest

from tests.trainer.test_gallery import index_of
from trainer.errors import DataError
from trainer.gallery import GalleryIndex
from trainer.proposals import has_faiss
from trainer.unknowns import Queries
from trainer.vectors import KINDS

NAMES = ("ant", "bee", "cow", "dog", "eel", "fox", "gnu")
LABELS = [0, 1, 2, 3, 4, 5, 6, 6]


@pytest.fixture
def gallery(tmp_path):
    """Write a gallery with queries and their scores; returns a way to damage one array of it."""
    index = index_of(NAMES, LABELS, dim=6)
    rng = np.random.default_rng(7)
    queries = Queries.of(rng.normal(size=(21, 6)), NAMES * 3, NAMES[:2])
    shift = np.full(21, 0.25, dtype=np.float32)
    file = tmp_path / "gallery.npz"
    whole = Queries(
        emb_QD=queries.emb_QD, names=queries.names, is_trained_Q=queries.is_trained_Q, shift_Q=shift
    )
    GalleryIndex(
        vectors=index.vectors, labels_G=index.labels_G, class_names=NAMES, paths=index.paths,
        digests=tuple("abcdefgh"), queries=whole,
    ).save(file)  # fmt: skip

    def damage(name, change):
        with np.load(file) as arrays:
            np.savez(file, **{**arrays, name: change(arrays[name])})
        return file

    return damage


def refusal(file):
    with pytest.raises(DataError) as caught:
        GalleryIndex.load(file)
    said = str(caught.value)
    assert said.startswith(f"{file}: not a gallery index: ")
    assert "\n" not in said
    return said.removeprefix(f"{file}: not a gallery index: ")


ARRAYS = (
    "format", "kind", "matching", "model", "step", "embeddings", "labels", "class_names", "paths",
    "digests", "query_embeddings", "query_names", "query_is_trained", "query_shift",
    "scores_labels_Q", "scores_inside_Q", "scores_is_right_Q",
    "scores_outside_Q", "scores_is_trained_Q", "scores_near_QK",
)  # fmt: skip


def test_every_array_of_a_file_is_looked_at(gallery):
    with np.load(gallery("kind", lambda kind: kind)) as arrays:
        assert sorted(arrays) == sorted(ARRAYS)


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize(
    "change",
    [
        lambda values: np.zeros((2, 2, 2), values.dtype),
        lambda values: np.array(1j),
        lambda values: values.reshape(-1)[0] if values.ndim else values[None],
        lambda values: values.astype("S") if values.dtype.kind == "U" else values.astype("U"),
    ],
    ids=["cube", "complex", "dims", "type"],
)
def test_an_array_of_another_form_is_refused_by_name(gallery, name, change):
    assert refusal(gallery(name, change)).startswith(f"{name} must be ")


@pytest.mark.parametrize("name", ARRAYS[5:])
def test_one_entry_less_is_refused(gallery, name):
    file = gallery(name, lambda values: values[:-1])
    assert "must be" in refusal(file)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("embeddings", lambda v: v * np.nan, "embeddings must be finite numbers"),
        ("embeddings", lambda v: np.where(v == v[-1], np.inf, v), "embeddings must be finite"),
        ("embeddings", lambda v: v.astype(np.int8), "embeddings must be a table of float32"),
        ("embeddings", lambda v: v[:0], "embeddings must be a table of float32, got 0 x 6"),
        ("query_embeddings", lambda v: v * np.nan, "query_embeddings must be finite numbers"),
        ("query_embeddings", lambda v: v[:, :5], "query_embeddings must be 6 numbers long, got 5"),
        ("labels", lambda v: v * 0 + 999, "labels must be 0 to 6 with 7 class_names, got 999 to"),
        ("labels", lambda v: v - 1, "labels must be 0 to 6 with 7 class_names, got -1 to 5"),
        ("labels", lambda v: v + 0.5, "labels must be a row of whole numbers"),
        ("class_names", np.zeros_like, "class_names must be names, each once, got '' 7 times"),
        ("class_names", lambda v: np.where(v == "cow", " ", v), "each once, got an empty one"),
        ("class_names", lambda v: np.where(v == "cow", "ant", v), "each once, got 'ant' 2 times"),
        ("kind", lambda _: np.array("zz"), f"kind must be one of {', '.join(KINDS)}, got 'zz'"),
        ("kind", lambda _: np.array("8-bit"), "embeddings must be a table of int8"),
        ("matching", lambda _: np.array("x\n"), "matching must be one of nearest, prototypes"),
        ("format", lambda _: np.array(2), "format must be 3, got 2 (of another release)"),
        ("format", lambda _: np.array(9), "format must be 3, got 9"),
        ("step", lambda _: np.array(np.nan), "step must be a number above 0, got nan"),
        ("scores_near_QK", lambda v: v + 999, "scores_near_QK must be 0 to "),
        ("scores_near_QK", lambda v: v - 999, "scores_near_QK must be 0 to "),
        ("scores_near_QK", lambda v: v[:, :4], "scores_near_QK must be "),
    ],
)
def test_values_that_no_gallery_holds_are_refused(gallery, name, change, words):
    assert words in refusal(gallery(name, change))


@pytest.mark.parametrize("name", ARRAYS[:10])
def test_a_missing_array_is_named(tmp_path, name):
    index_of(NAMES, LABELS).save(file := tmp_path / "gallery.npz")
    with np.load(file) as arrays:
        np.savez(file, **{key: arrays[key] for key in arrays if key != name})
    assert refusal(file) == f"holds no {name}"


def test_classes_without_pictures_are_not_looked_for(gallery):
    """A search for more classes than have pictures would have no end."""
    index = GalleryIndex.load(gallery("labels", lambda labels: labels // 4))
    query = np.ones((2, 6), dtype=np.float32)
    assert len(np.unique(index.labels_G[index.nearest_classes(query, 2)[0]])) == 2
    with pytest.raises(DataError, match="at most the 2 classes of the gallery, got 3"):
        index.nearest_classes(query, 3)


@pytest.mark.skipif(not has_faiss(), reason="needs faiss")
@pytest.mark.parametrize("change", [lambda v: v[:9], lambda v: v[:-8], lambda v: v[::-1]])
def test_a_damaged_graph_is_made_anew(tmp_path, change):
    index = index_of(NAMES, LABELS * 5, dim=12)
    index.kept_as("hnsw").save(file := tmp_path / "gallery.npz")
    with np.load(file) as arrays:
        np.savez(file, **{**arrays, "graph": change(arrays["graph"])})
    found, _ = GalleryIndex.load(file).nearest(index.emb_GD[[3, 31]], 1)
    assert found.tolist() == [[3], [31]]


@pytest.mark.skipif(not has_faiss(), reason="needs faiss")
def test_a_graph_outlives_a_change_where_there_is_no_faiss(tmp_path, monkeypatch):
    index_of(NAMES, LABELS * 5, dim=12).kept_as("hnsw").save(file := tmp_path / "gallery.npz")
    graph = GalleryIndex.load(file).graph
    with monkeypatch.context() as patch:
        patch.setattr("trainer.gallery.has_faiss", lambda: False)
        GalleryIndex.load(file).extended(index_of(NAMES, LABELS, dim=12, seed=1)).save(file)
    grown = GalleryIndex.load(file)
    assert np.array_equal(grown.graph, graph)
    last = len(grown) - 1
    assert grown.nearest(grown.emb_GD[[3, last]], 1)[0].tolist() == [[3], [last]]
    assert len(grown.hnsw_graph()) > len(graph)


def test_entries_of_one_class_in_place_of_the_nearest_ones_are_not_gone_on_from(gallery):
    whole = GalleryIndex.load(gallery("kind", lambda kind: kind))
    assert whole.measured.near_QK is not None
    index = GalleryIndex.load(gallery("scores_near_QK", lambda v: v[:, [0, 1, 2, 3, 3]]))
    assert index.measured.near_QK is None
    assert index.extended(index_of(NAMES, LABELS, dim=6)).measured is None
