"""Settings: every spelling, defaults, contradictions, and settings of other algorithms."""

import pytest

from hpo.automl.errors import AutoMLError
from hpo.automl.settings import known_algorithms, read_settings


def test_the_algorithm_may_be_given_apart_and_is_bayesian_where_none_is_given():
    assert read_settings({"algorithm": "random"}).algorithm == "random"
    assert read_settings({"automl_algorithm": "RANDOM"}).algorithm == "random"
    assert read_settings({}, algorithm="bayesian").algorithm == "bayesian"
    assert read_settings({"algorithm": "random"}, algorithm="Random").algorithm == "random"
    for nothing in (None, {}, {"algorithm": None}):
        found = read_settings(nothing)
        assert (found.algorithm, found.values["metric"]) == ("bayesian", "loss")
    with pytest.raises(ValueError, match="'bayesian' contradicts .* 'random'"):
        read_settings({"algorithm": "random"}, algorithm="bayesian")


@pytest.mark.parametrize(
    ("short", "name"), [("b", "bayesian"), ("h", "hyperband"), ("hes", "hyperband_es")]
)
def test_short_names_of_algorithms_are_understood(short, name):
    assert read_settings({"algorithm": short}).algorithm == name


def test_an_unknown_algorithm_lists_the_valid_ones():
    with pytest.raises(ValueError, match="algorithm") as caught:
        read_settings({"algorithm": "baysian"})
    assert "bayesian" in str(caught.value)
    assert {"bayesian", "hyperband", "asha", "random"} <= set(known_algorithms())


def test_defaults_are_the_published_ones():
    found = read_settings({"algorithm": "bayesian"})
    assert (found.values["metric"], found.max_recommendations) == ("loss", 20)
    assert found.values["override_automl_disabled_params"] is False
    assert found.values["automl_delete_intermediate_ckpt"] is None, "what the platform can"
    assert found.values["train_sample_count"] is None
    rungs = read_settings({"algorithm": "hyperband"})
    assert (rungs.max_epochs, rungs.options["reduction_factor"]) == (27, 3)
    assert rungs.max_recommendations is None
    assert rungs.ends_itself
    assert rungs.stops_trials
    unset = read_settings({"algorithm": "hyperband", "automl_max_epochs": None, "rounds": None})
    assert (unset.options, unset.given) == (rungs.options, rungs.given)


@pytest.mark.parametrize(
    "name",
    ["automl_max_recommendations", "num_recommendations", "max_recommendations"],
)
def test_every_spelling_of_the_number_of_trials_counts(name):
    assert read_settings({"algorithm": "bayesian", name: 7}).max_recommendations == 7


@pytest.mark.parametrize("name", ["automl_max_epochs", "max_epochs"])
def test_an_algorithms_own_settings_have_both_spellings(name):
    assert read_settings({"algorithm": "asha", name: 9}).max_epochs == 9
    nested = {"algorithm": "asha", "algorithm_specific_params": {name: 9}}
    assert read_settings(nested).max_epochs == 9


def test_an_unknown_key_is_an_error_with_the_nearest():
    with pytest.raises(ValueError, match="automl_max_recomendations: no such setting; did you"):
        read_settings({"algorithm": "random", "automl_max_recomendations": 3})


def test_a_setting_of_another_algorithm_is_told_and_passed_over():
    found = read_settings({"algorithm": "bayesian", "automl_reduction_factor": 4})
    assert "not used by bayesian" in found.warnings[0]
    assert "reduction_factor" not in found.options


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("automl_max_recommendations", "ten", "whole number"),
        ("automl_max_recommendations", True, "whole number"),
        ("automl_max_recommendations", 0, "at least 1"),
        ("train_sample_count", -1, "at least 1"),
        ("override_automl_disabled_params", "maybe", "true or false"),
        ("metric", 3, "text"),
        ("automl_reduction_factor", 1, "at least 2"),
    ],
)
def test_values_of_a_wrong_kind_are_refused(key, value, words):
    with pytest.raises(AutoMLError, match=words):
        read_settings({"algorithm": "hyperband", key: value})


def test_settings_must_be_a_mapping():
    with pytest.raises(AutoMLError, match="must be a mapping"):
        read_settings(["random"])


def test_a_key_given_twice_must_agree():
    pair = {"algorithm": "random", "num_recommendations": 3, "max_recommendations": 4}
    with pytest.raises(AutoMLError, match="is given twice"):
        read_settings(pair)
    assert read_settings(pair | {"max_recommendations": 3}).max_recommendations == 3


@pytest.mark.parametrize("seed", [-1, 2**32, 10**30])
def test_a_seed_that_nothing_can_be_drawn_with_is_refused(seed):
    with pytest.raises(
        AutoMLError, match=f"seed: must be at (least 0|most 4294967295), got {seed}"
    ):
        read_settings({"algorithm": "random", "seed": seed})
