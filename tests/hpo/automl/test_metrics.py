"""Metrics by name: kpi, direction, and values in tables and logs."""

import math

import pytest

from hpo.automl.errors import AutoMLError
from hpo.automl.metrics import (
    find_in_log,
    is_monitored,
    monitoring_metrics,
    resolve_direction,
    resolve_metric,
)
from hpo.study.skill import Skill, load_skill
from hpo.study.trainers import find_trainer
from tests.hpo.automl.foreign import make_foreign_skill


def test_29_kpi_is_the_models_own_metric(tmp_path, skill):
    assert resolve_metric("kpi", load_skill(skill)) == "val_precision_at_1"
    assert resolve_metric("KPI", load_skill(skill)) == "val_precision_at_1"
    assert resolve_metric("accuracy", load_skill(skill)) == "accuracy"
    nothing = load_skill(make_foreign_skill(tmp_path / "foreign", metric=""))
    with pytest.raises(ValueError, match="'kpi' is the metric that the model defines, but .* none"):
        resolve_metric("kpi", nothing)


def test_29_a_page_states_the_metric_where_the_metadata_do_not(tmp_path):
    (tmp_path / "SKILL.md").write_text(
        "# A model\n\n- **Dataset type:** x\n- **Monitoring metric:** val Precision at Rank 1\n"
    )
    page = Skill(path=tmp_path, info={"network_arch": "x"})
    assert monitoring_metrics(page) == ["val Precision at Rank 1"]


def test_29_a_list_means_the_first_one(tmp_path):
    skill = Skill(path=tmp_path, info={"metrics": {"monitoring_metric": ["a", "b"]}})
    assert resolve_metric("kpi", skill) == "a"


def test_29_the_registered_recognition_trainer_is_judged_by_precision_at_rank_1(tmp_path):
    trainer = find_trainer("ml_recog")
    bare = Skill(path=tmp_path, info={"network_arch": "ml_recog"})
    metric = resolve_metric("kpi", bare, trainer)
    assert metric == "val Precision at Rank 1"
    assert resolve_direction(metric, None) == ("maximize", "")
    assert is_monitored(metric, trainer, [])
    assert is_monitored("val_precision_at_1", trainer, [])
    assert not is_monitored("train_loss", trainer, [])


@pytest.mark.parametrize(
    ("metric", "direction", "expected"),
    [
        ("train_loss", None, "minimize"),
        ("Loss", None, "minimize"),
        ("val/avg_loss", "", "minimize"),
        ("acc", None, "maximize"),
        ("train_loss", "maximize", "maximize"),
        ("acc", "Minimize", "minimize"),
    ],
)
def test_30_direction_follows_the_name_unless_it_is_given(metric, direction, expected):
    assert resolve_direction(metric, direction) == (expected, "")


@pytest.mark.parametrize("metric", ["rmse", "val mae", "FID", "eer@1"])
def test_30_names_that_sound_like_errors_are_warned_about(metric):
    direction, warning = resolve_direction(metric, None)
    assert direction == "maximize"
    assert metric in warning
    assert resolve_direction(metric, "minimize") == ("minimize", "")


@pytest.mark.parametrize("metric", ["confidence", "mirror", "terror_recall_x"])
def test_30_other_names_are_not(metric):
    assert resolve_direction(metric, None)[1] == ""


def test_30_another_direction_is_an_error():
    with pytest.raises(AutoMLError, match="direction: must be minimize or maximize, got 'up'"):
        resolve_direction("acc", "up")


@pytest.mark.parametrize(
    ("log", "name", "value"),
    [
        ("val acc: 0.5\nval acc: 0.75\n", "val acc", 0.75),
        ("x acc=1e-3, loss = .25", "loss", 0.25),
        ("val Precision at Rank 1: 0.4714", "val Precision at Rank 1", 0.4714),
        ('{"mAP(50)": 0.31}', "mAP(50)", 0.31),
        ("train_loss: 3.0\nloss: 1.0\nval_loss: 2.0", "loss", 1.0),
        ("score: -0.5", "score", -0.5),
        ("acc: high", "acc", None),
        ("accuracy: 0.5", "acc", None),
        ("", "acc", None),
        ("\x1b[32mval_acc: 0.9\x1b[0m", "val_acc", 0.9),
        ("val_acc: \x1b[1;32m0.25\x1b[0m", "val_acc", 0.25),
        ("\x1b[2K\rval_acc\x1b[38:5:1m =\x1b[m 0.75", "val_acc", 0.75),
        ("Final val_acc: 0.93.", "val_acc", 0.93),
        ("val_acc: 0.93. Done", "val_acc", 0.93),
        ("{'val_acc': '0.5'}", "val_acc", 0.5),
        ('{"val_acc": "0.5"}', "val_acc", 0.5),
        ("val_acc: 1,234.5", "val_acc", None),
        ("val_acc: 0,93", "val_acc", None),
        ("val_acc: 0.5,0.75", "val_acc", 0.5),
        ("val_acc: 3, loss: 2", "val_acc", 3.0),
        ("val_acc: 1.2.3", "val_acc", None),
        ("val_acc: 12e2,3", "val_acc", 1200.0),
    ],
)
def test_the_last_value_of_a_literal_name_is_found_in_a_log(log, name, value):
    assert find_in_log(log, name) == value


def test_a_value_that_is_no_number_is_found_as_such():
    assert math.isnan(find_in_log("acc: nan", "acc"))
