import re

import pytest

from hpo.algorithms.brackets import (
    Length,
    early_rungs,
    first_rung,
    hyperband_brackets,
    num_halvings,
    rung_epochs,
    validated_brackets,
)
from hpo.algorithms.pruners import PRUNERS
from hpo.algorithms.pruning import BracketPruner, halving
from hpo.core.errors import SpecError
from hpo.core.trial import TrialState


@pytest.mark.parametrize(
    ("longest", "shortest", "factor", "rungs"),
    [
        (243, 1, 3, (1, 3, 9, 27, 81, 243)),
        (1000, 1, 10, (1, 10, 100, 1000)),
        (27, 1, 3, (1, 3, 9, 27)),
        (27, 3, 3, (3, 9, 27)),
        (10, 1, 3, (1, 3, 10)),
        (2, 1, 3, (2,)),
        (1, 1, 3, (1,)),
        (9, 2, 3, (3, 9)),
        (16, 1, 4, (1, 4, 16)),
    ],
)
def test_rungs(longest, shortest, factor, rungs):
    assert rung_epochs(longest, shortest, factor) == rungs


@pytest.mark.parametrize(("longest", "shortest", "factor"), [(3, 4, 3), (3, 0, 3), (9, 1, 1)])
def test_numbers_that_allow_no_rung(longest, shortest, factor):
    said = f"first rung {shortest}, {longest} epochs, factor {factor}"
    with pytest.raises(SpecError, match=re.escape(said)):
        rung_epochs(longest, shortest, factor)


@pytest.mark.parametrize("factor", [2, 3, 7, 10])
@pytest.mark.parametrize("power", range(12))
def test_no_halving_is_lost_at_powers(factor, power):
    assert num_halvings(factor**power, 1, factor) == power


def test_brackets_of_the_paper():
    """Table 1 of Li et al. 2018: R = 81, eta = 3."""
    table = [(b.sizes, b.rungs) for b in hyperband_brackets(81, 1, 3)]
    assert table == [
        ((81, 27, 9, 3, 1), (1, 3, 9, 27, 81)),
        ((34, 11, 3, 1), (3, 9, 27, 81)),
        ((15, 5, 1), (9, 27, 81)),
        ((8, 2), (27, 81)),
        ((5,), (81,)),
    ]


def test_two_epochs_have_one_bracket_that_is_trained_in_full():
    assert [(b.sizes, b.rungs) for b in hyperband_brackets(2, 1, 3)] == [((1,), (2,))]


@pytest.mark.parametrize(
    ("epochs", "rung"), [(1, 1), (3, 1), (4, 2), (9, 2), (18, 2), (27, 3), (90, 10)]
)
def test_first_rung(epochs, rung):
    assert first_rung(epochs) == rung


@pytest.mark.parametrize(
    ("epochs", "rungs"),
    [(1, (1,)), (2, (1, 2)), (6, (2, 6)), (10, (2, 6, 10)), (20, (2, 6, 20)), (27, (3, 9, 27)),
     (30, (3, 9, 30)), (26, (2, 6, 18, 26))],
)  # fmt: skip
def test_no_trial_is_judged_in_its_last_ninth(epochs, rungs):
    assert early_rungs(epochs, 3) == rungs


def stops(pruner, epochs, reported, num=40):
    """Epochs at which trials end that come one after the other, each better than most before."""
    found = []
    for number in range(num):
        height = (number * 17 % num) / num
        pruner.start(number)
        state = TrialState.COMPLETE
        for epoch in reported:
            value = height + 0.001 * epoch
            if pruner.report(number, epoch, best=value, value=value).stop and epoch < epochs:
                state = TrialState.PRUNED
                break
        found.append(epoch)
        pruner.end(number, state, height)
    return set(found)


@pytest.mark.parametrize(
    ("make", "epochs", "expected"),
    [
        (lambda: halving((3, 10), 3, "maximize"), 10, {3, 10}),
        (lambda: halving((2, 6, 18, 26), 3, "maximize"), 26, {2, 6, 18, 26}),
        (lambda: BracketPruner(hyperband_brackets(26, 2, 3), 3, "maximize"), 26, {2, 6, 8, 26}),
        (lambda: PRUNERS["successive_halving"][0](30, "maximize"), 30, {3, 9, 30}),
    ],
)
def test_trials_are_stopped_at_the_rungs_that_are_told_and_at_no_other(make, epochs, expected):
    assert stops(make(), epochs, range(1, epochs + 1)) == expected


def test_trials_that_are_validated_seldom_are_judged_at_their_first_value():
    pruner = PRUNERS["successive_halving"][0](30, "maximize")
    assert stops(pruner, 30, (10, 20, 30)) == {10, 30}


@pytest.mark.parametrize(
    ("epochs", "every", "shortest", "expected"),
    [
        (30, 1, 3, [((3, 9, 30), (9, 3, 1)), ((10, 30), (5, 1)), ((30,), (3,))]),
        (30, 10, 3, [((10, 30), (3, 1)), ((30,), (2,))]),
        (30, 7, 3, [((7, 30), (3, 1)), ((30,), (2,))]),  # at 7, 14, 21, 28 and the end
        (30, 3, 3, [((3, 9, 30), (9, 3, 1)), ((9, 30), (5, 1)), ((30,), (3,))]),
        (30, 40, 3, [((30,), (1,))]),
    ],
)
def test_rungs_lie_at_validated_epochs(epochs, every, shortest, expected):
    brackets = validated_brackets(Length(epochs, every), shortest, 3)
    assert [(b.rungs, b.sizes) for b in brackets] == expected
