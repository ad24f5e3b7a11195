"""Values of metrics in a table."""

import pytest

from hpo.core.metric_values import find_metric, number_of, numbers_of


def test_tables_are_searched_by_name_then_letters_then_last_part():
    table = {"train_loss": 2.0, "val_precision_at_1": 0.5, "epoch": True}
    assert find_metric(table, "train_loss") == 2.0
    assert find_metric(table, "loss") == 2.0
    assert find_metric(table, "val Precision at Rank 1") == 0.5
    assert find_metric(table, "epoch") is None
    assert find_metric({"train_loss": 1.0, "val_loss": 2.0}, "loss") is None


def test_names_of_other_scripts_are_told_apart():
    table = {"损失": 2.0, "准确率 (val)": 0.5}
    assert find_metric(table, "准确率_val") == 0.5
    assert find_metric(table, "召回率") is None


@pytest.mark.parametrize(
    ("value", "number"),
    [(3, 3.0), ("0.5", 0.5), (True, None), ("nan", None), (float("inf"), None), (10**400, None),
     (None, None), ([1], None), ("high", None)],
)  # fmt: skip
def test_a_number_is_finite_and_no_truth(value, number):
    assert number_of(value) == number
    assert numbers_of({"a": value}) == ({} if number is None else {"a": number})
    assert numbers_of(value) == {}
