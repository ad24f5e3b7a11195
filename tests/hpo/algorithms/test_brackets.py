import re

import pytest

from hpo.algorithms.brackets import first_rung, hyperband_brackets, num_halvings, rung_epochs
from hpo.core.errors import SpecError


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
