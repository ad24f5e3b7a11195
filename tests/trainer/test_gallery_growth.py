"""Growth of Precision@1 with the gallery, against plain loops and curves that are known."""

import numpy as np
import pytest

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
    assert growth.pictures_L.tolist() == [1, 2, 3, 4]
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
    assert growth.pictures_L.tolist() == [sum(part) / 2 for part in parts]
    assert growth.values()[-1] == 1.0


def test_a_power_law_is_continued():
    pictures = np.array([1.0, 2.0, 3.0, 4.0, 6.0, 8.0])
    values = 1 - 0.4 * pictures**-0.3
    hits = np.repeat(values[:, None], 40, axis=1).astype(np.float32)
    growth = Growth(pictures_L=pictures, hits_LQ=hits, labels_Q=np.arange(40) % 4)
    for times in (2, 4):
        value, low, high = extrapolate(growth, times)
        assert value == pytest.approx(1 - 0.4 * (8 * times) ** -0.3, abs=1e-5)
        assert low <= value + 1e-6
        assert high >= value - 1e-6


def test_twice_the_pictures_bring_about_what_was_expected():
    misses = []
    for seed in range(6):
        emb, labels, query, own = shop(16, seed, asked=30)
        half = np.concatenate([np.flatnonzero(labels == c)[:8] for c in range(15)])
        expected, low, high = extrapolate(measure_growth(emb[half], labels[half], query, own), 2)
        found = measure_growth(emb, labels, query, own).values()[-1]
        misses.append(abs(expected - found))
        assert low < high
    assert np.mean(misses) < 0.03


def test_classes_that_gained_most_come_first_and_few_pictures_are_said():
    labels = np.arange(20) % 2
    hits = np.array([[0.5, 0.9] * 10, [0.6, 0.9] * 10, [0.7, 0.95] * 10], dtype=np.float32)
    growth = Growth(pictures_L=np.array([1.0, 2.0, 4.0]), hits_LQ=hits, labels_Q=labels)
    assert gains_by_class(growth)[0] == pytest.approx((0.6, 0.7))
    told = describe_growth(growth, ("pear", "plum"))
    assert [row["class"] for row in told["classes"]] == ["pear", "plum"]
    assert [row["pictures"] for row in told["ahead"]] == [8.0, 16.0]
    assert told["levels"][0] == {"pictures": 1.0, "value": pytest.approx(0.7)}
    emb, few, query, own = shop(2)
    assert measure_growth(emb, few, query, own) is None
    assert describe_growth(None, ())["why"] == "classes need 3 gallery pictures on average"
