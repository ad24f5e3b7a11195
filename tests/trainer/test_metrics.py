import numpy as np
import pytest

from trainer import metrics
from trainer.clustering import cluster


def test_precision_at_1_by_hand():
    labels = np.array([0, 0, 0, 1])
    hits = np.array([True, True, False, False])
    assert metrics.precision_at_1(hits, labels) == {
        "class_mean": pytest.approx(1 / 3),
        "query_mean": 0.5,
    }
    assert metrics.per_class(hits, labels) == {0: pytest.approx(2 / 3), 1: 0.0}


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


def test_clustering_metrics_equal_scikit_learn():
    reference = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    for size, classes in ((40, 3), (300, 12), (25, 25)):
        labels, clusters = rng.integers(0, classes, size), rng.integers(0, classes + 2, size)
        clusters[: size // 2] = labels[: size // 2]
        want = reference.normalized_mutual_info_score(labels, clusters)
        assert metrics.nmi(labels, clusters) == pytest.approx(want)
        want = reference.adjusted_mutual_info_score(labels, clusters)
        assert metrics.ami(labels, clusters) == pytest.approx(want)


def test_clustering_metrics_at_their_ends():
    labels = np.array([0, 0, 1, 1, 2, 2])
    assert metrics.nmi(labels, labels + 7) == pytest.approx(1.0)
    assert metrics.ami(labels, labels[::-1]) == pytest.approx(1.0)
    assert metrics.nmi(labels, np.zeros(6, dtype=int)) == pytest.approx(0.0)


def test_k_means_finds_separate_groups_and_repeats_itself():
    rng = np.random.default_rng(2)
    centres = rng.normal(size=(6, 16))
    labels = np.repeat(np.arange(6), 20)
    points = centres[labels] + 0.05 * rng.normal(size=(120, 16))
    clusters = cluster(points, 6, seed=0)
    assert metrics.ami(labels, clusters) == pytest.approx(1.0)
    assert np.array_equal(clusters, cluster(points, 6, seed=0))
