"""The comparison of finalists against figures worked out by hand and by a plain loop."""

import math
import random
import statistics

import pytest
from scipy.stats import binom

from hpo.results.compare import Finalist, choose, compare


def finalist(number, hits, cost=1.0, values=None):
    """One whose metric is the mean of its hits."""
    hits = tuple(tuple(bool(h) for h in run) for run in hits)
    values = values or tuple(sum(run) / len(run) for run in hits)
    return Finalist(number=number, values=values, cost=cost, hits=hits)


def some_hits(rng, share, queries=200):
    return [rng.random() < share for _ in range(queries)]


def test_the_interval_is_that_of_a_mean_of_hits():
    rng = random.Random(1)
    first, second = (finalist(n, [some_hits(rng, 0.5, 400)]) for n in (0, 1))
    standing = compare([first, second], None)[0]
    error = math.sqrt(standing.value * (1 - standing.value) / 400)
    low, high = standing.interval
    assert low == pytest.approx(standing.value - 1.96 * error, abs=0.006)
    assert high == pytest.approx(standing.value + 1.96 * error, abs=0.006)


def test_equal_queries_cancel_out():
    """One of two answers ten more of 200 queries and is wrong nowhere else: no chance in that."""
    rng = random.Random(2)
    base = some_hits(rng, 0.5)
    wrong = [i for i, hit in enumerate(base) if not hit][:10]
    better = [hit or i in wrong for i, hit in enumerate(base)]
    standings = compare([finalist(0, [base]), finalist(1, [better])], None)
    assert [s.number for s in standings] == [1, 0]
    assert standings[1].behind == pytest.approx(0.05)
    assert not standings[1].is_tied
    # Unpaired, the same difference is well within chance: 1.96 x sqrt(2 x 0.25 / 200) is 0.098.
    other = some_hits(random.Random(3), 0.5)
    other_wrong = sum(better) - sum(other) - 10
    flips = [i for i, hit in enumerate(other) if hit != (other_wrong > 0)][: abs(other_wrong)]
    shifted = [(not hit) if i in flips else hit for i, hit in enumerate(other)]
    loose = compare([finalist(0, [shifted]), finalist(1, [better])], None)
    assert loose[1].behind == pytest.approx(0.05)
    assert loose[1].is_tied


def test_queries_are_drawn_within_their_class_where_the_mean_is_over_classes():
    """Class 0 is always right, class 1 never: within classes little can vary."""
    hits, classes = [True] * 300 + [False] * 100, [0] * 300 + [1] * 100
    runs = [finalist(n, [hits], values=(0.5,)) for n in (0, 1)]
    low, high = compare(runs, classes)[0].interval
    assert 0.494 < low < 0.5 < high < 0.512
    low, high = compare(runs, None)[0].interval
    assert low < 0.72
    assert high > 0.78


@pytest.mark.parametrize(
    ("hits", "total", "classes", "bounds"),
    [
        (6, 6, None, (binom.ppf(0.025, 6, 6.5 / 7) / 6, 1.0)),
        (0, 6, [0, 0, 1, 1, 2, 2], (0.0, binom.ppf(0.975, 6, 0.5 / 7) / 6)),
        (400, 400, None, (0.995, 1.0)),
        (2, 4, [0, 0, 1, 1], (0.25, 0.75)),  # all of one class, none of the other
        (3, 3, [0, 1, 2], (binom.ppf(0.025, 3, 3.5 / 4) / 3, 1.0)),
        (410, 410, [0] * 400 + [n // 2 for n in range(2, 12)], (12 / 14, 1.0)),  # worth 14.4
    ],
)
@pytest.mark.parametrize("seeds", [1, 3])
def test_hits_that_are_all_alike_are_not_certain(hits, total, classes, bounds, seeds):
    runs = [[i < hits for i in range(total)]] * seeds
    assert compare([finalist(1, runs)], classes)[0].interval == pytest.approx(bounds, abs=1e-3)


@pytest.mark.parametrize(("total", "is_tied"), [(1, True), (2, True), (12, False)])
def test_all_against_none_is_found_by_queries_enough(total, is_tied):
    runs = [finalist(0, [[False] * total]), finalist(1, [[True] * total])]
    behind = compare(runs, None)[1]
    assert (behind.behind, behind.is_tied) == (1.0, is_tied)
    assert behind.behind_interval[0] < 1.0
    assert compare([runs[1], finalist(2, [[True] * total])], None)[1].is_tied


def test_classes_of_one_query_vary_as_all_of_them_do():
    """Seven of eight are hits: quantiles of a binomial distribution, not a single point."""
    (standing,) = compare([finalist(1, [[True] * 7 + [False]])], list(range(8)))
    expected = tuple(binom.ppf(q, 8, 7 / 8) / 8 for q in (0.025, 0.975))
    assert standing.interval == pytest.approx(expected)


def test_seeds_that_disagree_widen_the_difference():
    rng = random.Random(4)
    base = some_hits(rng, 0.5, 2000)
    up = [hit or i % 20 == 0 for i, hit in enumerate(base)]
    down = [hit and i % 20 != 1 for i, hit in enumerate(base)]
    steady = compare([finalist(0, [base, base]), finalist(1, [up, up])], None)
    mixed = compare([finalist(0, [base, base]), finalist(1, [up, down])], None)
    assert not steady[1].is_tied
    assert mixed[1].is_tied


@pytest.mark.parametrize(
    ("shares", "quantile"), [((0.3, 0.5, 0.5, 0.7), 3.182), ((0.35, 0.5, 0.65), 4.303)]
)
def test_where_seeds_matter_most_the_interval_is_that_of_their_mean(shares, quantile):
    """Student's t of the values of the runs, from a table, with as many degrees as seeds but one."""
    runs = [[i < share * 2000 for i in range(2000)] for share in shares]
    low, high = compare([finalist(0, runs)], None)[0].interval
    half = quantile * statistics.stdev(shares) / math.sqrt(len(shares))
    assert (low + high) / 2 == pytest.approx(0.5, abs=0.01)
    assert (high - low) / 2 == pytest.approx(half, rel=0.06)


def test_seeds_that_agree_widen_nothing():
    hits = some_hits(random.Random(6), 0.8, 300)
    alone = compare([finalist(0, [hits])], None)[0].interval
    assert compare([finalist(0, [hits] * 3)], None)[0].interval == pytest.approx(alone, abs=0.01)


def test_an_interval_holds_no_impossible_share():
    runs = [[i < share * 100 for i in range(100)] for share in (0.6, 1.0)]
    standings = compare([finalist(0, runs), finalist(1, [runs[1], runs[0]])], None)
    assert standings[0].interval == (0.0, 1.0)
    assert standings[1].behind_interval == (-1.0, 1.0)


def test_equal_configurations_are_seldom_called_different_where_seeds_matter():
    """Two seeds and next to no noise of queries, the hardest case: of 60 pairs a bootstrap that drew
    the seeds with replacement found 20 different, and 3 may be."""
    rng, different = random.Random(3), 0
    for _ in range(60):
        shares = [[rng.gauss(0.5, 0.13) for _ in range(2)] for _ in range(2)]
        runs = [[[i < 60 * share for i in range(60)] for share in own] for own in shares]
        pair = [finalist(number, own) for number, own in enumerate(runs)]
        different += not compare(pair, None)[1].is_tied
    assert different <= 9


def test_without_hits_means_decide_and_nothing_is_called_a_tie():
    runs = [Finalist(number=n, values=(v,), cost=1.0) for n, v in ((0, 0.5), (3, 0.7), (5, 0.6))]
    standings = compare(runs, None)
    assert [(s.number, s.interval, s.is_tied) for s in standings] == [
        (3, None, True), (5, None, False), (0, None, False),
    ]  # fmt: skip
    assert choose(standings, 0) == 3


def tied(*triples):
    """Finalists of (number, hits of 20, cost): differences of one query in twenty are chance."""
    runs = [
        finalist(number, [[i < hits for i in range(20)]], cost) for number, hits, cost in triples
    ]
    standings = compare(runs, None)
    assert all(s.is_tied for s in standings)
    return standings


def test_of_those_tied_the_cheaper_one_wins():
    assert choose(tied((0, 10, 1.0), (1, 12, 1.0), (2, 11, 0.5)), 0) == 2


def test_a_little_cheaper_is_not_cheaper():
    assert choose(tied((0, 10, 1.0), (1, 12, 1.0), (2, 11, 0.8)), 0) == 1


def test_no_cheaper_one_wins_that_is_below_the_default():
    assert choose(tied((0, 11, 1.0), (1, 12, 1.0), (2, 10, 0.1)), 0) == 1
    assert choose(tied((0, 12, 1.0), (1, 11, 0.1)), 0) == 0


def test_the_bootstrap_is_the_same_every_time():
    rng = random.Random(5)
    runs = [finalist(n, [some_hits(rng, 0.6)]) for n in (0, 1)]
    assert compare(runs, None) == compare(runs, None)
