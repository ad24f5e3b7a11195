"""A workspace of `AutoML` that is opened again with other arguments."""

import pytest

from hpo import AutoML, query_status
from hpo.automl.errors import AutoMLError
from hpo.study.spec import load_study
from tests.quick_trainer import NAME

BEGUN = {"algorithm": "random", "metric": "kpi", "automl_max_recommendations": 3, "seed": 7}
RANGES = {"train.lr": {"valid_min": 0.01, "valid_max": 0.1}}


@pytest.fixture
def open_again(skill, tmp_path):
    def go(settings=BEGUN, **more):
        return AutoML(
            workspace=tmp_path / "ws", network=str(skill), trainer=NAME, settings=settings, **more
        )

    with go() as automl:
        train(automl)
    return go


def train(automl):
    ids = []
    while not automl.is_complete():
        for rec in automl.next_recommendation():
            ids.append(rec.id)
            automl.report_result(rec.id, 0.5 - 0.01 * rec.id)
    return ids


@pytest.mark.parametrize("settings", [BEGUN, {}, None, {"metric": "kpi"}])
def test_what_is_not_given_is_as_it_was_begun(open_again, settings):
    with open_again(settings) as automl:
        assert automl.is_complete()
        assert [rec.id for rec in automl.get_history()] == [0, 1, 2]


def test_a_larger_number_extends_the_workspace(open_again, tmp_path):
    with open_again({"automl_max_recommendations": 5}) as automl:
        assert not automl.is_complete()
        assert train(automl) == [3, 4]
    progress = query_status(tmp_path / "ws")["progress"]
    assert (progress["completed"], progress["total"]) == (5, 5)
    assert load_study(tmp_path / "ws" / "study.yaml").budget.trials == 5
    with open_again({"automl_max_recommendations": 5}) as automl:
        assert automl.is_complete()


@pytest.mark.parametrize(
    ("settings", "more", "told"),
    [
        ({"algorithm": "bayesian"}, {}, "begun with random, got bayesian"),
        ({"metric": "loss"}, {}, "begun for 'val_precision_at_1', got 'loss'"),
        ({"seed": 8}, {}, "begun with seed 7, got 8"),
        ({"confirm": 2}, {}, "begun with confirm 0, got 2"),
        ({"direction": "minimize"}, {}, "begun to maximize 'val_precision_at_1', got minimize"),
        ({}, {"train_specs": {"train.num_epochs": 2}}, "spec has changed"),
        ({}, {"automl_hyperparameters": ["train.lr"]}, "search space has changed"),
        ({}, {"custom_param_ranges": RANGES}, "search space has changed"),
    ],
)
def test_what_would_be_another_search_is_refused_in_one_line(open_again, settings, more, told):
    with pytest.raises(AutoMLError, match=told) as caught:
        open_again(BEGUN | settings, **more)
    assert "\n" not in str(caught.value)
    with open_again() as automl:  # nothing is held or changed
        assert automl.is_complete()
