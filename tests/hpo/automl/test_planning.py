"""How many trials a plan takes, and which options are fitted to it."""

import pytest

from hpo.automl.planning import plan_request
from hpo.automl.request import Request
from hpo.study.skill import load_skill
from tests.quick_trainer import NAME


@pytest.fixture
def plan(skill, data, tmp_path):
    def go(epochs=None, *, at_end=False, **settings):
        length = {} if epochs is None else {"train.num_epochs": epochs}
        request = Request(
            skill=load_skill(skill), workspace=tmp_path / "ws", overrides=data | length,
            settings={"metric": "kpi"} | settings, trainer=NAME, reports_at_end=at_end,
        )  # fmt: skip
        return plan_request(request)

    return go


@pytest.mark.parametrize(
    ("algorithm", "running", "rungs"),
    [
        # Brackets of 27 epochs by 3: 27@1 9@3 3@9 1@27 | 12@3 4@9 1@27 | 6@9 2@27 | 4@27
        ("hyperband", 27 + 12 + 6 + 4, 1 + 40 + 17 + 8 + 4),
        ("dehb", 1 + 40 + 17 + 8 + 4, 1 + 40 + 17 + 8 + 4),
        ("asha", None, None),
        ("tpe", 20, 20),
    ],
)
def test_an_algorithm_that_ends_itself_is_given_the_trials_that_it_takes(
    plan, algorithm, running, rungs
):
    for at_end, total in ((False, running), (True, rungs)):
        planned = plan(algorithm=algorithm, at_end=at_end)
        assert (planned.facts.total, planned.study.budget.trials) == (total, total)


@pytest.mark.parametrize(
    ("epochs", "given", "total", "members", "interval"),
    [
        (30, {}, 1 + 10 * 8, 10, 4),
        (30, {"automl_eval_interval": 11}, 1 + 10 * 3, 10, 11),
        (30, {"automl_population_size": 7, "automl_max_generations": 3}, 1 + 7 * 3, 7, 4),
        (30, {"automl_max_recommendations": 20}, 20, 6, 10),
        (30, {"automl_max_recommendations": 20, "automl_population_size": 10}, 20, 10, 30),
        (2, {}, 1 + 10 * 2, 10, 1),
    ],
)
def test_a_population_has_room_for_its_generations_or_is_fitted_to_the_trials_that_were_asked_for(
    plan, epochs, given, total, members, interval
):
    planned = plan(epochs, algorithm="pbt", **given)
    assert planned.facts.total == total
    options = planned.study.search.algorithm_options
    assert (options["population_size"], options["eval_interval"]) == (members, interval)
