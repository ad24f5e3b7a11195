import pytest

from search_spaces import Choice, Integer, Real


@pytest.mark.parametrize(
    ("shape", "unit", "value"),
    [
        (Real("x", 2.0, 4.0), 0.25, 2.5),
        (Real("x", 1e-4, 1.0, log=True), 0.5, 1e-2),
        (Integer("x", 1, 4), 0.3, 2),
        (Integer("x", 4, 12, step=4), 0.5, 8),
        (Choice("x", ("a", "b", "c")), 0.5, "b"),
        (Choice("x", (False, True)), 1.0, True),
    ],
)
def test_position_in_the_unit_interval(shape, unit, value):
    assert shape.from_unit(unit) == pytest.approx(value)
    again = shape.from_unit(shape.to_unit(value))
    assert again == pytest.approx(value)


def test_every_whole_number_owns_an_equal_share():
    shape = Integer("x", 3, 6)
    drawn = [shape.from_unit((k + 0.5) / 400) for k in range(400)]
    assert [drawn.count(value) for value in (3, 4, 5, 6)] == [100] * 4


def test_logarithmic_whole_numbers_own_shares_of_the_logarithm():
    shape = Integer("x", 1, 1000, log=True)
    drawn = [shape.from_unit((k + 0.5) / 3000) for k in range(3000)]
    assert (shape.from_unit(0.0), shape.from_unit(1.0)) == (1, 1000)
    assert 0.28 < sum(value < 10 for value in drawn) / 3000 < 0.42
    for value in (1, 2, 9, 10, 999, 1000):
        assert shape.from_unit(shape.to_unit(value)) == value


def test_dimension_of_one_value():
    assert Real("x", 1.0, 1.0).from_unit(0.7) == 1.0
    assert Real("x", 1.0, 1.0).to_unit(1.0) == 0.5
