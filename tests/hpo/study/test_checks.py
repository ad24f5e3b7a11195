from dataclasses import replace

import pytest

from hpo.core.errors import SpecError
from hpo.study.checks import check_count, check_name, check_search, check_sources
from hpo.study.spec import DataSources, SearchOptions


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": -1}, "s.seed: must be at least 0, got -1"),
        ({"seed": 2**32}, "s.seed: must be at most 4294967295, got 4294967296"),
        ({"confirm": 1001}, "s.confirm: must be at most 1000, got 1001"),
        (
            {"until_converged": -0.5},
            "s.until_converged: must be a number of minutes, 0 or more, got -0.5",
        ),
        ({"until_converged": float("inf")}, "s.until_converged: must be a number of minutes"),
        ({"over": ("a", "+ ")}, "s.over: must be a list of names, got an empty one in it"),
        ({"max_latency": "fast"}, "s.max_latency: "),
        (
            {"stages": ("full",), "earlier_stages": {"heads": {}}},
            "s.stages: must be heads, full where earlier_stages holds those before the last, got",
        ),
    ],
)
def test_numbers_that_no_search_can_go_by(changes, said):
    with pytest.raises(SpecError) as caught:
        check_search(replace(SearchOptions(), **changes), "s.")
    assert str(caught.value).startswith(said)


def test_a_key_is_spelt_as_the_user_wrote_it():
    with pytest.raises(SpecError, match="^--until-converged: must be"):
        check_search(
            replace(SearchOptions(), until_converged=-1.0),
            "",
            lambda key: f"--{key.replace('_', '-')}",
        )


def test_what_can_be_searched_by_passes():
    check_search(replace(SearchOptions(), seed=2**32 - 1, confirm=3, until_converged=0.0), "s.")
    check_count(None, "n", least=1, most=2)


@pytest.mark.parametrize("name", ["", ".x", "a/b", "a\nb", "x" * 201, "ä" * 101])
def test_names_that_cannot_be_folders(name):
    with pytest.raises(SpecError, match="^name: must be usable as a folder name"):
        check_name(name, "name")
    check_name("ä" * 100, "name")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"train": "/t", "query": "/q"}, "reference missing"),
        ({"folder": "/f", "train": "/t"}, "either one folder to split or the splits"),
        ({"folder": "/f", "test_query": "/q"}, "either one folder to split or the splits"),
        ({"test_query": "/q"}, "test_query needs train, reference and query"),
        ({"class_disjoint": True}, "class_disjoint: only applies when one folder is split"),
    ],
)
def test_half_given_data(given, said):
    with pytest.raises(SpecError, match=said):
        check_sources(DataSources(**given))


def test_which_splits_belong_together_depends_on_what_looks_at_them():
    pair = ("reference", "query")
    check_sources(DataSources(reference="/r", query="/q"), needed=pair)
    with pytest.raises(SpecError, match="^data: reference missing; reference and query belong"):
        check_sources(DataSources(query="/q"), needed=pair)
    check_sources(DataSources(test_query="/q", group_by="x"), needed=())


def test_whole_data_pass():
    check_sources(DataSources())
    check_sources(DataSources(folder="/f", class_disjoint=True))
    check_sources(DataSources(train="/t", reference="/r", query="/q", test_query="/tq"))
