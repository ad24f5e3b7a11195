import pytest

from hpo.study.sections import DataSources


@pytest.mark.parametrize("name", ["train", "reference", "query", "folder"])
def test_data_of_the_users_own_are_no_default(name):
    assert not DataSources(**{name: "/data/shelf"}).is_default


def test_what_only_says_how_to_split_leaves_the_default():
    assert DataSources(class_disjoint=True, test_query="/q").is_default
