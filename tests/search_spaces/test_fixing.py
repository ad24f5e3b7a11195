import pytest

from search_spaces import Overlay, RangeError, compile_space, load_schema
from tests.search_spaces.building import number, schema_of

NODES = {
    "o.lr": number(0.0, 1.0, 0.1, "> 0.0"),
    "o.name": {"type": "categorical", "enum": ["Adam", "SGD"], "default": "Adam"},
    "m.low": number(1, 9, 3, kind="int"),
    "m.high": number(1, 99, 50, "> depends_on", kind="int", depends_on="m.low"),
}


def problems(**fixed):
    names = {name.replace("__", "."): value for name, value in fixed.items()}
    with pytest.raises(RangeError) as caught:
        compile_space(load_schema(schema_of(NODES)), overlay=Overlay(fixed=names))
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("o__lr", 1.5, "o.lr: fixed value "),
        ("o__name", "Lion", "o.name: fixed value "),
        ("m__low", 2.5, "m.low: fixed value "),
        ("m__high", 2, "m.high: fixed value "),  # not above the 3 that m.low has
        ("o", 1, "o: is a group of parameters"),
        ("o__lrr", 0.1, "o.lrr: no such parameter in the schema, did you mean o.lr?"),
    ],
)
def test_a_value_that_the_schema_forbids_is_named(name, value, said):
    (problem,) = problems(**{name: value})
    assert problem.startswith(said)


def test_all_problems_are_told_at_once():
    assert len(problems(o__lr=-1.0, m__low=100)) == 2


def test_the_end_of_a_range_may_be_fixed_though_a_search_keeps_away_from_it():
    space = compile_space(load_schema(schema_of(NODES)), overlay=Overlay(fixed={"o.lr": 0.0}))
    assert {pin.name: pin.value for pin in space.pinned}["o.lr"] == 0.0


def test_a_fixed_parameter_has_no_range_beside_it():
    overlay = Overlay(fixed={"o.lr": 0.2}, ranges={"o.lr": (0.1, 0.5, None)})
    with pytest.raises(RangeError, match=r"o\.lr: is fixed and has a range or options"):
        compile_space(load_schema(schema_of(NODES)), overlay=overlay)
