import pytest

from search_spaces import RangeError
from search_spaces.ordering import parents_first


def test_parents_come_first_and_nothing_else_moves():
    assert parents_first(list("dcba"), {}) == list("dcba")
    assert parents_first(list("abc"), {"a": "b", "b": "c"}) == ["c", "b", "a"]
    assert parents_first(list("abc"), {"a": ["elsewhere"]}) == ["a", "b", "c"]


def test_soft_parents_come_first_where_they_can():
    assert parents_first(list("ab"), {}, {"a": "b"}) == ["b", "a"]
    assert parents_first(list("ab"), {"b": "a"}, {"a": "b"}) == ["a", "b"]
    assert sorted(parents_first(list("abc"), {}, {"a": "b", "b": "c", "c": "a"})) == list("abc")


def test_cycle_is_named():
    with pytest.raises(RangeError, match="b -> c -> b: each is bounded by the next"):
        parents_first(list("abc"), {"a": "b", "b": "c", "c": "b"})
