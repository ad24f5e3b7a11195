"""From schema, spec and overlay to a space: conditions, relations, limits, and what is pinned."""

import random

import pytest

from search_spaces import (
    Integer,
    Overlay,
    RangeError,
    Real,
    compile_space,
    load_schema,
)
from tests.search_spaces.building import number, schema_of, space_of


def draws(space, name, count=400, seed=0):
    rng = random.Random(seed)
    return [space.sample(rng)[name] for _ in range(count)]


def parameter(space, name):
    return {item.name: item for item in space.parameters}[name]


def test_strict_bound_at_the_minimum_is_never_drawn():
    space = space_of({"a.x": number(0.0, 1.0, 0.5, "> 0.0")})
    dimension = space.dimensions[0]
    assert min(draws(space, "a.x", 2000)) > 0.0
    assert space.decode({"a.x": dimension.low})["a.x"] > 0.0
    reflected = space_of({"a.x": number(0.0, 1.0, 0.95, "> 0.0")})
    top = reflected.dimensions[0].high
    assert reflected.decode({"a.x": top})["a.x"] > 0.0


def test_powers_include_one_and_nothing_between():
    space = space_of({"a.x": number(1, 256, 8, "^ 2", kind="int")})
    assert set(draws(space, "a.x", 2000)) == {1, 2, 4, 8, 16, 32, 64, 128, 256}
    dimension = space.dimensions[0]
    assert isinstance(dimension, Integer)
    values = [space.decode({"a.x": k})["a.x"] for k in range(dimension.low, dimension.high + 1)]
    assert values == sorted(values)


def test_powers_of_a_real_number_and_with_an_open_end():
    space = space_of({"a.x": number(0.5, 20.0, 4.0, "^ 2")})
    assert set(draws(space, "a.x")) == {1.0, 2.0, 4.0, 8.0, 16.0}
    space = space_of({"a.x": number(1, None, 8, "^ 2", kind="int")})
    assert set(draws(space, "a.x")) == {1, 2, 4, 8, 16, 32}
    assert any("unbounded" in text for text in space.warnings)


def test_multiples_stay_below_the_maximum():
    space = space_of({"a.x": number(64, 1020, 512, "/ 8", kind="int")})
    values = draws(space, "a.x", 3000)
    assert all(value % 8 == 0 for value in values)
    assert (min(values), max(values)) == (64, 1016)


def test_multiples_on_a_logarithmic_scale():
    space = space_of({"a.x": number(8, 1020, 16, "/ 8", kind="int")})
    assert parameter(space, "a.x").distribution["scale"] == "log"
    values = draws(space, "a.x", 3000)
    assert all(value % 8 == 0 and 8 <= value <= 1016 for value in values)
    assert sum(value <= 96 for value in values) > 1000
    assert space.default() == {"a.x": 16}


CHILD = {
    "m.parent": number(100, 600, 390, kind="int"),
    "m.child": number(1, 900, 300, "> depends_on", kind="int", depends_on="m.parent"),
}


def test_child_lies_strictly_above_a_parent_of_390():
    space = space_of(CHILD, searched=["m.child"])
    assert min(draws(space, "m.child", 2000)) == 391
    space = space_of(CHILD)
    rng = random.Random(0)
    for _ in range(2000):
        values = space.sample(rng)
        assert values["m.child"] > values["m.parent"]
    for unit in (0.0, 0.5, 1.0):
        latents = {"m.parent": 390, "m.child": unit}
        assert space.decode(latents)["m.child"] >= 391


@pytest.mark.parametrize(
    ("spec", "overlay", "least"),
    [
        (None, None, 391),
        ({"m": {"parent": 500}}, None, 501),
        ({"m": {"parent": 500}}, Overlay(fixed={"m.parent": 450}), 451),
    ],
)
def test_unsearched_parent_counts_with_its_value_in_the_spec(spec, overlay, least):
    space = space_of(CHILD, searched=["m.child"], spec=spec, overlay=overlay)
    assert min(draws(space, "m.child", 3000)) == least


def test_parent_without_any_value_is_an_error_and_not_the_child_s_default():
    nodes = {"m.parent": {"type": "int"}, "m.child": CHILD["m.child"]}
    with pytest.raises(RangeError, match=r"m\.child: must be > m\.parent, but m\.parent has no"):
        space_of(nodes, searched=["m.child"])


def test_chain_in_reverse_order_is_drawn_parents_first():
    nodes = {
        "c.c": number(1, 100, 60, "> depends_on", kind="int", depends_on="b.b"),
        "b.b": number(1, 100, 40, "> depends_on", kind="int", depends_on="a.a"),
        "a.a": number(1, 100, 20, kind="int"),
    }
    space = space_of(nodes)
    assert [item.name for item in space.parameters] == ["a.a", "b.b", "c.c"]
    rng = random.Random(0)
    for _ in range(2000):
        values = space.sample(rng)
        assert values["a.a"] < values["b.b"] < values["c.c"] <= 100
    assert isinstance(space.dimensions[1], Real)
    assert (space.dimensions[1].low, space.dimensions[1].high) == (0.0, 1.0)


def test_cycle_is_an_error_that_names_it():
    nodes = {
        "a.a": number(1, 100, 20, "> depends_on", kind="int", depends_on="b.b"),
        "b.b": number(1, 100, 40, "> depends_on", kind="int", depends_on="a.a"),
    }
    with pytest.raises(RangeError, match=r"a\.a -> b\.b -> a\.a"):
        space_of(nodes)


def test_every_comparison_with_a_searched_parent_holds():
    ends = {"kind": "int", "depends_on": "p.p"}
    nodes = {
        "p.p": number(10, 90, 50, kind="int"),
        "a.gt": number(1, 100, 60, "> depends_on", **ends),
        "a.ge": number(1, 100, 60, ">= depends_on", **ends),
        "a.lt": number(1, 100, 40, "<depends_on", **ends),
        "a.le": number(1, 100, 40, "<= depends_on", **ends),
        "a.ne": number(48, 52, 49, "!= depends_on", **ends),
        "a.half": number(0, 100, 25, "/ 2", **ends),
        "a.old": {"type": "int", "minimum": 1, "maximum": 99, "default": 70, "depends_on": "> p.p"},
    }
    space = space_of(nodes)
    rng = random.Random(0)
    for _ in range(1000):
        values = space.sample(rng)
        p = values["p.p"]
        assert values["a.gt"] > p
        assert values["a.ge"] >= p
        assert values["a.lt"] < p
        assert values["a.le"] <= p
        assert values["a.ne"] != p
        assert values["a.half"] == p // 2
        assert values["a.old"] > p
    assert parameter(space, "a.half").dimensions == ()


def test_child_that_is_not_searched_keeps_its_relation():
    nodes = {
        "m.queries": number(10, 900, 300, kind="int"),
        "m.select": number(1, 900, 250, "<= depends_on", kind="int", depends_on="m.queries"),
    }
    space = space_of(nodes, searched=["m.queries"])
    assert min(draws(space, "m.queries", 3000)) >= 250
    assert any("m.queries: searched only where m.select = 250" in w for w in space.warnings)


def test_share_of_a_fixed_parent_is_pinned():
    nodes = {
        "t.epoch": number(1, 100, 30, kind="int"),
        "t.warm": number(0, 100, 3, "/ 2", kind="int", depends_on="t.epoch"),
    }
    space = space_of(nodes, searched=["t.warm"])
    assert [(pin.name, pin.value) for pin in space.pinned] == [("t.warm", 15)]


def test_contradiction_with_a_fixed_parent_is_an_error_that_says_why():
    nodes = {**CHILD, "m.parent": number(100, 2000, 1000, kind="int")}
    with pytest.raises(RangeError, match=r"m\.child: no value lies in .*m\.parent = 1000"):
        space_of(nodes, searched=["m.child"])


def test_open_maximum_goes_beyond_the_default():
    space = space_of({"a.x": number(1, float("inf"), 10, kind="int")})
    assert max(draws(space, "a.x")) > 10
    assert any("a.x: unbounded" in text for text in space.warnings)
    space = space_of({"a.x": number(0, float("inf"), 0, kind="int")})
    assert len(set(draws(space, "a.x"))) > 1


def test_first_trial_is_the_default_configuration_moved_inside():
    nodes = {
        "a.low": number(0.2, 1.0, -0.2),
        "a.edge": number(0.0, 0.5, 0.0, "> 0.0"),
        "a.good": number(0.0, 1.0, 0.5),
        "b.opt": {"type": "categorical", "enum": ["x", "y"], "default": "y"},
    }
    space = space_of(nodes)
    first = space.default()
    assert first["a.low"] == 0.2
    assert 0 < first["a.edge"] <= 0.001
    assert (first["a.good"], first["b.opt"]) == (0.5, "y")
    space.validate(first)
    assert any("a.low: default -0.2 lies outside" in text for text in space.warnings)
    assert any("a.edge: default 0.0 lies outside" in text for text in space.warnings)
    assert parameter(space, "a.low").why == (
        "default -0.2 lies outside [0.2, 1], moved to 0.2; default 0.2 is the lower bound of "
        "[0.2, 1]: log, two decades around it"
    )
    assert parameter(space, "a.edge").why.startswith("default 0 lies outside (0, 0.5], moved to 0.")


def test_spec_is_the_centre_and_the_first_trial():
    node = number(0.0, 1.0, 3.5e-4, "> 0.0")
    space = space_of({"a.lr": node}, spec={"a": {"lr": 1e-3}})
    assert space.default() == {"a.lr": 1e-3}
    assert parameter(space, "a.lr").distribution["low"] == pytest.approx(1e-5)


def test_one_legal_value_is_pinned_and_counts_for_children():
    nodes = {
        "a.fixed": number(7, 7, 7, kind="int"),
        "a.only": {"type": "categorical", "enum": ["sgd"], "default": "sgd"},
        "a.child": number(1, 20, 9, "> depends_on", kind="int", depends_on="a.fixed"),
    }
    space = space_of(nodes)
    assert {pin.name: pin.value for pin in space.pinned} == {"a.fixed": 7, "a.only": "sgd"}
    assert min(draws(space, "a.child", 1000)) == 8


def test_excluded_value_is_never_drawn():
    space = space_of({"a.x": number(-3, 3, 1, "!= 0", kind="int")})
    assert set(draws(space, "a.x", 2000)) == {-3, -2, -1, 1, 2, 3}
    space = space_of({"a.x": number(-1.0, 1.0, 0.5, "!= 0")})
    assert space.decode({"a.x": 0.0})["a.x"] != 0.0


def test_null_in_the_spec_takes_a_parameter_out():
    space = space_of(CHILD, spec={"m": {"child": None}})
    assert [item.name for item in space.parameters] == ["m.parent"]
    assert any("m.child: is null in the spec" in text for text in space.warnings)


def test_limits_narrow_what_is_searched_and_keep_the_scale():
    node = number(1, 10000, 10, "> 0", kind="int")
    space = space_of({"o.warmup": node}, limits={"o.warmup": (None, 15)})
    assert space.dimensions[0] == Integer("o.warmup", 1, 15, log=True)
    assert any("searched in [1, 15] only" in text for text in space.warnings)
    space = space_of({"o.warmup": node}, limits={"o.warmup": (None, 4)})
    assert space.default() == {"o.warmup": 4}
    assert any("the first trial takes 4 instead of the default 10" in w for w in space.warnings)
    pinned = space_of({"o.warmup": node}, limits={"o.warmup": (None, 1)}).pinned
    assert [(pin.name, pin.value) for pin in pinned] == [("o.warmup", 1)]
    with pytest.raises(RangeError, match=r"o\.warmup: this spec demands"):
        space_of({"o.warmup": node}, limits={"o.warmup": (None, 0)})


BATCH = {
    "train.batch": {"type": "int", "default": 4},
    "data.per_class": {"type": "int", "default": 4},
}


def batch_space(**options):
    return compile_space(
        load_schema(schema_of(BATCH, searched=[])),
        multiple_of={"train.batch": ("data.per_class", 2)},
        **options,
    )


def test_multiple_of_a_fixed_parent():
    space = batch_space(overlay=Overlay(ranges={"train.batch": (5, 62, None)}))
    assert set(draws(space, "train.batch", 2000)) == set(range(8, 61, 4))
    assert space.default() == {"train.batch": 8}


def test_multiple_of_a_searched_parent():
    ranges = {"train.batch": (8, 64, None), "data.per_class": (2, 9, None)}
    space = batch_space(overlay=Overlay(ranges=ranges))
    assert [item.name for item in space.parameters] == ["data.per_class", "train.batch"]
    rng = random.Random(0)
    seen = set()
    for _ in range(2000):
        values = space.sample(rng)
        batch, per_class = values["train.batch"], values["data.per_class"]
        assert batch % per_class == 0
        assert 2 * per_class <= batch <= 64
        seen.add(per_class)
    assert seen == set(range(2, 10))


def test_list_of_batch_sizes_must_be_multiples():
    good = Overlay(options={"train.batch": (4, 8, 12)})
    space = batch_space(overlay=good)
    assert set(draws(space, "train.batch")) == {8, 12}
    assert any("[4] left out" in text for text in space.warnings)
    with pytest.raises(RangeError, match=r"option 6 must be a multiple of data\.per_class = 4"):
        batch_space(overlay=Overlay(options={"train.batch": (4, 6)}))
    plain = compile_space(
        load_schema(schema_of(BATCH, searched=[])),
        overlay=good,
        multiple_of={"train.batch": "data.per_class"},
    )
    assert set(draws(plain, "train.batch")) == {4, 8, 12}


@pytest.mark.parametrize("node", [{"multipleOf": 0.1}, {"math_cond": "/ 0.1"}])
def test_multiples_of_a_fraction_are_told_and_drawn_as_they_are_written(node):
    node = number(0.0, 1.0, 0.3, **node)
    tenths = {k / 10 for k in range(11)}
    space = space_of({"a.x": node})
    assert space.default() == {"a.x": 0.3}
    assert set(draws(space, "a.x")) == tenths
    for value in tenths:
        fixed = space_of({"a.x": node, "a.y": node}, overlay=Overlay(fixed={"a.x": value}))
        assert {pin.name: pin.value for pin in fixed.pinned} == {"a.x": value}
        space_of({"a.x": node}, overlay=Overlay(given={"a.x": value}))
    some = space_of({"a.x": node}, overlay=Overlay(options={"a.x": (0.6, 0.3, 0.7)}))
    assert set(draws(some, "a.x")) == {0.3, 0.6, 0.7}
    for value in (0.35, 0.299, 0.3000001):
        with pytest.raises(RangeError, match=r"must be a multiple of 0\.1"):
            space_of({"a.x": node, "a.y": node}, overlay=Overlay(fixed={"a.x": value}))


def test_every_condition_counts_beside_the_others():
    whole = {"type": "int", "default": 8}
    cases = [
        ({"enum": [3, 8, 16], "multipleOf": 8}, {8, 16}),
        ({"enum": [3, 8, 16], "math_cond": "^ 2"}, {8, 16}),
        (
            {"maximum": 100, "minimum": 0, "math_cond": "/ 6", "multipleOf": 8, "default": 50},
            {0, 24, 48, 72, 96},
        ),
        ({"minimum": 1, "maximum": 99, "math_cond": "^ 2", "multipleOf": 8}, {8, 16, 32, 64}),
        ({"minimum": 1, "maximum": 99, "math_cond": "^ 2 ^ 4"}, {1, 4, 16, 64}),
    ]
    for node, legal in cases:
        assert set(draws(space_of({"a.x": {**whole, **node}}), "a.x", 1000)) == legal
    flag = {"type": "bool", "const": True, "default": True}
    (pin,) = space_of({"a.x": flag}).pinned
    assert pin.value is True
    texts = {"type": "string", "enum": ["a1", "b", "a2"], "pattern": "^a", "default": "a1"}
    assert set(draws(space_of({"a.x": texts}), "a.x")) == {"a1", "a2"}
    with pytest.raises(RangeError, match=r"a\.x: option 5 must be one of \[3, 8, 16\]"):
        space_of({"a.x": {**whole, "enum": [3, 8, 16]}}, overlay=Overlay(options={"a.x": (3, 5)}))


@pytest.mark.parametrize(
    ("node", "told"),
    [
        ({"type": "int", "enum": [3, 12], "math_cond": "^ 2"}, "3 must be a power of 2"),
        ({"type": "int", "enum": [3], "math_cond": "!= 3"}, "3 is excluded by the schema"),
        ({"type": "int", "enum": [2.5]}, "each must be int"),
        ({"type": "string", "enum": ["a", "b"], "pattern": "^z"}, r"each must match \^z"),
        ({"type": "bool", "enum": ["yes"]}, "each must be bool"),
    ],
)
def test_enum_of_which_nothing_is_left_is_refused_with_what_its_options_break(node, told):
    with pytest.raises(RangeError, match=rf"^a\.x: no option of \[.*\] is left: {told}$"):
        space_of({"a.x": node})


def test_conditions_hold_in_every_element_of_a_vector():
    node = {
        "anyOf": [{"type": "number"}, {"type": "array"}],
        "default": [0.6, 0.9],
        "minimum": [0.0, 0.7],
        "maximum": [1.0, 2.0],
    }
    closed = draws(space_of({"a.x": {**node, "math_cond": ">= 0.5 <= 1.5"}}), "a.x", 1000)
    assert 0.5 <= min(x for x, _ in closed) < 0.55
    assert max(x for x, _ in closed) > 0.95
    assert min(y for _, y in closed) >= 0.7
    assert 1.4 < max(y for _, y in closed) <= 1.5
    tenths = draws(space_of({"a.x": {**node, "multipleOf": 0.1}}), "a.x")
    assert {round(10 * item) / 10 for pair in tenths for item in pair} == {
        item for pair in tenths for item in pair
    }
    with pytest.raises(RangeError, match=r"a\.x: a list like this is not drawn from powers of 2"):
        space_of({"a.x": {**node, "math_cond": "^ 2"}})


@pytest.mark.parametrize(
    ("node", "told"),
    [
        (
            {"type": "list_2", "default": [10, 20], "maximum": 99, "math_cond": "/ 8"},
            "multiples of 8",
        ),
        ({"type": "list_3", "default": [3, 3], "maximum": 9, "math_cond": "/ 3"}, "multiples of 3"),
        ({"type": "list_2", "default": [1, 2], "maximum": 99, "math_cond": "^ 2"}, "powers of 2"),
        (
            {"type": "list_1_backbone", "default": [0, 1], "maximum": 4, "math_cond": "!= 2"},
            "without 2",
        ),
    ],
)
def test_condition_that_a_list_is_not_drawn_by_is_refused(node, told):
    with pytest.raises(RangeError, match=rf"a\.x: a list like this is not drawn (from )?{told}"):
        space_of({"a.x": node})


def test_short_search_begins_narrow_for_its_first_half():
    nodes = {f"a.lr{k}": number(0.0, 1.0, 1e-3, "> 0.0") for k in range(6)}
    space = space_of(nodes, num_trials=11)
    assert space.early_trials == 6
    early, late = space.for_trial(5), space.for_trial(6)
    assert late is space
    values = [v for seed in range(50) for v in early.sample(random.Random(seed)).values()]
    assert min(values) >= 1e-4
    assert max(values) <= 1e-2
    assert min(v for k in range(6) for v in draws(late, f"a.lr{k}")) < 1e-4
    assert space_of(nodes, num_trials=12).early_trials == 0
    assert space_of(nodes).early_trials == 0


def test_digest_follows_the_space_and_nothing_else():
    node = number(0.0, 1.0, 1e-3, "> 0.0")
    one = space_of({"a.x": node})
    assert one.digest == space_of({"a.x": dict(node, description="other words")}).digest
    assert one.digest != space_of({"a.x": dict(node, default=2e-3)}).digest
    assert one.digest != space_of({"a.y": node}).digest


def test_parent_that_the_schema_lacks_is_an_error():
    node = number(1, 9, 5, "> depends_on", kind="int", depends_on="m.queries")
    with pytest.raises(RangeError, match=r"a\.x: depends on m\.queries, which the schema lacks"):
        space_of({"a.x": node})


def test_default_of_a_child_is_shown_as_the_first_trial_takes_it():
    ranges = {"train.batch": (8, 64, None), "data.per_class": (2, 9, None)}
    space = batch_space(overlay=Overlay(ranges=ranges))
    assert parameter(space, "train.batch").default == 8
    assert space.default() == {"data.per_class": 4, "train.batch": 8}


def test_whole_number_on_a_fractional_grid_is_an_error():
    with pytest.raises(RangeError, match=r"a\.x: whole numbers cannot be multiples of 0\.5"):
        space_of({"a.x": number(1, 9, 5, "/ 0.5", kind="int")})


def test_infinite_default_is_no_default():
    space = space_of({"a.x": number(0.0, 1.0, float("inf"))})
    assert space.default() == {"a.x": 0.5}
    assert any("a.x: its default inf is not a number" in text for text in space.warnings)


def test_bounds_without_a_whole_number_between_them_are_told_as_they_are_written():
    with pytest.raises(RangeError, match=r"a\.x: no value lies in \[1\.2, 1\.7\]; correct"):
        space_of({"a.x": number(1.2, 1.7, 1, kind="int"), "a.y": number(0, 1, 0.5)})
