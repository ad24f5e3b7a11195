import pytest

from hpo.study.sections import DataSources, SearchOptions


@pytest.mark.parametrize("name", ["train", "reference", "query", "folder"])
def test_data_of_the_users_own_are_no_default(name):
    assert not DataSources(**{name: "/data/shelf"}).is_default


def test_what_only_says_how_to_split_leaves_the_default():
    assert DataSources(class_disjoint=True, test_query="/q").is_default


STAGES = {"earlier_stages": {"heads": {"remembered": {"trial 3": {"train.lr": 0.1}}}}}


@pytest.mark.parametrize(
    ("given", "is_on"),
    [
        ({"algorithm": "random"}, True),
        ({"seed": 3}, False),
        ({"seed": 0}, False),
        ({"seed": None}, True),
        ({"seed": 3, "memory": True}, True),
        ({"seed": 3, "remembered": {"trial 3": {"train.lr": 0.1}}}, True),
        ({"seed": 3, "after": ""}, True),
        ({"seed": 3, "after": None}, False),
        ({"seed": 3, **STAGES}, True),
        ({"seed": 3, "earlier_stages": {"heads": None}}, False),
    ],
)
def test_a_seed_that_is_named_switches_memory_off_unless_that_is_named_too(given, is_on):
    assert SearchOptions().updated(given).memory is is_on
    assert SearchOptions(memory=False).updated({"seed": 4}).memory is False


def test_what_a_run_remembers_stays_with_another_seed():
    assert SearchOptions(**STAGES).updated({"seed": 4}).memory


def test_no_stages_means_none_of_the_earlier_ones_either():
    both = {"stages": ("none",), "earlier_stages": {"heads": {}}}
    assert SearchOptions().updated(both).earlier_stages == {}
    kept = {"stages": ("heads", "full"), "earlier_stages": {"heads": {}}}
    assert SearchOptions().updated(kept).earlier_stages == {"heads": {}}


def test_blanks_around_the_names_to_search_are_none_of_the_names():
    assert SearchOptions(over=(" a.x ", "+ a.y", " + a.z")).over == ("a.x", "+a.y", "+a.z")
