from dataclasses import replace

import pytest

from hpo.algorithms.for_study import algorithm_seed, build_algorithm
from hpo.core.budget import Budget
from hpo.core.trial import Suggestion
from hpo.searching.make_plan import plan_study
from hpo.study.sections import SearchOptions
from hpo.study.stages import StageSpec, stage_study
from tests.quick_runs import quick_space, quick_study
from tests.quick_trainer import TRAINER


def proposals(count, *, seed=3, budget=20, options=(), **changes):
    study = quick_study(budget=Budget(trials=budget))
    search = replace(study.search, algorithm="random", seed=seed, algorithm_options=dict(options))
    study = replace(study, search=search)
    plan = replace(plan_study(study, TRAINER), **changes)
    algorithm = build_algorithm(study, plan, TRAINER, quick_space(study))
    return [algorithm.ask(number) for number in range(count)]


def test_the_studys_seed_decides_and_the_default_comes_first():
    first = proposals(4)
    assert all(isinstance(suggestion, Suggestion) for suggestion in first)
    assert [s.params for s in first] == [s.params for s in proposals(4)]
    other = proposals(4, seed=4)
    assert first[0].params == other[0].params
    assert first[1].params != other[1].params


def test_configurations_from_before_come_next_and_change_what_is_drawn():
    earlier = proposals(3)[2].latents
    after = proposals(3, first=[{"latents": earlier, "source": "a run"}])
    assert after[1].latents == earlier
    assert after[2].params != proposals(3)[2].params


def test_behind_other_searches_others_are_drawn_also_where_they_taught_nothing():
    def seed(after, *first):
        return algorithm_seed(SearchOptions(seed=3, after=after), [{"latents": p} for p in first])

    assert seed(None) == seed("") == 3
    found = [
        seed("a/1"),
        seed("a/2"),
        seed(None, {"x": 1}),
        seed(None, {"x": 2}),
        seed("a/1", {"x": 1}),
    ]
    assert len({3, *found}) == 6
    assert found[0] == seed("a/1")


def test_without_memory_a_study_is_behind_no_other_search_in_any_stage():
    """Also one from the file of a run that was behind another one."""
    for memory in (True, False):
        study = quick_study(search=SearchOptions(seed=3, after="a/1", memory=memory))
        stage = stage_study(study, StageSpec(over=("train.lr",)))
        seeds = {algorithm_seed(one.search, []) for one in (study, stage)}
        assert len(seeds) == 1
        assert (seeds == {3}) is not memory


@pytest.mark.parametrize("stale", [{}, {"train.lr": "adam", "train.margin": 0.3, "train.width": 9}])
def test_configurations_that_a_changed_space_does_not_know_are_passed_over(stale):
    good = proposals(3)[2].latents
    first = [{"latents": latents, "source": "a run"} for latents in (stale, good)]
    after = proposals(4, first=first)
    assert after[1].latents == good


def test_the_rungs_of_the_automl_route_are_trials_of_their_own():
    facts = {"algorithm": "hyperband", "pruner": "none", "num_epochs": 27}
    assert {s.until_epoch for s in proposals(5, **facts)} == {27}
    assert proposals(2, **facts, route_style="rungs")[1].until_epoch < 27


@pytest.mark.parametrize(("route_style", "given"), [("running", 6), (None, 4)])
def test_a_limit_of_the_automl_route_follows_its_budget_and_a_users_own_stays(route_style, given):
    options = {"max_recommendations": 4}
    found = proposals(7, budget=6, options=options, route_style=route_style)
    assert sum(suggestion is not None for suggestion in found) == given
