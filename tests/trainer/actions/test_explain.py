"""Neighbours, doubtful labels and the map, against plain loops over the same embeddings."""

import json

import numpy as np
import pytest

from tests.count_calls import count_calls
from trainer.actions.explain import _in_two_dimensions, _Pool, neighbours
from trainer.gallery import GalleryIndex
from trainer.session import TRAINER
from trainer.vectors import Vectors


@pytest.fixture(scope="module")
def evaluated(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("explained")
    return trained.spec(folder, evaluate__checkpoint=str(trained.checkpoint))


@pytest.fixture(scope="module")
def explained(evaluated):
    return TRAINER.explain(evaluated), TRAINER.evaluate(evaluated)


def test_hits_are_those_of_the_evaluation(explained):
    explanation, evaluation = explained
    queries = explanation["queries"]
    assert [row["hit"] for row in queries] == evaluation["hits"]
    assert [row["class"] for row in queries] == evaluation["query_classes"]
    assert all((row["nearest"]["class"] == row["class"]) == row["hit"] for row in queries)


def test_queries_can_be_asked_for_alone(evaluated, explained):
    told = []
    costly = ("suspects", "measure_growth", "calibration", "layout")
    asked = lambda: told.append(TRAINER.explain(evaluated, False))  # noqa: E731
    assert count_calls(asked, of=costly) == 0
    assert told == [{"queries": explained[0]["queries"], "suspects": [], "map": None}]


def test_the_own_class_is_never_nearer_than_the_nearest(explained):
    for row in explained[0]["queries"]:
        if row["hit"]:
            assert row["own"]["distance"] == pytest.approx(row["nearest"]["distance"], abs=1e-6)
        else:
            assert row["own"]["distance"] >= row["nearest"]["distance"] - 1e-6


def test_few_gallery_pictures_tell_nothing_of_more(explained):
    assert explained[0]["growth"] == {"why": "nine of ten classes need 3 gallery pictures or more"}


def test_it_is_plain_data(explained):
    assert json.loads(json.dumps(explained[0])) == explained[0]


def test_the_map_has_a_point_for_every_picture(explained):
    explanation, evaluation = explained
    chart = explanation["map"]
    total = evaluation["num_queries"] + evaluation["num_reference"]
    assert {len(chart[key]) for key in ("x", "y", "class", "role", "path")} == {total}
    assert chart["role"].count("query") == evaluation["num_queries"]
    assert np.std(chart["x"]) > 0
    assert np.std(chart["y"]) > 0


@pytest.mark.parametrize("count", [2, 29, 40])
@pytest.mark.parametrize("rounding", [0, 1e-7])
def test_pictures_that_all_embed_alike_lie_in_one_place(count, rounding):
    alike = np.tile(np.array([0.6, 0.8, 0.0], np.float32), (count, 1))
    alike[0, 2] = rounding
    xy = _in_two_dimensions(alike)[1]
    assert (xy.shape, np.unique(xy).tolist()) == ((count, 2), [0.0])


def test_two_places_are_laid_out_as_two():
    unit = np.repeat(np.eye(8, dtype=np.float32)[:2], 20, axis=0)
    xy = _in_two_dimensions(unit)[1]
    assert np.isfinite(xy).all()
    assert np.linalg.norm(xy[:20].mean(axis=0) - xy[20:].mean(axis=0)) > 0


def make_clusters(rng, classes=3, each=8):
    centres = np.eye(8)[:classes]
    emb = np.concatenate([c + 0.05 * rng.normal(size=(each, 8)) for c in centres])
    return emb.astype(np.float32), np.repeat(np.arange(classes), each)


def make_gallery(emb, labels):
    return GalleryIndex(
        vectors=Vectors.of(emb),
        labels_G=labels,
        class_names=("ale", "bun", "cod"),
        paths=tuple(f"g{i}" for i in range(len(emb))),
    )


def test_neighbours_against_a_plain_loop():
    rng = np.random.default_rng(0)
    emb, labels = rng.normal(size=(20, 6)).astype(np.float32), rng.integers(0, 3, 20)
    labels[:3] = 0, 1, 2
    queries, wanted = rng.normal(size=(15, 6)).astype(np.float32), rng.integers(0, 3, 15)
    gallery = make_gallery(emb, labels)
    paths = [f"{i}.png" for i in range(20)]
    rows = neighbours(gallery, paths, queries, wanted, [f"q{i}.png" for i in range(15)])
    unit = emb / np.linalg.norm(emb, axis=1, keepdims=True)
    for row, query, label in zip(rows, queries, wanted, strict=True):
        far = [float(np.linalg.norm(query / np.linalg.norm(query) - u)) for u in unit]
        nearest = min(range(20), key=far.__getitem__)
        own = min((i for i in range(20) if labels[i] == label), key=far.__getitem__)
        assert row["nearest"]["path"] == paths[nearest]
        assert row["nearest"]["distance"] == pytest.approx(far[nearest], abs=1e-5)
        assert row["own"]["path"] == paths[own]
        assert row["own"]["distance"] == pytest.approx(far[own], abs=1e-5)


def test_a_planted_wrong_label_is_the_only_suspect():
    emb, labels = make_clusters(np.random.default_rng(1))
    planted = labels.copy()
    planted[3] = 2
    gallery = make_gallery(emb[::2], planted[::2])
    unit = emb[1::2] / np.linalg.norm(emb[1::2], axis=1, keepdims=True)
    pool = _Pool(gallery, [f"g{i}" for i in range(12)], unit, planted[1::2], list("abcdefghijkl"))
    suspects = pool.suspects()
    assert [(row["path"], row["class"], row["says"]) for row in suspects] == [("b", "cod", "ale")]
    assert suspects[0]["role"] == "query"
    assert suspects[0]["margin"] > 1.0


def test_clean_clusters_have_no_suspect():
    emb, labels = make_clusters(np.random.default_rng(2))
    gallery = make_gallery(emb[::2], labels[::2])
    unit = emb[1::2] / np.linalg.norm(emb[1::2], axis=1, keepdims=True)
    pool = _Pool(gallery, [""] * 12, unit, labels[1::2], [""] * 12)
    assert pool.suspects() == []
