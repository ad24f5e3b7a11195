import re

import pytest

from hpo.algorithms import ALGORITHMS, create_algorithm, find_algorithm
from hpo.algorithms.options import Option, resolve_options, without_secrets
from hpo.algorithms.registry import check_options
from hpo.core.errors import SpecError
from tests.quick_runs import quick_space

FACTOR = Option(name="factor", kind=int, default=3, low=2, high=9, help="", aliases=("eta",))
SHARE = Option(name="share", kind=float, default=0.5, route_default=0.1, help="")
KEY = Option(
    name="llm_key", kind=str, default=None, env=("A_KEY", "B_KEY"), is_secret=True, help=""
)
KNOWN = (FACTOR, SHARE, KEY)


def resolve(given, **how):
    return resolve_options("some", KNOWN, given, **how)


def test_defaults_differ_between_a_search_and_the_route():
    assert resolve({})["share"] == 0.5
    assert resolve({}, route=True) == {"factor": 3, "share": 0.1, "llm_key": None}
    nothing = {"factor": None, "automl_share": "null"}
    assert resolve(nothing, route=True) == resolve({}, route=True)


@pytest.mark.parametrize("name", ["factor", "eta", "automl_factor", "automl_eta"])
def test_every_spelling_is_met(name):
    assert resolve({name: "4"})["factor"] == 4


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"facto": 3},
            "search.algorithm_options.facto: some has no such option (it has factor, share, llm_key); did you mean 'factor'?",
        ),
        ({"factor": 1}, "factor: must be between 2 and 9, got 1"),
        ({"factor": 2.5}, "factor: must be a whole number, got 2.5"),
        ({"factor": True}, "factor: must be a whole number, got true"),
        ({"share": "much"}, "share: must be a number, got 'much'"),
        ({"factor": 3, "eta": 3}, "factor is given twice"),
        ({"llm_key": 7}, "llm_key: must be a text, got a secret value"),
    ],
)
def test_what_does_not_fit_is_one_line(given, said):
    with pytest.raises(SpecError, match=re.escape(said)):
        resolve(given)


def test_the_environment_comes_after_what_is_given(monkeypatch):
    monkeypatch.setenv("B_KEY", "from-b")
    assert resolve({})["llm_key"] == "from-b"
    monkeypatch.setenv("A_KEY", "from-a")
    assert resolve({})["llm_key"] == "from-a"
    assert resolve({"llm_key": "mine"})["llm_key"] == "mine"


def test_secrets_are_left_out_of_what_is_written_down():
    assert without_secrets(KNOWN, {"llm_key": "x", "automl_llm_key": "x", "eta": 4}) == {"eta": 4}


PUBLISHED = {
    "bayesian": {"max_recommendations": None},  # of the settings: 20
    "bfbo": {"num_recommendations": None},
    "hyperband": {"max_epochs": 27, "reduction_factor": 3, "epoch_multiplier": 1},
    "hyperband_es": {"max_epochs": 27, "early_stop_threshold": 0.1, "min_early_stop_epochs": 3},
    "asha": {"max_concurrent": 4, "max_trials": None, "min_top_configs": 5, "max_epochs": 27},
    "bohb": {"kde_samples": 64, "top_n_percent": 15, "min_points_in_model": 10, "max_epochs": 27},
    "dehb": {"mutation_factor": 0.5, "crossover_prob": 0.5, "max_epochs": 27},
    "pbt": {
        "population_size": 10, "max_generations": 20, "eval_interval": 10,
        "perturbation_factor": 1.2,
    },
}  # fmt: skip
"""Settings of the AutoML route and their published defaults."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_route_has_the_published_options_and_defaults(name):
    entry = find_algorithm(name.upper())
    found = check_options(name, {}, route=True)
    for option, value in PUBLISHED[name].items():
        matching = [o for o in entry.options if f"automl_{option}" in o.names]
        assert [found[o.name] for o in matching] == [value], option


@pytest.mark.parametrize(
    ("short", "name"), [("b", "bayesian"), ("h", "hyperband"), ("HES", "hyperband_es")]
)
def test_short_names(short, name):
    assert find_algorithm(short).name == name


@pytest.mark.parametrize("entry", ALGORITHMS.values(), ids=lambda entry: entry.name)
def test_an_unknown_option_is_refused_by_every_algorithm(entry):
    with pytest.raises(SpecError, match="no such option"):
        create_algorithm(
            entry.name, quick_space(), direction="maximize", num_epochs=9, seed=0,
            options={"no_such": 1},
        )  # fmt: skip


@pytest.mark.parametrize("spelling", ["max_concurrent", "automl_max_concurrent"])
def test_an_option_of_the_route_alone_is_refused_with_what_takes_its_place(spelling):
    with pytest.raises(SpecError, match=r"options\.max_concurrent: has no effect here; .*--conc"):
        check_options("asha", {spelling: 2})
    assert check_options("asha", {spelling: 2}, route=True)["max_concurrent"] == 2


def test_options_need_a_chosen_algorithm():
    with pytest.raises(SpecError, match="needs a chosen algorithm"):
        check_options("auto", {"reduction_factor": 4})


def test_more_epochs_than_a_trial_has_are_refused():
    with pytest.raises(SpecError, match="at most the 9 epochs of a trial"):
        create_algorithm(
            "asha", quick_space(), direction="maximize", num_epochs=9, seed=0,
            options={"max_epochs": 27},
        )  # fmt: skip


def test_a_line_break_after_a_secret_is_no_part_of_it(monkeypatch):
    """The library of requests names such a key in its error."""
    monkeypatch.setenv("A_KEY", "of a file\n")
    assert resolve_options("x", KNOWN, {})["llm_key"] == "of a file"
    with pytest.raises(SpecError, match="llm_key: must be printable text, got a secret value$"):
        resolve_options("x", KNOWN, {"llm_key": "two\nlines"})
