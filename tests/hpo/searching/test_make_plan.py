import pytest

from hpo.core.errors import SpecError
from hpo.searching.make_plan import plan_study
from hpo.study.sections import SearchOptions
from tests.quick_runs import quick_study
from tests.quick_trainer import TRAINER, QuickTrainer


class Seedless(QuickTrainer):
    """Has no seed in its spec."""

    seed_key = ""


@pytest.mark.parametrize(
    ("search", "spec", "seed"),
    [
        ({"seed": 0}, {}, 0),
        ({"seed": 7}, {"train.lr": 0.1}, 7),
        ({"seed": 7}, {"train.seed": 5}, 5),
        ({"seed": 7}, {"train": {"seed": -1}}, -1),
        ({"seed": 7, "fix": {"train.seed": 6}}, {}, 6),
        ({}, {}, TRAINER.validate({})["train"]["seed"]),
    ],
)
def test_a_seed_that_is_named_is_the_trainings_too_unless_they_have_one(search, spec, seed):
    study = quick_study(spec, search=SearchOptions(**search))
    assert plan_study(study, TRAINER).base_spec["train"]["seed"] == seed


def test_nothing_is_confirmed_where_there_is_no_other_seed_to_train_with():
    study = quick_study(search=SearchOptions(confirm=2))
    for route_style in (None, "running"):
        with pytest.raises(
            SpecError, match=r"^confirm: must be 0 for quick, .* no seed.*, got 2; "
        ):
            plan_study(study, Seedless(), route_style=route_style)
        assert plan_study(study, TRAINER, route_style=route_style).confirm == 2


def test_other_trainings_have_no_seed_of_the_search():
    study = quick_study(search=SearchOptions(seed=7))
    default = TRAINER.validate({})["train"]["seed"]
    assert plan_study(study, Seedless()).base_spec["train"]["seed"] == default
    route = plan_study(study, TRAINER, route_style="running")
    assert route.base_spec["train"]["seed"] == default


@pytest.mark.parametrize("method", ["validate", "data_overrides", "limits", "inspect_data"])
def test_a_method_of_a_trainer_that_returns_nothing_is_named(monkeypatch, method):
    trainer = QuickTrainer()
    monkeypatch.setattr(trainer, method, lambda *_: None)
    with pytest.raises(SpecError, match=f"^trainer quick: {method} must return a mapping, got no"):
        plan_study(quick_study(), trainer)
