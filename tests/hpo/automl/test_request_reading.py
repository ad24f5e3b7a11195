"""What a request says about the search; the many sentences are in test_policy.py."""

import pytest

from hpo.automl.request_reading import Reading, read_request


def test_a_request_that_says_nothing_of_the_search_decides_nothing():
    assert read_request("Train on photos/train for 30 epochs. No augmentation.") == Reading()
    assert read_request("") == Reading()


def test_the_last_words_that_decide_win_and_are_quoted_as_written():
    found = read_request("Use AutoML. No - wait:  a  Plain\nTraining.")
    assert found == Reading(is_on=False, phrase="Plain Training")
    found = read_request("Plain training. On second thoughts: run\tAutoML.")
    assert found == Reading(is_on=True, phrase="run AutoML")


def test_a_reason_counts_only_where_nothing_else_does():
    assert read_request("Use AutoML, because a plain training is too weak.").is_on is True
    assert read_request("One pass, because AutoML is off.").is_on is False


@pytest.mark.parametrize("denials", range(5))
def test_every_second_denial_turns_the_search_off(denials):
    words = ["AutoML off", "not", "never", "without", "stop"][: denials + 1]
    assert read_request(" ".join(reversed(words))).is_on is (denials % 2 == 1)


def test_a_long_request_is_read_in_good_time():
    filler = "The pictures of the shop show many products in many sizes. " * 400
    assert read_request(filler + "Turn off AutoML.").phrase == "Turn off AutoML"
