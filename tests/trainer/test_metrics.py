import math
import time
from collections import Counter

import numpy as np
import pytest
from scipy.stats import binom

from trainer import metrics


def test_precision_at_1_by_hand():
    labels = np.array([0, 0, 0, 1])
    hits = np.array([True, True, False, False])
    assert metrics.precision_at_1(hits, labels) == {
        "class_mean": pytest.approx(1 / 3),
        "query_mean": 0.5,
    }
    assert metrics.per_class(hits, labels) == {0: pytest.approx(2 / 3), 1: 0.0}


def test_a_mean_over_classes_is_as_uncertain_as_a_share_of_fewer_queries():
    """One class of 991 queries beside nine of one: by the variance of means that are drawn."""
    labels = np.repeat(np.arange(10), [991, *[1] * 9])
    hits_BQ = np.random.default_rng(0).random((4000, 1000)) < 0.9
    means = [metrics.class_mean(hits_Q, labels) for hits_Q in hits_BQ[:2000]]
    count = metrics.share_of(labels, over_classes=True)
    assert count == pytest.approx(100 / (9 + 1 / 991))
    assert np.var(means) == pytest.approx(0.9 * 0.1 / count, rel=0.1)
    assert metrics.share_of(labels, over_classes=False) == 1000


def test_the_interval_of_the_class_mean_is_that_of_its_variance():
    """Shares of classes of many queries are close to normal: mean of p (1 - p) / n over classes."""
    labels = np.repeat([1, 4], [400, 900])
    hits = np.concatenate([np.arange(400) < 320, np.arange(900) < 450])
    low, high = metrics.class_mean_interval(hits, labels)
    deviation = np.sqrt(0.8 * 0.2 / 400 + 0.5 * 0.5 / 900) / 2
    assert low == pytest.approx(0.65 - 1.96 * deviation, abs=0.002)
    assert high == pytest.approx(0.65 + 1.96 * deviation, abs=0.002)


def test_classes_of_one_query_vary_as_all_of_them_do():
    """Seven of eight are hits: quantiles of a binomial distribution, not a single point."""
    hits = np.arange(8) < 7
    alone = metrics.class_mean_interval(hits, np.arange(8))
    assert alone == (binom.ppf(0.025, 8, 7 / 8) / 8, binom.ppf(0.975, 8, 7 / 8) / 8)
    labels = np.concatenate([np.full(400, 9), np.arange(8)])  # and beside a class of many
    many = np.concatenate([np.arange(400) < 320, hits])
    low, high = metrics.class_mean_interval(many, labels)
    assert (low, high) == pytest.approx([(0.8 + 8 * end) / 9 for end in alone], abs=0.005)


@pytest.mark.parametrize(
    ("hits", "counts", "bounds"),
    [
        ([6], [6], (binom.ppf(0.025, 6, 6.5 / 7) / 6, 1.0)),
        ([0, 0, 0], [2, 2, 2], (0.0, binom.ppf(0.975, 6, 0.5 / 7) / 6)),
        ([1, 1, 1], [1, 1, 1], (binom.ppf(0.025, 3, 3.5 / 4) / 3, 1.0)),
        ([400], [400], (0.995, 1.0)),
        ([2, 0], [2, 2], (0.25, 0.75)),
        ([400, 2, 2, 2, 2, 2], [400, 2, 2, 2, 2, 2], (12 / 14, 1.0)),  # worth 14.4 queries
    ],
)
def test_hits_that_are_all_alike_are_not_certain(hits, counts, bounds):
    labels = np.repeat(np.arange(len(counts)), counts)
    rows = np.concatenate([np.arange(n) < h for h, n in zip(hits, counts, strict=True)])
    assert metrics.class_mean_interval(rows, labels) == pytest.approx(bounds, abs=1e-3)


def test_intervals_of_few_queries_hold_the_truth_as_often_as_they_say():
    """Three classes of two queries, of which drawn hits alone held it in 64 %."""
    labels, rng = np.repeat(np.arange(3), 2), np.random.default_rng(0)
    bounds = [metrics.class_mean_interval(rng.random(6) < 0.7, labels) for _ in range(100)]
    assert sum(low <= 0.7 <= high for low, high in bounds) > 80


def test_very_many_classes_are_not_drawn_one_by_one():
    """Sixty million draws would take several seconds and half a gigabyte."""
    labels = np.repeat(np.arange(30_000), 4)
    share = np.where(labels % 2, 1, 3)
    began = time.process_time()
    low, high = metrics.class_mean_interval(np.arange(len(labels)) % 4 < share, labels)
    assert time.process_time() - began < 1.0
    deviation = (3 / 16 / 4 / 30_000) ** 0.5
    assert (low, high) == pytest.approx([0.5 - 1.96 * deviation, 0.5 + 1.96 * deviation], abs=3e-4)


def test_classes_without_queries_do_not_count():
    labels = np.array([2, 2, 5])
    assert metrics.class_mean(np.array([1.0, 0.0, 1.0]), labels) == 0.75


def test_hits_in_top_k():
    neighbours = np.array([[1, 0, 2], [0, 0, 0]])
    labels = np.array([2, 1])
    assert metrics.hits_in_top_k(neighbours, labels, 1).tolist() == [False, False]
    assert metrics.hits_in_top_k(neighbours, labels, 3).tolist() == [True, False]


@pytest.mark.parametrize(
    ("right", "r_precision", "map_at_r"),
    [  # ten results of ten relevant ones, as in "A Metric Learning Reality Check", table 1
        ([1, 0, 0, 0, 0, 0, 0, 0, 0, 0], 0.10, 0.10),
        ([1, 0, 0, 0, 0, 0, 0, 0, 0, 1], 0.20, 0.12),
        ([1, 1, 0, 0, 0, 0, 0, 0, 0, 0], 0.20, 0.20),
        ([1] * 10, 1.0, 1.0),
    ],
)
def test_rank_metrics_match_the_published_table(right, r_precision, map_at_r):
    neighbours, labels, relevant = np.array([right]), np.array([1]), np.array([10])
    assert metrics.r_precision(neighbours, labels, relevant)[0] == pytest.approx(r_precision)
    assert metrics.map_at_r(neighbours, labels, relevant)[0] == pytest.approx(map_at_r)


def test_rank_metrics_equal_plain_loops():
    rng = np.random.default_rng(0)
    neighbours, labels = rng.integers(0, 4, (50, 12)), rng.integers(0, 4, 50)
    relevant = rng.integers(0, 13, 50)
    r_precision = metrics.r_precision(neighbours, labels, relevant)
    map_at_r = metrics.map_at_r(neighbours, labels, relevant)
    for q in range(50):
        right, total = 0, 0.0
        for place in range(relevant[q]):
            if neighbours[q, place] == labels[q]:
                right += 1
                total += right / (place + 1)
        r = max(int(relevant[q]), 1)
        assert r_precision[q] == pytest.approx(right / r)
        assert map_at_r[q] == pytest.approx(total / r)


def test_too_few_neighbours_are_refused():
    with pytest.raises(ValueError, match="K >= 3"):
        metrics.r_precision(np.zeros((1, 2)), np.zeros(1), np.array([3]))


def test_reciprocal_rank_of_nothing_is_zero():
    assert metrics.reciprocal_ranks(np.array([1, 4, 0])).tolist() == [1.0, 0.25, 0.0]


def mutual_information(pairs):
    """Of two labellings and the mean of their entropies, by the definition."""
    pairs, total = list(pairs), len(pairs)
    joint, first, second = (
        Counter(pairs),
        Counter(a for a, _ in pairs),
        Counter(b for _, b in pairs),
    )
    found = sum(
        n / total * math.log(total * n / (first[a] * second[b])) for (a, b), n in joint.items()
    )
    entropies = [
        -sum(n / total * math.log(n / total) for n in counts.values()) for counts in (first, second)
    ]
    return found, sum(entropies) / 2


def test_separate_groups_are_found_and_repeated():
    rng = np.random.default_rng(2)
    labels = np.repeat(np.arange(6), 20)
    points = rng.normal(size=(6, 16))[labels] + 0.05 * rng.normal(size=(120, 16))
    assert metrics.clustering_metrics(points, labels) == pytest.approx((1.0, 1.0))
    mixed = points + 1.5 * rng.normal(size=points.shape)
    once = metrics.clustering_metrics(mixed, labels)
    assert once == metrics.clustering_metrics(mixed, labels)
    assert 0 < once[1] < once[0] < 1  # chance explains a part of the agreement


def test_groups_that_cut_across_the_classes_agree_by_their_mutual_information():
    # Three groups of points on separate axes; their members are of classes as these pairs say.
    pairs = [(0, 0)] * 7 + [(0, 1)] * 3 + [(1, 1)] * 6 + [(1, 2)] * 2 + [(2, 2)] * 5
    points = np.eye(4)[[group for _, group in pairs]] + 0.001
    nmi, _ = metrics.clustering_metrics(5.0 * points, np.array([label for label, _ in pairs]))
    found, entropy = mutual_information(pairs)
    assert nmi == pytest.approx(found / entropy)


def test_classes_that_have_nothing_to_do_with_the_groups_adjust_to_about_nothing():
    rng = np.random.default_rng(3)
    points = np.eye(8)[rng.integers(0, 8, 400)] + 0.001 * rng.normal(size=(400, 8))
    _, ami = metrics.clustering_metrics(points, rng.integers(0, 8, 400))
    assert abs(ami) < 0.02


@pytest.mark.parametrize(
    ("counts", "is_told"),
    [([1] * 6, False), ([2] * 6, False), ([3] * 6, True), ([12], False), ([10, 1], True)],
)
def test_clusters_are_compared_where_they_are_fewer_than_the_queries(counts, is_told):
    labels = np.repeat(np.arange(len(counts)), counts)
    points = np.random.default_rng(0).normal(size=(len(labels), 5))
    assert (metrics.clustering_metrics(points, labels) is not None) is is_told


def test_the_place_of_the_first_hit_is_that_of_a_loop():
    rng = np.random.default_rng(4)
    neighbours, labels = rng.integers(0, 6, (50, 4)), rng.integers(0, 6, 50)
    pairs = zip(neighbours.tolist(), labels.tolist(), strict=True)
    places = [row.index(own) + 1 if own in row else 0 for row, own in pairs]
    assert metrics.first_hit_ranks(neighbours, labels).tolist() == places
    assert {0, 1, 4} <= set(places)


@pytest.mark.parametrize("spare", [0, 1, -1, -400, -719])
def test_many_queries_and_classes_are_clustered_in_part(monkeypatch, spare):
    """60 queries of 12 classes of unequal size: whole classes, as many as fit."""
    monkeypatch.setattr(metrics, "MOST_CLUSTERED", 60 * 12 + spare)
    rng = np.random.default_rng(1)
    labels = 3 * rng.permutation(np.concatenate((np.arange(12), rng.integers(0, 12, 48))))
    rows = metrics.clustered_rows(labels)
    assert rows.tolist() == [row for row in range(60) if labels[row] in set(labels[rows])]
    chosen = len(set(labels[rows]))
    if spare >= 0:
        assert len(rows) == 60
    elif spare == -719:
        assert chosen == 2
    else:
        assert len(rows) * chosen <= 720 + spare
        assert chosen == 11 if spare == -1 else 5 <= chosen <= 9
