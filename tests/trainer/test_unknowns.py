"""Thresholds for unknown pictures, against plain loops and pictures of classes never seen."""

import dataclasses

import numpy as np
import pytest

from trainer.errors import DataError
from trainer.gallery import GalleryIndex
from trainer.unknowns import MOST_QUERIES, Calibration, Queries
from trainer.vectors import Vectors


def world(num_classes, seed, dim=12, spread=0.35):
    """Directions of classes, and a function that draws pictures of some of them."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(num_classes, dim))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)

    def draw(classes, each):
        labels = np.repeat(classes, each)
        return centres[labels] + spread * rng.normal(size=(len(labels), dim)), labels

    return draw


def gallery_of(emb, labels, names, queries=None, matching="nearest"):
    return GalleryIndex(
        vectors=Vectors.of(emb), labels_G=labels, class_names=tuple(names),
        paths=("p",) * len(labels), queries=queries, matching=matching,
    )  # fmt: skip


def calibration(outside, inside=None, labels=None):
    outside = np.array(outside, dtype=np.float32)
    labels = np.arange(len(outside)) % 10 if labels is None else np.array(labels)
    return Calibration(
        labels_Q=labels, outside_Q=outside,
        inside_Q=np.zeros_like(outside) if inside is None else np.array(inside, dtype=np.float32),
        is_right_Q=np.ones(len(outside), dtype=bool),
        is_trained_Q=np.zeros(len(outside), dtype=bool),
    )  # fmt: skip


@pytest.mark.parametrize("matching", ["nearest", "prototypes"])
def test_each_query_is_measured_with_and_without_its_class(matching):
    draw = world(11, 0)
    emb, labels = draw(np.arange(9), 3)
    asked, own = draw(np.array([0, 2, 8, 9, 10]), 4)
    names = [f"c{i}" for i in range(9)]
    queries = Queries.of(asked, [f"c{label}" for label in own], ["c2", "c9"])
    found = gallery_of(emb, labels, names, queries, matching).calibration
    unit = emb / np.linalg.norm(emb, axis=1, keepdims=True)
    if matching == "prototypes":
        means = np.stack([unit[labels == c].mean(axis=0) for c in range(9)])
        unit, entry_labels = means / np.linalg.norm(means, axis=1, keepdims=True), np.arange(9)
    else:
        entry_labels = labels

    def score(gaps, classes):
        first, *others = sorted(gaps[entry_labels == c].min() for c in classes)
        return first - 0.75 * np.mean(others[:3])

    for row, (q, label) in enumerate(zip(asked, own, strict=True)):
        gaps = np.linalg.norm(unit - q / np.linalg.norm(q), axis=1)
        others = [c for c in range(9) if c != label]
        assert found.outside_Q[row] == pytest.approx(score(gaps, others), abs=2e-3)
        if label < 9:
            assert found.inside_Q[row] == pytest.approx(score(gaps, range(9)), abs=2e-3)
            assert found.is_right_Q[row] == (entry_labels[gaps.argmin()] == label)
        else:
            assert np.isnan(found.inside_Q[row])
        assert found.is_trained_Q[row] == (label in {2, 9})


def test_a_threshold_lets_at_most_the_asked_share_through():
    values = np.concatenate((np.linspace(0.2, 0.3, 3), np.linspace(0.6, 1.2, 97)))
    found = calibration(values, inside=[0.25] * 90 + [0.9] * 10)
    told = found.threshold(0.05)
    assert (found.outside_Q <= told.limit).sum() == 5
    assert told.rejected == pytest.approx(0.1)
    assert 0.0 <= told.rate_interval[0] <= 0.05 <= told.rate_interval[1]
    assert found.threshold(0.02).limit < 0.3 < found.threshold(0.04).limit
    assert calibration([0.5] * 100).threshold(0.1).limit < 0.5  # all or none: none
    assert not told.is_of_trained


def test_too_little_to_calibrate_by_is_said():
    with pytest.raises(DataError, match="8 classes with .* are needed, got 7; of a class-disj"):
        calibration(np.ones(100), labels=np.arange(100) % 7).threshold(0.05)
    with pytest.raises(
        DataError,
        match=r"40 validation queries are needed for a rate of 0\.05, got 39; ask for a higher",
    ):
        calibration(np.ones(39)).threshold(0.05)
    for rate in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(DataError, match="above 0 and below 1"):
            calibration(np.ones(100)).threshold(rate)
    few = gallery_of(np.eye(4), np.arange(4), "abcd", Queries.of(np.eye(4), list("abcd"), []))
    with pytest.raises(DataError, match="the gallery must have 5 classes, got 4"):
        few.threshold(0.05)
    bare = gallery_of(np.eye(3), np.arange(3), "abc")
    with pytest.raises(DataError, match="the gallery holds no validation queries"):
        bare.threshold(0.05)


def test_curves_and_auroc_are_those_of_counting():
    rng = np.random.default_rng(1)
    inside, outside = rng.uniform(0, 1, 60), rng.uniform(0.4, 1.4, 60)
    outside[:5] = inside[:5]
    found = calibration(outside, inside=inside)
    known, unknown = np.float32(inside), np.float32(outside)
    wins = sum((k < u) + 0.5 * (k == u) for k in known for u in unknown)
    assert found.auroc() == pytest.approx(wins / 3600)
    rows = found.curves(points=9)
    for i, limit in enumerate(rows["limit"]):
        assert rows["coverage"][i] == pytest.approx(np.mean(known <= limit))
        assert rows["rejected"][i] == pytest.approx(np.mean(known > limit))
        assert rows["accepted"][i] == pytest.approx(np.mean(unknown <= limit))
    assert rows["coverage"][-1] == 1.0


@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_pictures_of_classes_never_seen_are_accepted_at_the_asked_rate(rate):
    accepted = []
    for seed in range(12):
        draw = world(80, seed)
        emb, labels = draw(np.arange(40), 4)
        asked, own = draw(np.arange(40), 15)
        queries = Queries.of(asked, [str(label) for label in own], [])
        gallery = gallery_of(emb, labels, [str(i) for i in range(40)], queries)
        strange, _ = draw(np.arange(40, 80), 15)
        accepted.append((gallery.score_unknown(strange) <= gallery.threshold(rate).limit).mean())
    assert np.mean(accepted) == pytest.approx(rate, rel=0.35)


def test_what_is_kept_in_a_file_is_measured_anew_when_the_gallery_changes(tmp_path):
    draw = world(12, 4)
    emb, labels = draw(np.arange(10), 3)
    asked, own = draw(np.arange(10), 6)
    queries = Queries.of(asked, [f"c{label}" for label in own], [f"c{i}" for i in range(10)])
    gallery = gallery_of(emb, labels, [f"c{i}" for i in range(10)], queries)
    gallery.save(tmp_path / "g.npz")
    again = GalleryIndex.load(tmp_path / "g.npz")
    assert again.measured is not None
    assert again.threshold(0.1) == gallery.threshold(0.1)
    assert again.threshold(0.1).is_of_trained
    near = asked[own == 3] * 1.0001  # a new class right where one is known
    more, _ = draw(np.array([3]), 1)
    assert (
        again.extended(gallery_of(near, np.zeros(len(near), dtype=int), ["twin"]))
        .calibration.outside_Q[own == 3]
        .max()
        < gallery.calibration.outside_Q[own == 3].min()
    )
    less = again.taken(np.flatnonzero(labels != 3))
    assert np.isnan(less.calibration.inside_Q[own == 3]).all()
    assert len(more) == 1


def test_a_shift_is_added_and_outlives_changes_of_the_gallery(tmp_path):
    draw = world(12, 4)
    emb, labels = draw(np.arange(10), 3)
    asked, own = draw(np.arange(10), 6)
    plain = Queries.of(asked, [f"c{label}" for label in own], [f"c{i}" for i in range(10)])
    shift = np.where(own < 9, np.float32(-0.125), np.float32(np.nan))
    shifted = dataclasses.replace(plain, shift_Q=shift)
    names = [f"c{i}" for i in range(10)]
    before = gallery_of(emb, labels, names, plain)
    gallery_of(emb, labels, names, shifted).save(tmp_path / "g.npz")
    again = GalleryIndex.load(tmp_path / "g.npz")
    moved = again.calibration.outside_Q - before.calibration.outside_Q
    assert moved == pytest.approx(np.where(own < 9, -0.125, 0.0), abs=1e-6)
    assert again.calibration.is_trained_Q.tolist() == (own == 9).tolist()
    kept = np.flatnonzero(labels != 0)
    moved = again.taken(kept).calibration.outside_Q - before.taken(kept).calibration.outside_Q
    assert moved == pytest.approx(np.where(own < 9, -0.125, 0.0), abs=1e-6)


def test_of_many_queries_a_random_part_is_kept():
    names = [str(i % 50) for i in range(MOST_QUERIES + 500)]
    kept = Queries.of(np.random.default_rng(0).normal(size=(len(names), 4)), names, ["7"])
    assert len(kept.names) == len(kept.emb_QD) == MOST_QUERIES
    assert kept.is_trained_Q.tolist() == [name == "7" for name in kept.names]
    assert len(set(kept.names)) == 50
