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


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("o.lr", 1.5, r"must lie in \(0, 1\], got 1.5"),
        ("o.lr", "fast", "must be a number, got 'fast'"),
        ("o.lr", "", "must be a number, got ''"),
        ("o.name", "Lion", r"must be one of \['Adam', 'SGD'\], got 'Lion'"),
        ("m.low", 3.5, "must be a whole number, got 3.5"),
        ("m.high", 2, r"must lie in \(3, 99\].*, got 2"),
    ],
)
def test_a_value_that_is_set_and_searched_is_used_or_refused(name, value, said):
    with pytest.raises(RangeError, match=f"{name}: is set and searched, so it {said}"):
        compile_space(load_schema(schema_of(NODES)), overlay=Overlay(given={name: value}))
    others = tuple(other for other in NODES if other not in (name, "m.high"))
    apart = Overlay(given={name: value}, hyperparameters=others)
    compile_space(
        load_schema(schema_of(NODES)), overlay=apart
    )  # what is not searched is the trainer's


@pytest.mark.parametrize(
    ("name", "value"), [("o.name", "sgd"), ("o.lr", "0.5"), ("o.lr", 0.0), ("m.low", 9)]
)
def test_a_value_that_the_first_trial_can_have_is_no_fault(name, value):
    compile_space(load_schema(schema_of(NODES)), overlay=Overlay(given={name: value}))


def test_one_option_in_place_of_another_value_is_told():
    overlay = Overlay(options={"o.name": ("SGD",)})
    space = compile_space(load_schema(schema_of(NODES)), overlay=overlay)
    (told,) = [text for text in space.warnings if text.startswith("o.name")]
    assert "'SGD' is used instead of 'Adam'" in told


def test_a_value_that_is_set_and_another_that_is_fixed_are_refused():
    overlay = Overlay(given={"o.lr": 0.25, "m.low": 4}, fixed={"o.lr": 0.5, "m.low": 4})
    with pytest.raises(RangeError) as caught:
        compile_space(load_schema(schema_of(NODES)), overlay=overlay)
    assert caught.value.problems == ("o.lr: is set to 0.25 and fixed to 0.5; leave one out",)


def test_a_number_that_is_fixed_as_text_is_refused():
    assert problems(o__lr="0.5") == ["o.lr: fixed value must be a number, got '0.5'"]


def test_a_long_value_is_shown_cut():
    (problem,) = problems(o__lr=10**300)
    assert problem.endswith("00000...")
    assert len(problem) < 150
