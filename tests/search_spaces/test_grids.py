import random
from fractions import Fraction

import pytest

from search_spaces.grids import at, common, down, is_multiple, is_power, nearest, up

STEPS = (0.1, 0.05, 0.25, 1e-5, 2.5, 8.0, 3)


def exact(number: float) -> Fraction:
    """A number as it is written, not as the machine holds it."""
    return Fraction(str(number))


@pytest.mark.parametrize("step", STEPS)
def test_multiples_are_those_of_the_step_as_it_is_written(step):
    rng = random.Random(step)
    for count in (0, 1, 3, 6, 7, *(rng.randrange(-999, 999) for _ in range(50))):
        value = at(count, step)
        assert exact(value) == count * exact(step)
        assert is_multiple(value, step)
        assert is_multiple(count * step, step)  # as one who computes it may write it
        assert nearest(value + 0.3 * step, step) == up(value, step) == down(value, step) == value
        if count:
            assert not is_multiple(value + 0.01 * step, step)


@pytest.mark.parametrize("step", STEPS)
def test_ends_move_inwards(step):
    rng = random.Random(step)
    for _ in range(100):
        value = rng.uniform(-50, 50) * step
        assert 0 <= exact(up(value, step)) - exact(value) < exact(step)
        assert 0 <= exact(value) - exact(down(value, step)) < exact(step)


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [(6, 8, 24), (4, 8, 8), (0.1, 0.25, 0.5), (1.5, 2, 6), (0.3, 0.2, 0.6), (0, 7, 7), (7, 0, 7)],
)
def test_common_multiples_are_those_of_the_least(one, other, both):
    assert common(one, other) == both


def test_powers():
    for base in (2, 3, 10):
        told = [value for value in range(1, 1025) if is_power(value, base)]
        assert told == [value for value in (base**k for k in range(11)) if value <= 1024]
    assert not is_power(0.5, 2)
    assert not is_power(0, 2)
    assert not is_power(-2, 2)
