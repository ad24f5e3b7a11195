"""Winners of two searches, compared on the queries that both have, against hand numbers."""

import numpy as np
import pytest
from PIL import Image

from hpo.core.errors import RunError
from hpo.results.pair_runs import pair_queries, shared_splits
from trainer.session import TRAINER


def rows(hits, *, start=0, names=("ale", "bun", "cod")):
    return [
        {"file": f"/shop/{i}.jpg", "class": names[i % len(names)], "hit": bool(hit)}
        for i, hit in enumerate(hits, start)
    ]


def test_only_queries_of_both_count():
    first = rows([1, 0, 1, 1, 0, 1])  # ale 2/2, bun 0/2, cod 2/2
    second = rows([1, 1, 0, 0, 1, 1, 1, 1], start=0)[1:]  # query 0 is missing, 6 and 7 are new
    found = pair_queries(first, second)
    assert (found.num_queries, found.num_unpaired) == (5, (1, 2))
    assert found.values == pytest.approx(((1 + 0 + 1) / 3, (0 + 1 + 0.5) / 3))
    assert found.gain == pytest.approx(-0.5 / 3)
    assert [(c.name, c.num_queries, c.first, c.second) for c in found.classes] == [
        ("ale", 1, 1.0, 0.0),
        ("bun", 2, 0.0, 1.0),
        ("cod", 2, 1.0, 0.5),
    ]


def test_the_interval_of_the_gain_is_that_of_paired_queries():
    rng = np.random.default_rng(2)
    hard = rng.random(600) < 0.5  # what is hard for one is hard for the other
    better = hard | (rng.random(600) < 0.05)
    found = pair_queries(rows(hard), rows(better))
    gain = np.mean([better[c::3].mean() - hard[c::3].mean() for c in range(3)])
    assert found.gain == pytest.approx(gain)
    per_class = [(better[c::3].astype(int) - hard[c::3]).std() ** 2 / 200 for c in range(3)]
    half = 1.96 * np.sqrt(sum(per_class)) / 3
    assert found.gain_interval == pytest.approx((gain - half, gain + half), abs=0.006)
    turned = pair_queries(rows(better), rows(hard))
    assert turned.gain == pytest.approx(-gain)
    assert turned.gain_interval == pytest.approx((-gain - half, -gain + half), abs=0.006)
    wide = found.intervals[0][1] - found.intervals[0][0]
    assert wide > 3 * (found.gain_interval[1] - found.gain_interval[0]) / 2


def test_winners_with_no_query_in_common_are_refused():
    with pytest.raises(RunError, match="no query in common"):
        pair_queries(rows([1, 0, 1]), rows([1, 0, 1], start=3))
    with pytest.raises(RunError, match="same file under the same class"):
        pair_queries(rows([1, 0]), rows([1, 0], names=("x", "y", "z")))


@pytest.fixture
def shops(tmp_path):
    """Folders of one picture of one class each; the third is a link to the first."""
    for name in ("one", "two"):
        (tmp_path / name / "ale").mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name / "ale" / "a.png")
    (tmp_path / "three").symlink_to(tmp_path / "one")
    (tmp_path / "table.csv").write_text("path,label\none/ale/a.png,ale\n")
    return {name: str(tmp_path / name) for name in ("one", "two", "three", "table.csv", "gone")}


@pytest.mark.parametrize(
    ("first", "second", "splits"),
    [
        ({"query": "one"}, {"query": "two"}, []),
        ({"query": "one"}, {"query": "one"}, ["query"]),
        ({"query": "one"}, {"query": "three"}, ["query"]),
        ({"query": "two", "test_query": "one"}, {"query": "one", "test_query": "two"}, []),
        ({"query": "two", "test_query": "one"}, {"query": "two", "test_query": "two"}, ["query"]),
        ({"query": "one", "test_query": "one"}, {"query": "two", "test_query": "three"}, ["test_query"]),
        ({"query": "one", "test_query": "two"}, {"query": "one"}, ["query"]),
        ({"query": "two"}, {"query": "table.csv"}, ["query"]),  # what a table names is not known here
        ({"query": "two"}, {"query": "gone"}, ["query"]),  # a kept lookup may know its queries
        ({}, {"query": "two"}, ["query"]),
    ],
)  # fmt: skip
def test_searches_are_compared_on_the_splits_that_both_have(shops, first, second, splits):
    both = [{key: shops[name] for key, name in own.items()} for own in (first, second)]
    if splits:
        assert shared_splits(TRAINER, *both) == splits
    else:
        with pytest.raises(RunError, match="no query in common"):
            shared_splits(TRAINER, *both)
