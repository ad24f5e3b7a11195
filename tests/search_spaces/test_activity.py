"""Knobs that do nothing: pinned, or alive under some values of others."""

import random

import pytest

from search_spaces import Overlay, PointError
from tests.search_spaces.building import number, space_of

NODES = {
    "o.momentum": number(0.0, 1.0, 0.9, "> 0.0"),
    "o.gamma": number(0.0, 1.0, 0.1, "> 0.0"),
    "o.name": {"type": "categorical", "enum": ["Adam", "SGD"], "default": "Adam"},
    "o.schedule": {"type": "categorical", "enum": ["none", "steps"], "default": "none"},
    "t.epochs": number(1, 100, 10, kind="int"),
    "l.name": {"type": "categorical", "enum": ["a", "b", "c"], "default": "a"},
    "l.margin": number(0.0, 2.0, 0.3, "> 0.0"),
}


def inactive(spec):
    found = {}
    if spec["o"]["name"] != "SGD":
        found["o.momentum"] = f"{spec['o']['name']} has none"
    if spec["o"]["schedule"] != "steps":
        found["o.gamma"] = "no schedule"
    elif spec["t"]["epochs"] <= 40:
        found["o.gamma"] = "the first step is never reached"
    if spec["l"]["name"] == "c":
        found["l.margin"] = "loss c has no margin"
    return found


def compiled(*searched, **options):
    return space_of(NODES, searched=searched, inactive=inactive, **options)


def conditions(space):
    return {item.name: item.condition_text for item in space.parameters if item.condition}


def test_idle_under_every_searched_value_is_pinned_with_the_reason():
    space = compiled("o.momentum", "o.gamma", "l.margin")
    assert [item.name for item in space.parameters] == ["l.margin"]
    assert {pin.name: (pin.value, pin.reason) for pin in space.pinned} == {
        "o.momentum": (0.9, "inactive: Adam has none"),
        "o.gamma": (0.1, "inactive: no schedule"),
    }


@pytest.mark.parametrize(
    ("searched", "told"),
    [
        (("l.margin",), {"o.momentum": "Adam has none"}),
        (("o.momentum", "l.margin"), {"o.momentum": "Adam has none"}),
        (("l.name", "o.name"), {}),
    ],
)
def test_what_is_set_and_idle_everywhere_is_told(searched, told):
    """The other one, the momentum of the schema or a schedule, stands at its default."""
    spec = {"o": {"momentum": 0.5}, "l": {"margin": 0.4}}
    assert compiled(*searched, spec=spec).without_effect == told


def test_comes_alive_when_its_parent_is_searched():
    space = compiled("o.momentum", "o.name")
    assert conditions(space) == {"o.momentum": "o.name = SGD (else: Adam has none)"}
    assert [item.name for item in space.parameters] == ["o.name", "o.momentum"]
    assert space.idle({"o.name": "SGD"}) == {}
    assert set(space.idle({"o.name": "Adam"})) == {"o.momentum"}


def test_spec_decides_when_the_parent_is_not_searched():
    space = compiled("o.momentum", spec={"o": {"name": "SGD"}})
    assert [item.name for item in space.parameters] == ["o.momentum"]
    assert conditions(space) == {}
    fixed = compiled("o.momentum", overlay=Overlay(fixed={"o.name": "SGD"}))
    assert [item.name for item in fixed.parameters] == ["o.momentum"]


def test_condition_that_needs_two_parents_at_once():
    space = compiled("o.gamma", "o.schedule", "t.epochs")
    rng = random.Random(0)
    seen = set()
    for _ in range(500):
        values = space.sample(rng)
        is_alive = values["o.schedule"] == "steps" and values["t.epochs"] > 40
        assert ("o.gamma" in values) == is_alive
        seen.add(is_alive)
    assert seen == {True, False}


def test_whole_space_agrees_with_the_trainer_everywhere():
    space = compiled(*NODES)
    rng = random.Random(1)
    for _ in range(500):
        values = space.sample(rng)
        spec = {"o": {"name": "Adam", "schedule": "none"}, "t": {"epochs": 10}, "l": {"name": "a"}}
        for name, value in values.items():
            group, key = name.split(".")
            spec.setdefault(group, {})[key] = value
        assert set(NODES) - set(values) == set(inactive(spec))
        space.validate(values)
        assert space.decode(space.encode(values)).keys() == values.keys()


def test_set_though_inactive_and_missing_though_active_are_different_errors():
    space = compiled("o.momentum", "o.name")
    with pytest.raises(
        PointError, match=r"o\.momentum: is set though inactive here: o\.name = SGD"
    ):
        space.validate({"o.name": "Adam", "o.momentum": 0.5})
    with pytest.raises(PointError, match=r"o\.momentum: has no value, but is active here"):
        space.validate({"o.name": "SGD"})


def test_latents_of_inactive_dimensions_are_neither_asked_for_nor_kept():
    space = compiled("o.momentum", "o.name")
    latents = {}
    asked = []
    for dimension in space.active_dimensions(latents):
        asked.append(dimension.name)
        latents[dimension.name] = "Adam"
    assert asked == ["o.name"]
    assert space.decode(latents) == {"o.name": "Adam"}
    assert space.encode({"o.name": "Adam", "o.momentum": 0.5}) == {"o.name": "Adam"}
    assert len(space.to_unit({"o.name": "Adam"})) == 2
    momentum = space.dimensions[1]
    assert momentum.condition({"o.name": "SGD"})
    assert not momentum.condition({"o.name": "Adam"})


def test_mapping_pins_outright():
    space = space_of(NODES, searched=["o.momentum", "o.name"], inactive={"o.momentum": "because"})
    assert [item.name for item in space.parameters] == ["o.name"]
    assert space.pinned[0].reason == "inactive: because"


def test_trainer_that_refuses_a_spec_gives_no_answer_and_no_failure():
    def strict(spec):
        if spec["t"]["epochs"] > 50:
            raise ValueError("too long")
        return inactive(spec)

    space = space_of(NODES, searched=["o.momentum", "o.name", "t.epochs"], inactive=strict)
    assert conditions(space) == {"o.momentum": "o.name = SGD (else: Adam has none)"}


def test_trainer_only_hears_of_specs_that_hold_their_relations():
    nodes = {
        "d.per_class": number(2, 16, 4, kind="int"),
        "t.batch": number(8, 64, 32, kind="int"),
        "o.name": NODES["o.name"],
        "o.momentum": NODES["o.momentum"],
    }

    def strict(spec):
        assert spec["t"]["batch"] % spec["d"]["per_class"] == 0
        return {} if spec["o"]["name"] == "SGD" else {"o.momentum": "none"}

    heard = []

    def listening(spec):
        try:
            return strict(spec)
        except AssertionError:
            heard.append(spec)
            raise

    space = space_of(nodes, inactive=listening, multiple_of={"t.batch": ("d.per_class", 2)})
    rng = random.Random(0)
    for _ in range(100):
        space.sample(rng)
    assert heard == []


def test_child_of_an_inactive_parent_is_measured_by_the_parent_s_default():
    nodes = {
        "m.on": {"type": "bool", "default": True},
        "m.queries": number(10, 900, 300, kind="int"),
        "m.select": number(1, 900, 350, "> depends_on", kind="int", depends_on="m.queries"),
    }

    def off(spec):
        return {} if spec["m"]["on"] else {"m.queries": "is off"}

    space = space_of(nodes, inactive=off)
    rng = random.Random(0)
    for _ in range(300):
        values = space.sample(rng)
        assert values["m.select"] > values.get("m.queries", 300)
        space.validate(values)
        assert space.decode(space.encode(values)) == values


@pytest.mark.parametrize(
    "asked",
    [
        {"ranges": {"o.momentum": (0.2, 0.8, None)}},
        {"options": {"o.momentum": (0.5, 0.9)}},
        {"extra": ("o.momentum",)},
    ],
)
def test_what_is_asked_for_and_does_nothing_is_told(asked):
    """With SGD among the options it has a part; in the schema's own list it is passed over."""
    space = compiled("t.epochs", overlay=Overlay(**asked))
    assert space.warnings == (
        "o.momentum: is asked for and not searched, as it is inactive: Adam has none",
    )
    with_sgd = compiled("t.epochs", "o.name", overlay=Overlay(**asked))
    assert not any("asked for" in text for text in with_sgd.warnings)
    assert compiled("t.epochs", "o.momentum").warnings == ()
