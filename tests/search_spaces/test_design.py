import random
from collections import Counter

import pytest

from search_spaces.design import apportion, cover
from tests.search_spaces.building import number, space_of

NODES = {
    "a.rate": number(0.0, 1.0, 1e-3, "> 0.0"),
    "a.count": number(1, 8, 4, kind="int"),
    "b.name": {
        "type": "categorical",
        "enum": ["often", "some", "few", "rare"],
        "option_weights": [0.55, 0.25, 0.15, 0.05],
        "default": "often",
    },
    "b.flag": {"type": "bool", "default": True},
}


@pytest.mark.parametrize(
    ("shares", "count", "expected"),
    [
        ([0.55, 0.25, 0.15, 0.05], 20, [11, 5, 3, 1]),
        ([0.55, 0.25, 0.15, 0.05], 10, [6, 2, 1, 1]),
        ([0.55, 0.25, 0.15, 0.05], 4, [1, 1, 1, 1]),
        ([0.5, 0.5], 3, [2, 1]),
        ([0.9, 0.05, 0.05], 2, [2, 0, 0]),
    ],
)
def test_whole_parts_by_shares(shares, count, expected):
    assert apportion(shares, count) == expected


def test_every_option_and_every_stratum_occurs():
    space = space_of(NODES)
    points = [space.decode(latents) for latents in space.design(16, random.Random(0))]
    for point in points:
        space.validate(point)
    names = Counter(point["b.name"] for point in points)
    assert names == {"often": 9, "some": 4, "few": 2, "rare": 1}
    assert Counter(point["b.flag"] for point in points) == {True: 8, False: 8}
    assert Counter(point["a.count"] for point in points) == dict.fromkeys(range(1, 9), 2)
    strata = {int(16 * space.to_unit(point)[0]) for point in points}
    assert strata == set(range(16))


@pytest.mark.parametrize(
    ("taken", "rest", "covered"),
    [
        ("aab", "ca", "ca"),
        ("aa", "bab", "bcb"),  # one of those that are there most often gives way
        ("a", "bbbb", "cbbb"),
        ("", "ab", "ab"),  # each is needed
        ("bc", "", ""),
        ("c", "xx", "bx"),  # another slot of the first option
    ],
)
def test_an_option_that_has_lost_its_place_gets_another(taken, rest, covered):
    rest = list(rest)
    cover([["a", "x"], ["b"], ["c"]], taken, rest)
    assert "".join(rest) == covered


def test_points_that_stand_first_change_nothing_but_what_is_missing():
    space = space_of(NODES)
    whole = space.design(12, random.Random(4))
    assert space.design(12, random.Random(4), taken=whole[:3]) == whole[3:]
    often = [dict(whole[0], **{"b.name": "often#0"})] * 8
    for seed in range(20):
        rest = space.design(12, random.Random(seed), taken=often)
        assert {space.decode(p)["b.name"] for p in rest} >= {"some", "few", "rare"}


def test_conditional_dimensions_are_left_out_where_inactive():
    def inactive(spec):
        return {} if spec["b"]["flag"] else {"a.rate": "flag is off"}

    space = space_of(NODES, inactive=inactive)
    points = space.design(10, random.Random(0))
    assert sum("a.rate" in latents for latents in points) == 5


def test_begins_narrow_in_a_short_search():
    space = space_of(NODES, num_trials=4)
    rates = [latents["a.rate"] for latents in space.for_trial(0).design(50, random.Random(0))]
    assert 1e-4 <= min(rates) < 1.2e-4
    assert 0.8e-2 < max(rates) <= 1e-2


def test_every_point_of_a_space_that_can_be_counted_comes_once():
    def inactive(spec):
        return {} if spec["b"]["flag"] else {"a.count": "flag is off"}

    space = space_of({name: NODES[name] for name in list(NODES)[1:]}, inactive=inactive)
    points = [space.decode(latents) for latents in space.points(random.Random(2))]
    found = Counter((p["b.name"], p["b.flag"], p.get("a.count")) for p in points)
    names = NODES["b.name"]["enum"]
    wanted = [(name, True, count) for name in names for count in range(1, 9)]
    assert found == Counter(wanted + [(name, False, None) for name in names])
    assert [space.decode(p) for p in space.points(random.Random(3))] != points
    assert not list(space_of(NODES).points(random.Random(2))), "a rate is any number"
    grade = {"type": "ordered", "enum": [8, 16], "option_weights": [0.7, 0.3], "default": 8}
    graded = space_of({"a.grade": grade})
    assert sorted(graded.decode(p)["a.grade"] for p in graded.points(random.Random(2))) == [8, 16]
    many = space_of({"a.count": number(1, 10**9, 10**6, kind="int")})
    assert not list(many.points(random.Random(2))), "as good as any number"
