import pytest

from hpo.core.budget import Budget, parse_budget
from hpo.searching.confirm_share import confirming_budget, kept_for_repeats, reduced

NINE = {"epochs": 9.0, "seconds": 90.0, "gpu_seconds": 45.0}


@pytest.mark.parametrize(
    ("budget", "confirm", "at_a_time", "kept"),
    [
        ("59epochs", 1, 1, {"epochs": 0}),  # 8.85, less than a training
        ("60epochs", 1, 1, {"epochs": 9}),
        ("70epochs", 1, 1, {"epochs": 9.9}),  # a tenth to spare
        ("79epochs", 1, 4, {"epochs": 0}),  # three epochs are under way beside the last one
        ("80epochs", 1, 4, {"epochs": 12}),
        ("1000epochs", 1, 1, {"epochs": 4 * 9.9}),  # two of the best and of the default each
        ("1000epochs", 3, 4, {"epochs": 8 * 9.9 + 3}),
        ("660s", 1, 1, {"seconds": 0}),  # 99 s, and an epoch under way takes 10 beside the 90
        ("700s", 1, 1, {"seconds": 105}),
        ("700s", 1, 4, {"seconds": 105}),  # four in the time of one
        ("10000s", 3, 4, {"seconds": 208}),
        ("10000s", 3, 5, {"seconds": 208}),
        ("10000s,200gpus", 3, 1, {"seconds": 0, "gpu_seconds": 0}),  # neither can be used alone
        ("10000s,700gpus", 3, 1, {"seconds": 2 * 99 + 10, "gpu_seconds": 2 * 49.5 + 5}),
        ("1s", 3, 9, {"seconds": 0}),
        ("20", 3, 1, {}),
        ("1000epochs", 0, 1, {}),
    ],
)
def test_whole_trainings_are_kept_and_no_more_than_there_are_repeats(
    budget, confirm, at_a_time, kept
):
    assert kept_for_repeats(parse_budget(budget), NINE, confirm, at_a_time) == pytest.approx(kept)


def test_the_share_is_kept_until_it_is_known_what_a_training_costs():
    budget = Budget(trials=3, seconds=100, epochs=20)
    assert kept_for_repeats(budget, {}, 1) == pytest.approx({"seconds": 15, "epochs": 3})
    assert kept_for_repeats(budget, {"epochs": 9.0}, 1) == pytest.approx(
        {"seconds": 15, "epochs": 3}
    )


def test_at_least_an_epoch_is_left_to_the_search():
    assert reduced(Budget(trials=3, epochs=1), {"epochs": 0.15}) == Budget(trials=3, epochs=1)
    assert reduced(Budget(epochs=20), {"epochs": 2.5}) == Budget(epochs=17)
    assert reduced(Budget(seconds=20), {"seconds": 2.5}) == Budget(seconds=17.5)


def test_a_budget_that_confirms_is_named_where_one_does_not():
    larger = confirming_budget(parse_budget("7,59epochs"), NINE)
    assert larger == Budget(trials=7, epochs=60)
    assert kept_for_repeats(larger, NINE, 1) == {"epochs": 9}
    assert confirming_budget(larger, NINE) is None
    assert confirming_budget(larger, NINE, at_a_time=4) == Budget(trials=7, epochs=80)
    training = {"epochs": 2, "seconds": 14.6}  # 21.9 with a late epoch; 0.15 x 146 is a bit less
    larger = confirming_budget(Budget(seconds=60), training)
    assert larger == Budget(seconds=146)
    assert kept_for_repeats(larger, training, 1)["seconds"] > 14.6
