"""54: how often trials validate and save, by the published rules."""

from hpo.automl.intervals import adjust_intervals
from hpo.automl.settings import read_settings

KEY = "train.num_epochs"


def intervals(num_epochs, checkpoint, validation, settings, **more):
    train = {"num_epochs": num_epochs, "checkpoint_interval": checkpoint}
    train |= {} if validation is None else {"validation_interval": validation}
    options = read_settings(settings).options
    found = adjust_intervals({"train": train}, KEY, options, **more)
    return {name.partition(".")[2]: value for name, value in found.values.items()}, found.records


def test_54_without_rungs_both_are_the_checkpoints_own_at_most_one_trial():
    bayesian = {"algorithm": "bayesian"}
    assert intervals(30, 10, 10, bayesian) == ({}, ())
    assert intervals(30, 10, 1, bayesian)[0] == {"validation_interval": 10}
    values, records = intervals(5, 10, 10, bayesian)
    assert values == {"checkpoint_interval": 5, "validation_interval": 5}
    assert [(r["param"], r["from"], r["to"]) for r in records] == [
        ("train.checkpoint_interval", 10, 5), ("train.validation_interval", 10, 5),
    ]  # fmt: skip


def test_54_a_searched_length_makes_both_that_length():
    values, _ = intervals(30, 1, 1, {"algorithm": "bayesian"}, is_length_searched=True)
    assert values == {"checkpoint_interval": 30, "validation_interval": 30}


def test_54_with_rungs_both_are_the_first_rung():
    hyperband = {"algorithm": "hyperband", "automl_max_epochs": 27}
    assert intervals(27, 10, 10, hyperband)[0] == {
        "checkpoint_interval": 1, "validation_interval": 1,
    }  # fmt: skip
    assert intervals(27, 10, 10, hyperband | {"epoch_multiplier": 3})[0] == {
        "checkpoint_interval": 3, "validation_interval": 3,
    }  # fmt: skip


def test_a_spec_without_intervals_is_left_alone():
    assert adjust_intervals({"train": {"num_epochs": 3}}, KEY, {}).values == {}
    assert intervals(3, 5, None, {"algorithm": "bayesian"})[0] == {"checkpoint_interval": 3}
