"""What is drawn holds every condition that a schema puts on one parameter, two and three at a time.

The judge is jsonschema, which shares nothing with the package. It reads numbers as they are
written: of 0.3 and 0.1 as the machine holds them, neither is a multiple of the other.
"""

import itertools
import json
import random
from decimal import Decimal

import pytest
from jsonschema import Draft202012Validator

from search_spaces import Overlay, RangeError, SchemaError, compile_space, load_schema
from tests.search_spaces.building import schema_of

POWERS = {base: [base**k for k in range(12)] for base in (2, 3, 4)}
WHOLE = {
    "low": lambda rng: {"minimum": rng.choice([0, 1, 2, 3, 8])},
    "high": lambda rng: {"maximum": rng.choice([8, 16, 30, 48, 64])},
    "above": lambda rng: {"exclusiveMinimum": rng.choice([0, 1, 4, 8])},
    "below": lambda rng: {"exclusiveMaximum": rng.choice([9, 16, 48])},
    "step": lambda rng: {"multipleOf": rng.choice([2, 3, 4, 8])},
    "divided": lambda rng: {"math_cond": f"/ {rng.choice([2, 6, 8])}"},
    "power": lambda rng: {"math_cond": f"^ {rng.choice([2, 4])}"},
    "powers": lambda rng: {"math_cond": rng.choice(["^ 2 ^ 4", "^ 2 ^ 3", "^ 2 / 4"])},
    "not": lambda rng: {"math_cond": f"!= {rng.choice([0, 1, 8, 16])}"},
    "between": lambda rng: {"math_cond": f">= {rng.choice([2, 3])} < {rng.choice([16, 33])}"},
    "enum": lambda rng: {"enum": rng.sample([0, 1, 3, 4, 8, 12, 16, 24, 32, 48], 6)},
    "const": lambda rng: {"const": rng.choice([4, 8, 24])},
}
REAL = {
    "low": lambda rng: {"minimum": rng.choice([0.0, 0.1, 0.2, 0.25])},
    "high": lambda rng: {"maximum": rng.choice([0.7, 0.8, 1.0, 1.3])},
    "above": lambda rng: {"exclusiveMinimum": rng.choice([0.0, 0.1, 0.3])},
    "below": lambda rng: {"exclusiveMaximum": rng.choice([0.7, 0.9, 1.0])},
    "step": lambda rng: {"multipleOf": rng.choice([0.1, 0.05, 0.25, 0.3])},
    "divided": lambda rng: {"math_cond": f"/ {rng.choice([0.1, 0.2, 0.15])}"},
    "power": lambda rng: {"math_cond": f"^ {rng.choice([2, 4])}"},
    "not": lambda rng: {"math_cond": f"!= {rng.choice([0.0, 0.3, 0.5, 1.0])}"},
    "between": lambda rng: {"math_cond": f">= {rng.choice([0.2, 0.3])} < {rng.choice([0.7, 1.0])}"},
    "positive": lambda rng: {"positive_from": rng.choice([0.25, 0.3])},
    "enum": lambda rng: {"enum": rng.sample([0.0, 0.1, 0.15, 0.3, 0.6, 0.7, 0.75, 1.0, 2.0], 6)},
}
CANDIDATES = {
    "integer": range(-20, 257),
    "number": [float(f"{k / 20:.2f}") for k in range(-20, 161)],
}


def written(data):
    """Numbers as they are written."""
    return json.loads(json.dumps(data), parse_float=Decimal)


def rules_of(node: dict) -> Draft202012Validator:
    """The same conditions in the words of JSON Schema alone."""
    keys = ("type", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
    rules = [{key: node[key] for key in (*keys, "enum", "const", "pattern") if key in node}]
    terms = node.get("math_cond", "").split()
    for op, text in zip(terms[::2], terms[1::2], strict=True):
        number = json.loads(text)
        rules.append(
            {
                ">": {"exclusiveMinimum": number},
                ">=": {"minimum": number},
                "<": {"exclusiveMaximum": number},
                "<=": {"maximum": number},
                "!=": {"not": {"const": number}},
                "/": {"multipleOf": number},
                "^": {"enum": POWERS.get(number)},
            }[op]
        )
    if "positive_from" in node:
        rules.append({"anyOf": [{"maximum": 0}, {"minimum": node["positive_from"]}]})
    return Draft202012Validator(written({"allOf": rules}))


def random_node(rng: random.Random, kind: str, pair: tuple[str, ...]) -> dict:
    """A node that holds the conditions of these names; the default is often not legal."""
    rules = WHOLE if kind == "integer" else REAL
    node = {"type": kind}
    for name in pair:
        found = rules[name](rng)
        if "math_cond" in node and "math_cond" in found:
            found = {"math_cond": f"{node['math_cond']} {found['math_cond']}"}
        node |= found
    if rng.random() < 0.9:
        node["default"] = rng.choice([3, 8, 24] if kind == "integer" else [0.3, 0.35, 0.95])
    if "enum" in node and rng.random() < 0.5:
        node["option_weights"] = [rng.choice([0.1, 0.3, 1.0]) for _ in node["enum"]]
    return node


def every_point(space, count=40):
    """The first trial, the corners of the unit cube and some points within."""
    rng = random.Random(0)
    size = len(space.dimensions)
    yield space.default()
    for unit in (0.0, 1.0):
        yield space.from_unit((unit,) * size)
    for _ in range(count):
        yield space.sample(rng)


def drawn_of(space, name):
    pinned = {pin.name: pin.value for pin in space.pinned}
    for values in every_point(space):
        space.validate(values)
        yield (pinned | values)[name]


PAIRS = [
    (kind, pair)
    for kind, rules in (("integer", WHOLE), ("number", REAL))
    for size in (2, 3)
    for pair in itertools.combinations(rules, size)
    if not {"enum", "const"} <= {*pair}
]


@pytest.mark.parametrize("kind", ["integer", "number"])
def test_what_is_drawn_holds_all_conditions_together(kind):
    rng = random.Random(7)
    searched = refused = 0
    for _, pair in [item for item in PAIRS if item[0] == kind]:
        node = random_node(rng, kind, pair)
        rules = rules_of(node)
        try:
            space = compile_space(load_schema(schema_of({"a.x": node})))
        except RangeError as error:
            legal = [value for value in CANDIDATES[kind] if rules.is_valid(written(value))]
            assert not legal, (node, legal[:5], str(error))
            assert all("\n" not in line for line in error.problems)
            refused += 1
            continue
        searched += 1
        drawn = list(drawn_of(space, "a.x"))
        for value in drawn:
            assert rules.is_valid(written(value)), (node, value)
        if "enum" in node:
            if space.parameters:
                drawn += [space.from_unit((k / 200,))["a.x"] for k in range(200)]
                check_weights(node, space.parameters[0])
            assert {*drawn} == {x for x in node["enum"] if rules.is_valid(written(x))}, node
    assert searched > 3 * refused > 0


def check_weights(node, parameter):
    """Options are in order, each with its weight."""
    shown = parameter.distribution
    assert shown["options"] == sorted(shown["options"])
    if "option_weights" in node:
        told = dict(zip(node["enum"], node["option_weights"], strict=True))
        total = sum(told[option] for option in shown["options"])
        weights = [told[option] / total for option in shown["options"]]
        assert shown.get("weights", [1 / len(weights)] * len(weights)) == pytest.approx(
            weights, abs=0.01
        )


@pytest.mark.parametrize("kind", ["integer", "number"])
def test_what_an_alternative_says_holds_beside_what_stands_next_to_it(kind):
    rng = random.Random(10)
    plain = [item for item in PAIRS if item[0] == kind and "positive" not in item[1]]
    for _, pair in rng.sample(plain, 80):
        inner, outer = random_node(rng, kind, pair), random_node(rng, kind, pair)
        inner.pop("option_weights", None)
        outer.pop("option_weights", None)
        outer.pop("math_cond", None)
        rules = [rules_of(inner), rules_of(outer)]
        legal = [x for x in CANDIDATES[kind] if all(rule.is_valid(written(x)) for rule in rules)]
        node = {key: value for key, value in outer.items() if key != "type"}
        node["anyOf"] = [inner, {"type": "null"}]
        try:
            space = compile_space(load_schema(schema_of({"a.x": node})))
        except (RangeError, SchemaError) as error:
            assert not legal, (node, legal, str(error))
            continue
        for value in drawn_of(space, "a.x"):
            assert all(rule.is_valid(written(value)) for rule in rules), (node, value)


@pytest.mark.parametrize("kind", ["integer", "number"])
def test_vectors_hold_all_conditions_in_every_element(kind):
    rng = random.Random(8)
    searched = 0
    for _, pair in [
        item for item in PAIRS if item[0] == kind and not {"enum", "const"} & {*item[1]}
    ]:
        node = random_node(rng, kind, pair)
        plain = rules_of(node)
        ends = {"minimum": node.get("minimum", 0), "maximum": node.get("maximum", 40)}
        own = [ends, {"minimum": ends["minimum"], "maximum": ends["maximum"] * 2}]
        node |= {key: [one[key] for one in own] for key in ends}
        node["default"] = [1.0, 0.5] if kind == "number" else [8, 16]
        node["anyOf"] = [{"type": node.pop("type")}, {"type": "array"}]
        try:
            space = compile_space(load_schema(schema_of({"a.x": node})))
        except RangeError as error:
            assert all("\n" not in line for line in error.problems)
            continue
        rules = plain.schema["allOf"]
        rules[0] = {k: v for k, v in rules[0].items() if k not in ("minimum", "maximum")}
        searched += 1
        told = [Draft202012Validator({"allOf": [*rules, written(bounds)]}) for bounds in own]
        for values in drawn_of(space, "a.x"):
            for value, each in zip(values, told, strict=True):
                assert each.is_valid(written(value)), (node, value)
    assert searched > 30


@pytest.mark.parametrize("kind", ["integer", "number"])
def test_increasing_numbers_hold_all_conditions_in_every_element(kind):
    rng = random.Random(11)
    pairs = [item for item in PAIRS if item[0] == kind and not {"enum", "const"} & {*item[1]}]
    searched = 0
    for _, pair in rng.sample(pairs, 60):
        node = random_node(rng, kind, pair)
        told = rules_of(node)
        own = [{"minimum": 1, "maximum": 9}, {"minimum": 2, "maximum": 11}, {"minimum": 4}]
        if rng.random() < 0.5:
            own = [{"minimum": node.get("minimum", 0), "maximum": 20}] * 3
        node |= {key: [one.get(key, 30) for one in own] for key in ("minimum", "maximum")}
        node |= {"type": "list_2", "default": [3.0, 4.5, 9.5] if kind == "number" else [3, 5, 9]}
        rules = told.schema["allOf"]
        rules[0] = {k: v for k, v in rules[0].items() if k not in ("minimum", "maximum")}
        elements = [Draft202012Validator({"allOf": [*rules, written(bounds)]}) for bounds in own]
        try:
            space = compile_space(load_schema(schema_of({"a.x": node})))
        except RangeError as error:
            assert all("\n" not in line for line in error.problems)
            continue
        searched += 1
        for values in drawn_of(space, "a.x"):
            assert values == sorted(values)
            for value, each in zip(values, elements, strict=True):
                assert each.is_valid(written(value)), (node, values)
    assert searched > 5


RELATIONS = {
    ">": lambda child, parent: child > parent,
    ">=": lambda child, parent: child >= parent,
    "<": lambda child, parent: child < parent,
    "<=": lambda child, parent: child <= parent,
    "!=": lambda child, parent: child != parent,
    "multiple": lambda child, parent: Decimal(str(child)) % Decimal(str(parent)) == 0,
    "/": lambda child, parent: child == parent // 2,
}


@pytest.mark.parametrize("searched", [("a.p", "b.c"), ("a.p",), ("b.c",)])
@pytest.mark.parametrize("op", RELATIONS)
def test_a_relation_holds_beside_the_conditions_of_both(op, searched):
    rng = random.Random(f"{op} {searched}")
    compiled = 0
    is_whole = op in ("multiple", "/")
    pairs = [item for item in PAIRS if item[0] == "integer" or not is_whole]
    for kind, pair in rng.sample(pairs, 60):
        parent = random_node(rng, kind, pair)
        ends = {"low", "high", "above", "below"}
        others = [item for item in PAIRS if item[0] == kind and (op != "/" or ends > {*item[1]})]
        _, other = rng.choice(others)
        child = random_node(rng, kind, other)
        for node in (parent, child):
            node.setdefault("maximum", 64 if kind == "integer" else 3.0)
            node.setdefault("minimum", 1 if kind == "integer" else 0.0)
            node.setdefault("default", node["maximum"])
        if is_whole:
            parent["minimum"] = max(parent["minimum"], 1)
        rules = {"a.p": rules_of(parent), "b.c": rules_of(child)}
        if op != "multiple":
            told = f"{op} 2" if op == "/" else f"{op} depends_on"
            child |= {"depends_on": "a.p", "math_cond": f"{child.get('math_cond', '')} {told}"}
        if op == "/" and "/" in child["math_cond"].removesuffix("/ 2"):
            continue  # beside a parent these are shares, too
        nodes = {"a.p": parent, "b.c": child}
        try:
            space = compile_space(
                load_schema(schema_of(nodes, searched)),
                multiple_of={"b.c": "a.p"} if op == "multiple" else None,
            )
        except RangeError as error:
            assert all("\n" not in line for line in error.problems)
            continue
        compiled += 1
        if op == "/" and searched == ("a.p",):
            assert not space.parameters or any("b.c" in text for text in space.warnings)
            continue
        pinned = {pin.name: pin.value for pin in space.pinned}
        for values in every_point(space):
            space.validate(values)
            point = {name: node["default"] for name, node in nodes.items()} | pinned | values
            for name in values:
                assert rules[name].is_valid(written(point[name])), (nodes[name], point)
            assert RELATIONS[op](point["b.c"], point["a.p"]), (nodes, point)
    assert compiled > 3


def test_options_of_the_user_hold_the_conditions_or_are_refused():
    rng = random.Random(9)
    taken = 0
    for kind, pair in PAIRS:
        node = random_node(rng, kind, pair)
        rules = rules_of(node)
        options = rng.sample(
            [2, 4, 8, 12, 16, 24] if kind == "integer" else [0.3, 0.5, 0.6, 1.0], 3
        )
        weights = [rng.choice([1, 2, 5]) for _ in options]
        entry = {"valid_options": options, "option_weights": weights}
        is_good = all(rules.is_valid(written(option)) for option in options)
        try:
            space = compile_space(
                load_schema(schema_of({"a.x": node})),
                overlay=Overlay(custom_param_ranges={"a.x": entry}),
            )
        except RangeError as error:
            assert not is_good, (node, options, str(error))
            continue
        assert is_good, (node, options)
        taken += 1
        check_weights({"enum": options, "option_weights": weights}, space.parameters[0])
        assert {*drawn_of(space, "a.x")} <= {*options}
    assert taken > 10


LISTS = [
    {"type": "list_3", "minimum": [1, 1], "maximum": [32, 8], "default": [3, 3]},
    {"type": "list_2", "minimum": 1, "maximum": 4, "default": [1, 2], "math_cond": "!= 4"},
    {"type": "list_2", "default": [1, 2], "math_cond": "!= 4"},
    {"type": "list_2", "minimum": [16, 4, 6], "maximum": 60, "default": [16.5, 20.0, 30.0]},
]


@pytest.mark.parametrize("leaf", LISTS, ids=str)
def test_each_element_holds_its_own_bounds_and_leaves_room_for_the_next(leaf):
    space = compile_space(load_schema(schema_of({"p": leaf})))
    lows, highs = leaf.get("minimum", 1), leaf.get("maximum", 4)
    for seed in range(200):
        drawn = space.sample(random.Random(seed))["p"]
        for place, value in enumerate(drawn):
            low = lows[place] if isinstance(lows, list) else lows
            high = highs[place] if isinstance(highs, list) else highs
            assert low <= value <= high
        assert 4 not in drawn or "math_cond" not in leaf
        steps = list(itertools.pairwise(drawn))
        assert all(a == b if leaf["type"] == "list_3" else a < b for a, b in steps)


@pytest.mark.parametrize(
    ("leaf", "said"),
    [
        ({"type": "list_3", "minimum": [6, 0], "maximum": [64, 0], "default": [7, 8]}, "no odd"),
        ({"type": "list_2", "minimum": 3, "maximum": 3, "default": [0.25, 3]}, "do not fit into"),
        ({"type": "list_2", "maximum": 2, "exclusiveMinimum": 2, "default": [0.1, 1.5]}, "not fit"),
        ({"type": "list_2", "minimum": [3, -5], "maximum": [8, 2], "default": [8, 16]}, "not fit"),
        ({"type": "list_2", "minimum": [7, 2], "maximum": [8, 6], "default": [0.5, 8]}, "not fit"),
    ],
)
def test_lists_that_no_values_fit_are_refused(leaf, said):
    with pytest.raises(RangeError, match=said) as caught:
        compile_space(load_schema(schema_of({"p": leaf})))
    assert "\n" not in str(caught.value)


def test_a_log_range_needs_a_low_end_above_zero_whoever_gives_it():
    schema = load_schema(schema_of({"p": {"type": "float", "minimum": 0, "default": 16.0}}))
    with pytest.raises(RangeError, match="p: low > 0 must hold for a log range, got 0; give one"):
        compile_space(schema, overlay=Overlay(ranges={"p": (None, 4, True)}))
    whole = compile_space(schema, overlay=Overlay(ranges={"p": (None, 4, None)}))
    assert all(0 <= whole.sample(random.Random(seed))["p"] <= 4 for seed in range(50))
