"""Growth of Precision@1 with the gallery, against plain loops and curves that are known."""

import numpy as np
import pytest
from scipy.stats import t

from tests.trainer.test_unknowns import world
from trainer.gallery_growth import (
    Growth,
    describe_growth,
    extrapolate,
    gains_by_class,
    measure_growth,
)


def shop(each, seed=3, asked=8):
    draw = world(15, seed, dim=10, spread=0.3)
    emb, labels = draw(np.arange(15), each)
    query, own = draw(np.arange(15), asked)
    return emb, labels, query, own


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_levels_are_means_over_random_parts_of_each_class():
    emb, labels, query, own = shop(4)
    growth = measure_growth(emb, labels, query, own)
    assert growth.pictures_L == pytest.approx([1, 2, 3, 4])
    near = unit(query) @ unit(emb).T
    rng = np.random.default_rng(9)
    for level, pictures in enumerate((1, 2, 3, 4)):
        rates = []
        for _ in range(60):
            kept = np.concatenate(
                [
                    rng.choice(np.flatnonzero(labels == c), pictures, replace=False)
                    for c in range(15)
                ]
            )
            hit = labels[kept][near[:, kept].argmax(axis=1)] == own
            rates.append(np.mean([hit[own == c].mean() for c in range(15)]))
        assert growth.values()[level] == pytest.approx(np.mean(rates), abs=0.025)
    assert growth.values()[-1] == pytest.approx(np.mean(rates))  # all of them: nothing is drawn


def test_classes_of_unequal_size_shrink_alike():
    labels = np.repeat([0, 2], [16, 3])  # class 1 has no picture
    emb = np.random.default_rng(0).normal(size=(19, 5))
    growth = measure_growth(emb, labels, emb, labels)
    parts = [(2, 1), (4, 1), (6, 2), (8, 2), (10, 2), (12, 3), (14, 3), (16, 3)]
    assert growth.pictures_L == pytest.approx([(one * other) ** 0.5 for one, other in parts])
    assert growth.values()[-1] == 1.0


@pytest.mark.parametrize(("share", "fall"), [(0.05, 0.4), (0.5, 0.3), (1.6, 0.25)])
def test_a_power_law_is_continued_with_the_misses_of_halves_around_it(share, fall):
    """Of small errors and of many; the interval is Student's of ten values."""
    pictures = np.array([1.0, 2.0, 3.0, 4.0, 6.0, 8.0])
    values = np.exp(-share * pictures**-fall)
    hits = np.repeat(values[:, None], 40, axis=1).astype(np.float32)
    misses = np.array([0.1, -0.1] * 5)
    growth = Growth(pictures_L=pictures, hits_LQ=hits, labels_Q=np.arange(40) % 4, misses_H=misses)
    for times in (2, 4):
        value, low, high = extrapolate(growth, times)
        loss = share * (8 * times) ** -fall
        assert value == pytest.approx(np.exp(-loss), abs=1e-5)
        spread = times ** (t.ppf(0.975, 9) * 0.1)
        assert (low, high) == pytest.approx(
            (np.exp(-loss * spread), np.exp(-loss / spread)), abs=1e-4
        )


def test_twice_the_pictures_bring_about_what_was_expected():
    """The interval holds the truth about as often as it says; these worlds chose nothing."""
    misses, covered = [], []
    for seed in range(30):
        emb, labels, query, own = shop(16, seed, asked=20)
        half = np.concatenate([np.flatnonzero(labels == c)[:8] for c in range(15)])
        expected, low, high = extrapolate(measure_growth(emb[half], labels[half], query, own), 2)
        hit = labels[(unit(query) @ unit(emb).T).argmax(axis=1)] == own
        found = np.mean([hit[own == c].mean() for c in range(15)])
        misses.append(expected - found)
        covered.append(low <= found <= high)
    assert np.abs(misses).mean() < 0.03
    assert np.mean(covered) >= 0.85


def test_classes_that_gained_most_come_first():
    labels = np.arange(20) % 2
    hits = np.array([[0.5, 0.9] * 10, [0.6, 0.9] * 10, [0.7, 0.95] * 10], dtype=np.float32)
    growth = Growth(
        pictures_L=np.array([1.0, 2.0, 4.0]), hits_LQ=hits, labels_Q=labels, misses_H=np.zeros(10)
    )
    assert gains_by_class(growth)[0] == pytest.approx((0.6, 0.7))
    told = describe_growth(growth, ("pear", "plum"))
    assert [row["class"] for row in told["classes"]] == ["pear", "plum"]
    assert [row["pictures"] for row in told["ahead"]] == [8.0, 16.0]
    assert told["levels"][0] == {"pictures": 1.0, "value": pytest.approx(0.7)}


@pytest.mark.parametrize(
    ("counts", "least"),
    [
        ([2] * 15, None),
        ([200] + [1] * 14, None),  # 14 on average, and one class alone would grow
        ([200] + [3] * 14, 3),
        ([1, 2] + [20] * 13, None),
        ([2] + [20] * 14, 2),
        ([2] + [20] * 9, 2),  # a tenth
        ([2] * 2 + [20] * 17, None),
    ],
)
def test_nothing_is_said_where_classes_cannot_be_thinned(counts, least):
    labels = np.repeat(np.arange(len(counts)), counts)
    emb = np.random.default_rng(0).normal(size=(len(labels), 5))
    growth = measure_growth(emb, labels, emb[:40], labels[:40])
    told = describe_growth(growth, tuple("abcdefghijklmno"))
    if least is None:
        assert told == {"why": "nine of ten classes need 3 gallery pictures or more"}
    else:
        assert (told["least"], told["most"]) == (least, max(counts))


@pytest.mark.parametrize("spare", [0, -1, -400])
def test_of_very_many_pairs_some_queries_of_each_class_are_asked(monkeypatch, spare):
    emb, labels, query, own = shop(8, asked=40)
    whole = measure_growth(emb, labels, query, own)
    monkeypatch.setattr("trainer.gallery_growth._LEAST_QUERIES", 10)
    monkeypatch.setattr("trainer.gallery_growth._MOST_PAIRS", (600 + spare) * 120)
    growth = measure_growth(emb, labels, query, own)
    told = describe_growth(growth, tuple("abcdefghijklmno"))
    assert (told["num_queries"], told["num_given"]) == (600 + spare, 600)
    counts = np.bincount(growth.labels_Q, minlength=15)
    assert counts.max() - counts.min() <= 1
    assert growth.values() == pytest.approx(whole.values(), abs=0.06)
    if not spare:
        assert np.array_equal(growth.hits_LQ, whole.hits_LQ)
        assert np.array_equal(growth.misses_H, whole.misses_H)


def test_no_fewer_queries_are_asked_than_tell_something(monkeypatch):
    emb, labels, query, own = shop(4, asked=40)
    monkeypatch.setattr("trainer.gallery_growth._MOST_PAIRS", 60)
    monkeypatch.setattr("trainer.gallery_growth._LEAST_QUERIES", 100)
    assert len(measure_growth(emb, labels, query, own).labels_Q) == 100
