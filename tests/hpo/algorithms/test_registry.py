import re

import pytest

from hpo.algorithms import ALGORITHMS, PRUNERS, create_algorithm
from hpo.algorithms.registry import AUTO, resolve_names
from hpo.core.errors import SpecError
from tests.quick_runs import quick_space


def test_auto_says_what_it_chose_and_why():
    choice = resolve_names(AUTO, AUTO, num_epochs=9)
    assert (choice.algorithm, choice.pruner) == ("tpe", "successive_halving")
    assert "tpe: learns from" in choice.reason
    assert "judged from epoch 2 of 9" in choice.reason


def test_short_trials_are_not_judged_early():
    choice = resolve_names(AUTO, AUTO, num_epochs=2)
    assert choice.pruner == "none"
    assert "2 epochs a trial, too few" in choice.reason


def test_rare_validation_counts_as_short():
    choice = resolve_names(AUTO, AUTO, num_epochs=30, num_reports=2)
    assert (choice.pruner, choice.warning) == ("none", "")
    assert "2 validations a trial, too few" in choice.reason


@pytest.mark.parametrize(
    ("algorithm", "pruner", "reports", "said"),
    [
        ("tpe", "median", 2, "validated only 2 times, so pruner median has next to nothing"),
        ("asha", AUTO, 1, "validated only once, so asha has next to nothing"),
        ("tpe", "none", 1, ""),
        ("tpe", "median", 3, ""),
    ],
)
def test_a_pruner_that_was_asked_for_is_told_to_have_too_little(algorithm, pruner, reports, said):
    warning = resolve_names(algorithm, pruner, num_epochs=30, num_reports=reports).warning
    assert said in warning if said else warning == ""


def test_what_was_asked_for_needs_no_reason():
    choice = resolve_names("random", "median", num_epochs=9)
    assert (choice.algorithm, choice.pruner, choice.reason) == ("random", "median", "")


@pytest.mark.parametrize(
    ("algorithm", "pruner", "said"),
    [
        ("tpee", AUTO, "search.algorithm: must be one of auto, random, tpe"),
        (AUTO, "medain", "search.pruner: must be one of auto, successive_halving"),
        ("", AUTO, "got ''"),
    ],
)
def test_unknown_names_list_the_legal_ones(algorithm, pruner, said):
    with pytest.raises(SpecError, match=re.escape(said)):
        resolve_names(algorithm, pruner, num_epochs=9)
    with pytest.raises(SpecError, match=re.escape(said)):
        create_algorithm(
            algorithm, quick_space(), pruner=pruner, direction="maximize", num_epochs=9, seed=0
        )


def test_the_nearest_name_is_offered():
    with pytest.raises(SpecError, match="did you mean 'bayesian'"):
        resolve_names("baysian", AUTO, num_epochs=9)


def test_every_entry_has_a_line_for_people():
    lines = [entry.summary for entry in ALGORITHMS.values()] + [
        line for _, line in PRUNERS.values()
    ]
    assert all(line and "\n" not in line for line in lines)
