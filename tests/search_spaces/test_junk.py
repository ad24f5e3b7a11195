"""Whatever stands in a schema or an overlay: a space whose points are legal, or one of our errors."""

import json
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import Overlay, SearchSpaceError, compile_space, load_schema
from tests.search_spaces.building import schema_of

TYPES = [
    "int",
    "integer",
    "float",
    "number",
    "bool",
    "boolean",
    "string",
    "categorical",
    "ordered",
    "ordered_int",
    "list",
    "list_2",
    "list_3",
    "list_1_backbone",
    "list_1_normal",
    "subset_list",
    "optional_list",
    "collection",
    "dict",
    "tensor",
]
SCALARS = st.sampled_from(
    [
        *[None, True, 0, 1, -3, 7, 512, 0.0, 1e-4, 0.5, 2.5, -1.0, float("inf"), float("nan")],
        *["", "inf", "-inf", "auto", "???", "0.5", [], [1], [0.9, 0.999], [40, 70], [1, "a"], {}],
    ]
)
CONDITIONS = st.sampled_from(
    [
        *[
            "",
            "> 0",
            ">0.0 <= 1.0",
            ">= 1",
            "!= 0",
            "^ 2",
            "^ 10",
            "/ 8",
            "/ 0.5",
            "< 0",
            "> depends_on",
        ],
        *[">= depends_on", "< depends_on", "!= depends_on", "/ 2 > 0", "> a.p0", None],
    ]
)
OPTIONS = st.sampled_from(
    [
        *[
            None,
            [],
            ["a"],
            ["a", "b"],
            [1, 2, 3],
            [0.5, 1],
            [True, False],
            ["None", ""],
            [1, "a", None],
        ],
        *[["True", "False"], [[1], [2]]],
    ]
)
NAMES = [f"a.p{index}" for index in range(4)]


@st.composite
def nodes(draw):
    node = {"type": draw(st.sampled_from(TYPES))}
    for key, values in (
        ("default", SCALARS),
        ("minimum", SCALARS),
        ("maximum", SCALARS),
        ("math_cond", CONDITIONS),
        ("enum", OPTIONS),
        ("depends_on", st.sampled_from([None, "a.p0", "a.p1", "a.p2,a.p3", "a.gone", "> a.p1"])),
        ("option_weights", st.sampled_from([None, None, None, [1], [0.9, 0.1], [1, 2, 3]])),
        ("automl_enabled", st.sampled_from([None, True, False])),
    ):
        if draw(st.booleans()):
            value = draw(values)
            if value is not None or draw(st.booleans()):
                node[key] = value
    if draw(st.integers(0, 8)) == 0:
        node["anyOf"] = [{"type": draw(st.sampled_from(TYPES))}, {"type": "array"}]
        del node["type"]
    return node


@st.composite
def overlays(draw):
    ends = st.sampled_from([None, 0, 1, 2, 10, 0.1, -1.0, "x", [1, 2], float("nan"), True])
    some = st.lists(st.sampled_from([*NAMES, "a.gone", "a"]), max_size=2)
    published = {
        name: {
            "valid_min": draw(ends),
            "valid_max": draw(ends),
            "valid_options": draw(OPTIONS),
            "option_weights": draw(st.sampled_from([None, [1, 2], [0.5, -1]])),
            "math_cond": draw(CONDITIONS),
        }
        for name in draw(some)
    }
    return Overlay(
        hyperparameters=tuple(draw(some)) or None,
        ranges={
            name: (draw(ends), draw(ends), draw(st.sampled_from([None, True, False])))
            for name in draw(some)
        },
        options={name: tuple(draw(OPTIONS) or ()) for name in draw(some)},
        fixed={name: draw(SCALARS) for name in draw(some)},
        custom_param_ranges=draw(st.sampled_from([{}, published])),
        override_automl_disabled_params=draw(st.booleans()),
    )


@settings(max_examples=250, deadline=None, derandomize=True)
@given(
    st.lists(nodes(), min_size=4, max_size=4),
    st.one_of(st.just(Overlay()), overlays()),
    st.sampled_from([None, {"a": {"p0": 5}}, {"a": {"p1": "text"}}, {"a": {"p2": None}}]),
    st.sampled_from([{}, {"a.p0": (2, 8)}, {"a.p1": (None, 3)}, {"a.p3": (5, 1)}]),
    st.sampled_from([{}, {"a.p0": "a.p1"}, {"a.p2": ("a.p3", 2)}]),
)
def test_junk_gives_a_legal_space_or_an_error_of_ours(found, overlay, spec, limits, multiple_of):
    schema = schema_of(dict(zip(NAMES, found, strict=True)))
    try:
        space = compile_space(
            load_schema(schema),
            overlay=overlay,
            spec=spec,
            limits=limits,
            multiple_of=multiple_of,
            num_trials=3,
        )
    except SearchSpaceError as error:
        assert "\n" not in str(error)
        return
    rng = random.Random(0)
    for number in range(10):
        values = space.for_trial(number).sample(rng)
        space.validate(values)
        json.dumps(values)
        space.validate(space.decode(space.encode(values)))
    space.validate(space.default())
    json.dumps(space.to_json())
    assert all("\n" not in text for text in space.warnings)
