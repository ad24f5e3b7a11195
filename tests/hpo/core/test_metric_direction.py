import pytest

from hpo.core.metric_direction import direction_of, name_words


@pytest.mark.parametrize(
    ("metric", "direction"),
    [
        ("val_loss", "minimize"),
        ("valLoss", "minimize"),
        ("lossless", "minimize"),  # a part of a word, which counts of this word alone
        ("top-1 Error", "minimize"),
        ("errors_found", "maximize"),
        ("inference time", "minimize"),
        ("timeliness", "maximize"),
        ("val Precision at Rank 1", "maximize"),
        ("", "maximize"),
    ],
)
def test_a_name_tells_the_direction(metric, direction):
    assert direction_of(metric) == direction


def test_words_of_a_name():
    assert {"val", "loss"} <= name_words("valLoss_1")
