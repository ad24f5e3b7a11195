import pytest

from hpo.core.ties import may_be_chance, tie_words, trial_name


@pytest.mark.parametrize(
    ("interval", "expected"),
    [((-0.1, 0.2), True), ((0.0, 0.2), True), ((0.01, 0.2), False), ((-0.2, -0.01), False)],
)
def test_a_difference_whose_interval_reaches_zero_may_be_chance(interval, expected):
    assert may_be_chance(interval) is expected


def test_few_are_named_and_many_counted():
    names = [trial_name(n, 3) for n in (7, 3, 5, 9, 8)]
    assert tie_words(names[:1]) == "a tie with trial 7: the difference may be chance"
    assert (
        tie_words(names[:2]) == "a tie with trial 7 and the default: the difference may be chance"
    )
    assert tie_words(names[:4]).startswith("a tie with trial 7, the default, trial 5 and trial 9:")
    assert tie_words(names).startswith("a tie with trial 7, the default, trial 5 and 2 more:")
