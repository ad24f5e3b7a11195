"""The program that counts how often the stated drop holds, on one small search."""

import pytest

from tests.benchmarks.drop_coverage import Row, measure, summarize, surfaces


def test_a_search_tells_the_true_drop_beside_the_stated_one():
    row = Row(surface="far", epochs=180)
    found = measure(*surfaces("far", 4), 4, row)
    assert found == measure(*surfaces("far", 4), 4, row)
    assert 0 < found["true"] < 0.02  # noise of .005, the best of 27 epochs and of a few trials
    assert found["said"]["error"] > 0


def test_shares_are_counted_by_hand():
    lines = [
        {"true": true, "said": said and {"drop": said, "error": 0.25}}
        for true, said in ((1.0, 1.125), (1.0, 1.5), (2.0, 1.75), (9.0, None))
    ]
    found = summarize(lines)
    assert found["holds"] == pytest.approx(2 / 3)
    assert (found["searches"], found["told"], found["true"]) == (4, 3, pytest.approx(4 / 3))
