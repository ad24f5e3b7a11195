import pytest

from hpo.core.text import metric_word


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("val_precision_at_1", "P@1"),
        ("precision_at_1", "P@1"),
        ("val Precision@1", "P@1"),
        ("", "P@1"),
        ("val_precision_at_10", "val_precision_at_10"),
        ("val_map_at_r", "val_map_at_r"),
        ("loss", "loss"),
    ],
)
def test_only_precision_at_one_has_a_short_name(name, word):
    assert metric_word(name) == word
