"""What users may ask for, and what they hear when they ask for the impossible."""

import random
import statistics

import pytest

from search_spaces import Choice, Overlay, RangeError
from tests.search_spaces.building import number, space_of

NODES = {
    "o.lr": number(0.0, 1.0, 3.5e-4, "> 0.0"),
    "o.name": {"type": "categorical", "enum": ["Adam", "SGD", "Adamax"], "default": "Adam"},
    "o.steps": {"type": "list", "default": [40, 70], "automl_enabled": False},
    "o.gamma": number(0.0, 1.0, 0.1, "> 0.0"),
    "t.batch": {"type": "int", "default": 32},
    "t.gpus": {"type": "list", "default": [0], "automl_enabled": False},
    "t.blur": number(0, 5, 1, kind="int", automl_enabled=False),
    "t.path": {"type": "string", "default": ""},
    "t.flag": {"type": "bool", "default": True},
    "d.sets": {"type": "collection"},
}
SEARCHED = ["o.lr", "o.gamma"]


def space(**overlay):
    return space_of(NODES, SEARCHED, overlay=Overlay(**overlay))


def names(found):
    return [parameter.name for parameter in found.parameters]


def problems(**overlay):
    with pytest.raises(RangeError) as caught:
        space(**overlay)
    assert "\n" not in str(caught.value)
    return "\n".join(caught.value.problems)


def test_default_list_others_and_additions():
    assert names(space()) == ["o.lr", "o.gamma"]
    assert names(space(hyperparameters=("o.gamma",))) == ["o.gamma"]
    assert names(space(extra=("o.name",))) == ["o.lr", "o.name", "o.gamma"]
    assert names(space(hyperparameters=("o.name",), extra=("t.flag",))) == ["o.name", "t.flag"]
    assert "t.batch" in names(space(ranges={"t.batch": (8, 64, None)}))


def test_all_problems_are_told_together():
    told = problems(
        custom_param_ranges={
            "o.lr": {"valid_min": 0.5, "valid_max": 0.1},
            "o.gamma": {"valid_max": 2.0},
            "o.name": {"valid_options": ["Adam", "LBFGS"], "option_weights": [1.0]},
            "o.gama": {"valid_min": 0.1},
            "t.batch": {"valid_min": float("nan")},
            "t.flag": {"option_weights": [0.5, 0.5], "valid_mni": 1},
        },
        hyperparameters=("o.lr", "o.gamma", "o.name", "o.learning_rate"),
    )
    assert "o.lr: low < high must hold, got 0.5 and 0.1" in told
    assert "o.gamma: a range must lie inside the schema's, got 2.0 beside maximum 1.0" in told
    assert "o.name: option_weights must be one for each of 2 options" in told
    assert "o.gama: no such parameter in the schema, did you mean o.gamma?" in told
    assert "t.batch: valid_min must be a finite number" in told
    assert "t.flag: unknown key 'valid_mni', did you mean valid_min?" in told
    assert "o.learning_rate: no such parameter" in told


@pytest.mark.parametrize(
    "wanted",
    [
        {"options": {"o.name": ("SGD", "Adam", "SGD")}},
        {"custom_param_ranges": {"o.name": {"valid_options": "SGD,Adam,SGD"}}},
        {"options": {"t.batch": (16, 64, 16)}},
        {"options": {"o.lr": (0.25, 2.5e-1)}},
    ],
)
def test_an_option_that_is_named_twice_is_refused(wanted):
    told = problems(**wanted, hyperparameters=("o.name", "o.lr", "t.batch"))
    assert "options must differ, got" in told
    assert "twice; name each once" in told


def test_bad_option_and_bad_weights():
    told = problems(
        custom_param_ranges=[{"parameter": "o.name", "valid_options": ["Adam", "LBFGS"]}],
        hyperparameters=("o.name",),
    )
    assert "o.name: option 'LBFGS' must be one of ['Adam', 'SGD', 'Adamax']" in told
    weights = {"o.name": {"option_weights": [0.5, 0.0, 0.5]}}
    assert "above 0" in problems(custom_param_ranges=weights, hyperparameters=("o.name",))
    weights = {"o.lr": {"option_weights": [0.5]}}
    assert "o.lr: option_weights need options" in problems(custom_param_ranges=weights)


def test_one_sided_ranges_are_checked_and_used():
    told = problems(custom_param_ranges={"o.lr": {"valid_min": 1.5}})
    assert "o.lr: a range must lie inside the schema's, got 1.5 beside maximum 1.0" in told
    found = space(custom_param_ranges={"o.lr": {"valid_max": 0.01}})
    assert found.parameters[0].distribution["high"] == 0.01


def test_element_wise_ranges_are_compared_element_by_element():
    ranges = {"o.lr": {"valid_min": [0.1, 0.5], "valid_max": [0.2, 0.4]}}
    assert "got 0.5 and 0.4" in problems(custom_param_ranges=ranges)
    ranges = {"o.lr": {"valid_min": [0.1, 0.5], "valid_max": [0.2]}}
    assert "equally many elements" in problems(custom_param_ranges=ranges)


@pytest.mark.parametrize("junk", ["text", [["o.lr"]], [{"valid_min": 1}], {"o.lr": 3}, 5])
def test_shapes_of_the_published_form_are_checked(junk):
    assert "custom_param_ranges" in problems(custom_param_ranges=junk)


def test_range_of_two_decades_is_drawn_evenly_in_the_logarithm():
    found = space(custom_param_ranges={"o.lr": {"valid_min": 1e-6, "valid_max": 1e-4}})
    rng = random.Random(0)
    drawn = [found.sample(rng)["o.lr"] for _ in range(2000)]
    assert 1e-6 <= min(drawn) < max(drawn) <= 1e-4
    assert 5e-6 < statistics.median(drawn) < 2e-5


def test_scale_can_be_named():
    found = space(ranges={"o.lr": (0.1, 0.4, True), "o.gamma": (0.001, 0.9, False)})
    scales = {p.name: p.distribution["scale"] for p in found.parameters}
    assert scales == {"o.lr": "log", "o.gamma": "linear"}
    told = problems(ranges={"o.lr": (0.0, 0.4, True)})
    assert "o.lr: low > 0 must hold for a log range, got 0.0" in told


def test_weights_shape_the_draws():
    weights = {"o.name": {"valid_options": ["Adam", "SGD"], "option_weights": [0.9, 0.1]}}
    found = space(custom_param_ranges=weights, hyperparameters=("o.name",))
    rng = random.Random(0)
    drawn = [found.sample(rng)["o.name"] for _ in range(500)]
    assert 0.85 <= drawn.count("Adam") / 500 <= 0.95
    (dimension,) = found.dimensions
    assert isinstance(dimension, Choice)
    assert dimension.choices == (*(f"Adam#{k}" for k in range(9)), "SGD#0")


def test_weights_stay_with_the_options_that_are_left():
    node = {"type": "categorical", "enum": ["A", "B", "C"], "option_weights": [0.8, 0.1, 0.1]}
    for options in (("A", "B"), ("B", "A")):
        found = space_of({"a.x": node}, overlay=Overlay(options={"a.x": options}))
        shown = found.parameters[0].distribution
        assert dict(zip(shown["options"], shown["weights"], strict=True)) == pytest.approx(
            {"A": 8 / 9, "B": 1 / 9}
        )
    number = {"type": "int", "enum": [64, 16, 32], "option_weights": [6, 1, 3], "default": 32}
    cut = space_of({"a.x": number}, limits={"a.x": (None, 48)}).parameters[0].distribution
    assert (cut["options"], cut["weights"]) == ([16, 32], [0.25, 0.75])
    subset = {"type": "subset_list", "enum": ["q", "k"], "option_weights": [1, 2], "default": []}
    assert "a.x: its option_weights have no effect" in str(space_of({"a.x": subset}).warnings)


def test_weighted_numbers_are_in_order_each_with_its_weight():
    given = {"t.batch": {"valid_options": [64, 16, 32], "option_weights": [5, 2, 1]}}
    found = space(custom_param_ranges=given, hyperparameters=("t.batch",))
    shown = found.parameters[0].distribution
    assert shown["options"] == [16, 32, 64]
    assert shown["weights"] == [2 / 8, 1 / 8, 5 / 8]


def test_what_cannot_be_searched_is_refused_with_the_reason():
    told = problems(hyperparameters=("t.gpus", "t.blur", "t.path", "o", "d.sets"))
    assert "t.gpus: is disabled for search" in told
    assert "t.blur: is disabled for search" in told
    assert "t.path: type 'string' without options is not searchable" in told
    assert "o: is a group of parameters" in told
    assert "d.sets: type 'collection' is not searchable" in told
    told = problems(hyperparameters=("t.gpus",), override_automl_disabled_params=True)
    assert told == "t.gpus: type 'list' is not searchable; fix a value or give options"
    found = space(hyperparameters=("t.blur",), override_automl_disabled_params=True)
    assert names(found) == ["t.blur"]
    assert "empty list" in problems(hyperparameters=())


def test_options_make_texts_and_lists_searchable():
    found = space(options={"t.path": ("a", "b")})
    assert names(found) == ["o.lr", "o.gamma", "t.path"]
    found = space(options={"o.steps": ([10, 20], [15, 25])}, override_automl_disabled_params=True)
    rng = random.Random(0)
    drawn = [tuple(found.sample(rng)["o.steps"]) for _ in range(50)]
    assert set(drawn) == {(10, 20), (15, 25)}


def test_published_ranges_may_write_options_as_one_text():
    found = space(
        custom_param_ranges={"t.batch": {"valid_options": "64, 16,32"}},
        hyperparameters=("t.batch",),
    )
    assert found.parameters[0].distribution["options"] == [16, 32, 64]


def test_range_of_a_parameter_that_is_not_searched_is_a_warning():
    found = space(custom_param_ranges={"t.batch": {"valid_min": 8, "valid_max": 64}})
    assert names(found) == ["o.lr", "o.gamma"]
    assert any("t.batch: has a range but is not searched" in text for text in found.warnings)


def test_fixed_values_are_pinned_and_measured_by():
    found = space(fixed={"o.gamma": 0.5, "d.sets.train": "x"})
    assert names(found) == ["o.lr"]
    pins = [(pin.name, pin.value, pin.reason) for pin in found.pinned]
    assert ("o.gamma", 0.5, "fixed by the user") in pins
    told = problems(fixed={"o.gama": 1, "o": 2, "o.lr": 0.1}, ranges={"o.lr": (0.1, 0.2, None)})
    assert "o.gama: no such parameter in the schema, did you mean o.gamma?" in told
    assert "o: is a group of parameters" in told
    assert "o.lr: is fixed and has a range or options" in told


def test_range_and_options_together_are_refused():
    ranges = {"o.name": {"valid_min": 1, "valid_options": ["Adam", "SGD"]}}
    told = problems(custom_param_ranges=ranges, hyperparameters=("o.name",))
    assert "o.name: has a range and options" in told


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"ranges": {"o.lr": (0.1, 0.2, None)}}, "has a range or options, and others in custom"),
        ({"options": {"o.lr": (0.1, 0.2)}}, "has a range or options, and others in custom"),
        ({"fixed": {"o.lr": 0.1}}, "is fixed and in custom_param_ranges"),
    ],
)
def test_what_a_parameter_is_to_be_is_said_once(other, said):
    told = problems(custom_param_ranges={"o.lr": {"valid_max": 0.05}}, **other)
    assert f"o.lr: {said}" in told


def test_own_conditions_replace_the_schema_s():
    nodes = {
        "a.low": number(0.0, 1.0, 0.2),
        "a.high": number(0.0, 1.0, 0.8),
    }
    ranges = {"a.high": {"depends_on": "a.low", "math_cond": "> depends_on"}}
    found = space_of(nodes, overlay=Overlay(custom_param_ranges=ranges))
    rng = random.Random(0)
    for _ in range(500):
        values = found.sample(rng)
        assert values["a.high"] > values["a.low"]
    junk = {"a.high": {"math_cond": "bigger"}}
    with pytest.raises(RangeError, match=r"a\.high: math_cond"):
        space_of(nodes, overlay=Overlay(custom_param_ranges=junk))


def test_number_that_may_be_a_list_stays_one_number_when_told():
    node = {
        "anyOf": [{"type": "number"}, {"type": "array"}],
        "default": [1e-5, 1e-4],
        "minimum": [1e-7, 1e-6],
        "maximum": [1e-3, 1e-2],
    }
    found = space_of({"t.lr": node})
    rng = random.Random(0)
    for _ in range(200):
        one, other = found.sample(rng)["t.lr"]
        assert 1e-7 <= one <= 1e-3
        assert 1e-6 <= other <= 1e-2
    assert [dimension.name for dimension in found.dimensions] == ["t.lr[0]", "t.lr[1]"]
    assert found.default() == {"t.lr": [1e-5, 1e-4]}
    ranges = {"t.lr": {"valid_min": 1e-6, "valid_max": 1e-4, "disable_list": True}}
    single = space_of({"t.lr": node}, overlay=Overlay(custom_param_ranges=ranges))
    assert all(1e-6 <= single.sample(rng)["t.lr"] <= 1e-4 for _ in range(100))
