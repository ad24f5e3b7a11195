import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.config.shape import flatten, overlay, unflatten
from trainer.errors import SpecError

names = st.text("abc", min_size=1, max_size=3)
trees = st.recursive(
    st.integers() | st.lists(st.integers(), max_size=2),
    lambda children: st.dictionaries(names, children, min_size=1, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(names, trees, max_size=3))
def test_flatten_then_unflatten_gives_the_same_tree(tree):
    assert unflatten(flatten(tree)) == tree


def test_dotted_keys_may_stand_inside_a_section():
    assert flatten({"train": {"optim.trunk.base_lr": 1, "seed": 2}}) == {
        "train.optim.trunk.base_lr": 1,
        "train.seed": 2,
    }


def test_list_of_one_mapping_of_sources_counts_as_the_mapping():
    sources = {"reference": "r", "query": "q"}
    expected = {"dataset.val_dataset.reference": "r", "dataset.val_dataset.query": "q"}
    assert flatten({"dataset": {"val_dataset": [sources]}}) == expected
    assert flatten({"dataset.val_dataset": sources}) == expected


def test_list_of_two_mappings_of_sources_stays_for_the_check_to_refuse():
    value = [{"query": "a"}, {"query": "b"}]
    assert flatten({"dataset": {"val_dataset": value}}) == {"dataset.val_dataset": value}


def test_key_given_twice_with_two_values_is_refused():
    with pytest.raises(SpecError, match=r"train\.seed: is given twice, as 1 and 2"):
        flatten({"train.seed": 1, "train": {"seed": 2}})
    assert flatten({"train.seed": 1, "train": {"seed": 1}}) == {"train.seed": 1}


def test_key_that_is_no_name_is_refused():
    with pytest.raises(SpecError, match=r"train\.True: keys must be names"):
        flatten({"train": {True: 1}})


def test_value_with_something_below_it_is_refused():
    with pytest.raises(SpecError, match=r"a\.b: a is a value"):
        unflatten({"a": 1, "a.b": 2})
    with pytest.raises(SpecError, match=r"a: is a section"):
        unflatten({"a.b": 2, "a": 1})


def test_later_layer_wins_key_by_key():
    file = {"dataset": {"val_dataset": {"reference": "r", "query": "q"}}}
    override = {"dataset.val_dataset": {"query": "new"}}
    assert overlay(file, override) == {
        "dataset.val_dataset.reference": "r",
        "dataset.val_dataset.query": "new",
    }
