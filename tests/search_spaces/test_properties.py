"""Any schema of the dialect gives points that hold everything the schema says.

The judge below reads the raw JSON nodes and shares nothing with the package but Python.
"""

import itertools
import json
import math
import random
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import Choice, Integer, RangeError, SearchSpace, compile_space, load_schema
from tests.search_spaces.building import schema_of

INF = float("inf")
CLAUSE = r"([<>!]=?|\^|/)\s*(depends_on|[-+.\de]+)"


def judge(node: dict, value, others: dict) -> str:
    """Say what is wrong with a value, from the schema node alone."""
    return JUDGES[node["type"]](node, value, others)


def judge_float(node: dict, value, others: dict) -> str:
    return judge_number(node, value, others) if type(value) is float else "type"


def judge_int(node: dict, value, others: dict) -> str:
    return judge_number(node, value, others) if type(value) is int else "type"


def judge_bool(node: dict, value, others: dict) -> str:
    return "" if type(value) is bool else "type"


def judge_option(node: dict, value, others: dict) -> str:
    return "" if value in node["enum"] else "option"


def judge_steps(node: dict, value, others: dict) -> str:
    numbers = all(type(item) is int for item in value)
    inside = all(node["minimum"] <= item <= node["maximum"] for item in value)
    rising = all(one < other for one, other in itertools.pairwise(value))
    return "" if numbers and inside and rising else "list_2"


def judge_kernel(node: dict, value, others: dict) -> str:
    side = value[0]
    smallest = min(others[name] for name in node["depends_on"].split(","))
    legal = max(1, smallest // 100) <= side <= max(1, smallest // 10)
    return "" if value == [side, side] and side % 2 == 1 and legal else "list_3"


def judge_run(node: dict, value, others: dict) -> str:
    consecutive = value == list(range(value[0], value[0] + len(value)))
    inside = node["minimum"] <= value[0] and value[-1] <= node["maximum"]
    return "" if consecutive and inside else "run"


def judge_subset(node: dict, value, others: dict) -> str:
    return "" if value == [item for item in node["enum"] if item in value] else "subset"


def judge_optional(node: dict, value, others: dict) -> str:
    return "" if value is None or value == node["enum"] else "optional"


def judge_number(node: dict, value, others: dict) -> str:
    if not math.isfinite(value):
        return "finite"
    if "minimum" in node and value < node["minimum"]:
        return "minimum"
    if "maximum" in node and value > node["maximum"]:
        return "maximum"
    for op, operand in re.findall(CLAUSE, node.get("math_cond", "")):
        against = [others[name] for name in node.get("depends_on", "").split(",") if name]
        numbers = against if operand == "depends_on" else [float(operand)]
        holds = {
            ">": all(value > n for n in numbers),
            ">=": all(value >= n for n in numbers),
            "<": all(value < n for n in numbers),
            "<=": all(value <= n for n in numbers),
            "!=": all(value != n for n in numbers),
            "^": op == "^" and any(value == numbers[0] ** k for k in range(64)),
            "/": op == "/" and value % numbers[0] == 0,
        }
        if op == "/" and against:
            return "" if value == against[0] // numbers[0] else "share"
        if not holds[op]:
            return f"{op} {operand}"
    return ""


JUDGES = {
    "float": judge_float,
    "number": judge_float,
    "int": judge_int,
    "integer": judge_int,
    "bool": judge_bool,
    "boolean": judge_bool,
    "categorical": judge_option,
    "ordered": judge_option,
    "ordered_int": judge_option,
    "list_2": judge_steps,
    "list_3": judge_kernel,
    "list_1_backbone": judge_run,
    "subset_list": judge_subset,
    "optional_list": judge_optional,
}

sizes = st.floats(1e-6, 1e4, allow_nan=False).map(lambda x: float(f"{x:.3g}"))


@st.composite
def floats_node(draw):
    low = draw(st.one_of(st.none(), st.just(0.0), sizes, sizes.map(lambda x: -x)))
    high = None if draw(st.integers(0, 4)) == 0 else (low or 0.0) + draw(sizes)
    top = high if high is not None else (low or 0.0) + 10 * draw(sizes)
    share = draw(st.sampled_from([0.0, 1e-4, 0.01, 0.3, 0.5, 0.93, 0.999, 1.0, 1.2, -0.1]))
    node = {"type": draw(st.sampled_from(["float", "number"]))}
    node["default"] = float(f"{(low or 0.0) + share * (top - (low or 0.0)):.6g}")
    if low is not None:
        node["minimum"] = low
    if high is not None:
        node["maximum"] = draw(st.sampled_from([high, high, high, INF]))
    conditions = ["", f"> {low}", f">={low}", f"!= {low}"] if low is not None else ["", "!= 1.0"]
    if high is not None:
        conditions += [f"<{high}", f"<= {high}"]
    if low is not None and high is not None:
        conditions += [f"> {low} <= {high}", f"> {low}<{high}"]
    node["math_cond"] = draw(st.sampled_from(conditions))
    if draw(st.integers(0, 5)) == 0:
        del node["default"]
    return node


@st.composite
def ints_node(draw):
    low = draw(st.one_of(st.none(), st.integers(-5, 300)))
    high = None if draw(st.integers(0, 4)) == 0 else (low or 0) + draw(st.integers(40, 20000))
    node = {"type": draw(st.sampled_from(["int", "integer"]))}
    top = high if high is not None else (low or 0) + 50
    node["default"] = draw(st.integers((low or 0) - 2, top + 2))
    if low is not None:
        node["minimum"] = low
    if high is not None:
        node["maximum"] = high
    conditions = [""]
    if low is not None and high is not None and low >= 0:
        conditions += [f"> {low}", f"> {low} < {high}", "/ 8", "/ 5", "!= 7"]
        if low <= 1 and high >= 2:
            conditions += ["^ 2", "^2"]
    node["math_cond"] = draw(st.sampled_from(conditions))
    return node


@st.composite
def options_node(draw):
    options = draw(st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=6, unique=True))
    node = {"type": draw(st.sampled_from(["categorical", "ordered"])), "enum": options}
    node["default"] = draw(st.sampled_from([*options, "none of them"]))
    if draw(st.booleans()):
        weights = st.floats(0.01, 1.0)
        node["option_weights"] = [draw(weights) for _ in options]
    return node


@st.composite
def lists_node(draw):
    low, count = draw(st.integers(0, 5)), draw(st.integers(1, 5))
    high = low + draw(st.integers(count, 200))
    steps = sorted(draw(st.sets(st.integers(low, high + 3), min_size=count, max_size=count)))
    options = ["q", "k", "v"]
    return draw(
        st.sampled_from(
            [
                {"type": "list_2", "default": steps, "minimum": low, "maximum": high},
                {"type": "list_1_backbone", "default": [-1], "minimum": -1, "maximum": high},
                {"type": "list_1_backbone", "default": [0, 1], "minimum": 0, "maximum": high},
                {"type": "subset_list", "default": ["v", "q"], "enum": options},
                {"type": "optional_list", "default": None, "enum": options},
                {"type": "ordered_int", "default": 8, "enum": [2, 8, 32]},
                {"type": "bool", "default": True},
                {"type": "boolean", "default": False},
            ]
        )
    )


@st.composite
def families(draw):
    """Parents and children bounded by them, in an order that says nothing."""
    low, high = draw(st.integers(0, 20)), draw(st.integers(60, 5000))
    ends = {"minimum": low, "maximum": high}
    parent = {"type": "int", "default": draw(st.integers(low, high)), **ends}
    strict, closed, below, at_most = "> depends_on", ">= depends_on", "<depends_on", "<= depends_on"
    child = {"type": "int", "default": draw(st.integers(low, high)), "depends_on": "m.b", **ends}
    child["math_cond"] = draw(st.sampled_from([strict, closed, below, at_most, "!= depends_on"]))
    grandchild = {"type": "int", "default": high, "depends_on": "m.a", **ends}
    grandchild["math_cond"] = draw(st.sampled_from([strict, closed, "/ 2"]))
    if grandchild["math_cond"] == "/ 2":
        grandchild["minimum"] = 0
    real_ends = {"minimum": 0.0, "maximum": 1.0}
    beta = {"type": "float", "default": draw(st.sampled_from([0.9, 0.5, 0.01])), **real_ends}
    second = {"type": "float", "default": 0.999, "depends_on": "z.x", **real_ends}
    second["math_cond"] = draw(st.sampled_from([strict, closed, "> depends_on < 1.0"]))
    kernel = {"type": "list_3", "default": [15, 15], "depends_on": "m.h,m.w"}
    side = {"type": "int", "default": 224, "minimum": 32, "maximum": 1024}
    nodes = {
        "a.first": grandchild,
        "m.a": child,
        "m.b": parent,
        "b.second": second,
        "z.x": beta,
        "m.blur": kernel,
        "m.h": side,
        "m.w": dict(side, default=100),
    }
    names = draw(st.sets(st.sampled_from(sorted(nodes)), min_size=1))
    return nodes, sorted(names)


@st.composite
def schemas(draw):
    kinds = st.one_of(floats_node(), ints_node(), options_node(), lists_node())
    loose = draw(st.lists(kinds, max_size=5))
    nodes, names = draw(families())
    nodes = {**nodes, **{f"loose.p{index}": node for index, node in enumerate(loose)}}
    return schema_of(nodes, [*names, *(f"loose.p{index}" for index in range(len(loose)))])


def compiled(schema: dict, **options) -> tuple[SearchSpace | None, str]:
    try:
        return compile_space(load_schema(schema), **options), ""
    except RangeError as error:
        return None, str(error)


def leaves(schema: dict) -> dict:
    found = {}
    for group, node in schema["properties"].items():
        found |= {f"{group}.{leaf}": child for leaf, child in node["properties"].items()}
    return found


def check(space: SearchSpace, schema: dict, values: dict) -> None:
    nodes = leaves(schema)
    defaults = {name: node.get("default") for name, node in nodes.items()}
    pinned = {pin.name: pin.value for pin in space.pinned}
    everything = {**defaults, **pinned, **values}
    assert set(values) == {parameter.name for parameter in space.parameters}
    for name, value in {**pinned, **values}.items():
        assert judge(nodes[name], value, everything) == "", (name, value, nodes[name], everything)
    assert json.loads(json.dumps(values)) == values


@settings(max_examples=15, deadline=None, derandomize=True)
@given(schemas(), st.integers(0, 2**32))
def test_thousand_samples_of_any_schema_hold_everything_it_says(schema, seed):
    space, told = compiled(schema)
    if space is None:
        # Fixed values may contradict each other; that must be said, not drawn around.
        assert re.search(r"no value|no room|leaves no|leaves nothing|no option", told)
        return
    rng = random.Random(seed)
    for _ in range(1000):
        values = space.sample(rng)
        check(space, schema, values)
    check(space, schema, space.default())


def belongs_to(latent, dimension) -> bool:
    if isinstance(dimension, Choice):
        return any(latent == c and type(latent) is type(c) for c in dimension.choices)
    kind = int if isinstance(dimension, Integer) else float
    steps = (latent - dimension.low) % dimension.step == 0 if kind is int else True
    return type(latent) is kind and dimension.low <= latent <= dimension.high and steps


@settings(max_examples=40, deadline=None, derandomize=True)
@given(schemas(), st.integers(0, 2**32))
def test_latents_and_values_map_onto_each_other(schema, seed):
    space, _ = compiled(schema)
    if space is None:
        return
    rng = random.Random(seed)
    for _ in range(20):
        latents = {}
        for dimension in space.active_dimensions(latents):
            latents[dimension.name] = dimension.from_unit(rng.random())
            assert belongs_to(latents[dimension.name], dimension)
        values = space.decode(latents)
        space.validate(values)
        again = space.encode(values)
        for dimension in space.dimensions:
            assert belongs_to(again[dimension.name], dimension), dimension
        assert_close(space.decode(again), values)
        assert space.encode(values, latents=latents) == latents
        assert_close(space.from_unit(space.to_unit(values)), values)
    first = space.default()
    assert space.decode(space.encode(first)) == first


@settings(max_examples=40, deadline=None, derandomize=True)
@given(schemas(), schemas(), st.integers(0, 2**32))
def test_a_point_of_one_space_is_fitted_into_any_other(one, other, seed):
    before, _ = compiled(one)
    after, _ = compiled(other)
    if before is None or after is None:
        return
    latents = before.design(1, random.Random(seed))[0]
    values = json.loads(json.dumps(before.decode(latents)))
    assert before.refit(values, latents) == (latents, True)
    fitted, is_inside = after.refit(values, latents)
    assert fitted.keys() <= {dimension.name for dimension in after.dimensions}
    if is_inside:
        after.validate(after.decode(fitted))
        assert after.refit(after.decode(fitted), fitted) == (fitted, True)


@given(schemas(), st.integers(0, 2**32))
def test_narrow_draws_of_a_short_search_are_points_of_the_whole_space(schema, seed):
    space, _ = compiled(schema, num_trials=1)
    if space is None:
        return
    rng = random.Random(seed)
    narrow = space.for_trial(0)
    for _ in range(20):
        space.validate(narrow.sample(rng))
    for wide, early in zip(space.dimensions, narrow.dimensions, strict=True):
        assert wide.name == early.name
        if not isinstance(wide, Choice):
            assert wide.low <= early.low <= early.high <= wide.high


def assert_close(one, other) -> None:
    """Equal, up to the last digits of real numbers."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            assert_close(one[name], other[name])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_close(left, right)
    elif isinstance(one, float):
        assert math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-12)
    else:
        assert one == other
