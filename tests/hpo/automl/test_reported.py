"""`report_result`: what is wrong is refused in one line, and the configuration still waits."""

import contextlib

import numpy as np
import pytest
import torch

from hpo import AutoML
from hpo.automl.errors import AutoMLError
from hpo.automl.recommendation import JobStates
from tests.hpo.automl.conftest import make_skill
from tests.hpo.automl.contract.test_objectives import SCHEMA, TWO
from tests.quick_trainer import NAME

EPOCHS = 7
SETTINGS = {"algorithm": "random", "automl_max_recommendations": 4, "automl_max_concurrent": 2}


@contextlib.contextmanager
def two_waiting(folder):
    """Two configurations wait, 0 and 1."""
    settings = SETTINGS | {"metric": "kpi"}
    specs = {"train.num_epochs": EPOCHS}
    skill = str(make_skill(folder / "skill"))
    with AutoML(folder / "ws", skill, specs, settings, trainer=NAME) as made:
        assert [rec.id for rec in made.next_recommendation()] == [0, 1]
        yield made


@pytest.fixture
def automl(tmp_path):
    with two_waiting(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def refusing(tmp_path_factory):
    """One search for all that is refused: after it all, both configurations still take a value."""
    with two_waiting(tmp_path_factory.mktemp("refusing")) as made:
        yield made
        made.report_result(1, 0.5, best_epoch=5)
        made.report_result(0, 0.25)
        assert (made.get_best().id, made.get_best().metric_value) == (1, 0.5)


@pytest.fixture
def bare(tmp_path):
    """A configuration of a network without epochs and with two objectives waits."""
    settings = SETTINGS | {"objectives": TWO}
    with AutoML(tmp_path / "ws", "forest", {}, settings, search_schema=SCHEMA) as made:
        made.next_recommendation()
        yield made


def demand_refusal(automl, says, *given, **more):
    before = [(rec.id, rec.status) for rec in automl.get_history()]
    with pytest.raises(AutoMLError, match=says) as caught:
        automl.report_result(*given, **more)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
    assert automl.get_status()["active_rec_ids"] == [0, 1]
    assert [(rec.id, rec.status) for rec in automl.get_history()] == before


@pytest.mark.parametrize(
    "epoch",
    ["x", "3", float("nan"), float("inf"), -1, 0, 1.5, EPOCHS + 1, True, [1], 10**400, b"1"],
    ids=lambda value: repr(value)[:12],
)
def test_a_best_epoch_that_is_none_is_refused(refusing, epoch):
    says = f"best_epoch: must be a whole number from 1 to {EPOCHS}, got "
    demand_refusal(refusing, says, 1, 0.5, best_epoch=epoch)


@pytest.mark.parametrize("epoch", [1, EPOCHS, 3.0, np.int64(2), None])
def test_a_best_epoch_of_the_trial_is_taken(automl, epoch):
    automl.report_result(0, 0.5, best_epoch=epoch)
    (measured,) = automl._ledger.trial(0).measurements
    assert measured.metrics.get("best_epoch") == epoch


def test_where_only_the_caller_knows_epochs_any_best_epoch_is_taken(bare):
    demand_refusal(bare, "of at least 1, got 0", 0, {"accuracy": 1, "latency": 2}, best_epoch=0)
    bare.report_result(0, {"accuracy": 1, "latency": 2}, best_epoch=400)
    assert bare.get_best().id == 0


@pytest.mark.parametrize("status", ["sucess", "", None, "pending", "running", 3, ["success"], True])
def test_an_unknown_status_is_refused(refusing, status):
    hint = "did you mean 'success'" if status == "sucess" else ""
    demand_refusal(
        refusing, f"status: must be success or failure, got .*{hint}", 0, 0.5, None, status
    )


@pytest.mark.parametrize(
    "status", ["success", "SUCCESS", "Done", "complete", "completed", "succeeded", JobStates.done]
)
def test_a_good_word_keeps_the_value(automl, status):
    automl.report_result(1, 0.75, status=status)
    assert automl.get_best().metric_value == 0.75


@pytest.mark.parametrize(
    "status", ["failure", "Failed", "error", "canceled", "cancelled", "stopped", "terminated"]
)
def test_a_bad_word_ends_the_trial_as_failed(automl, status):
    automl.report_result(1, 0.75, status=status)
    rec = automl.get_history()[1]
    assert (rec.status, rec.failure_reason) == ("failure", f"reported as {status.lower()}")


@pytest.mark.parametrize(
    "number", [True, False, 0.0, "0", None, [0], {}, -1, 99, float("nan"), 10**5000],
    ids=lambda value: repr(value)[:12] if not isinstance(value, int) or value < 100 else "huge",
)  # fmt: skip
def test_what_is_no_id_is_refused(refusing, number):
    demand_refusal(refusing, "is not waiting for a result; these are: 0, 1", number, 0.5)


def test_an_id_of_numpy_is_one(automl):
    automl.report_result(np.int64(1), 0.5)
    assert automl.get_best().id == 1


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (True, "must be a number"),
        (np.True_, "must be a number"),
        (torch.tensor(True), "must be a number"),
        ("abc", "must be a number, or None where there is none, got 'abc'"),
        ("", "must be a number"),
        ([0.5], "must be a number"),
        (b"1", "must be a number"),
        (1 + 2j, "must be a number"),
        (np.ones((3, 3)), "must be a number"),
        (10**400, "too large"),
        (10**5000, "too large"),
        ({}, "must be a number, or name 'val_precision_at_1'"),
        ({"bogus": 3}, "name 'val_precision_at_1', got a mapping"),
        ({"val_precision_at_1": True}, "must be a number"),
        ({"score": "x"}, "must be a number"),
    ],
    ids=lambda value: repr(value)[:12] if not isinstance(value, int) else type(value).__name__,
)
def test_a_value_of_a_wrong_type_is_refused(refusing, value, says):
    demand_refusal(refusing, f"^value: .*{says}", 0, value)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (np.float32(0.5), 0.5),
        (torch.tensor(0.25), 0.25),
        ("0.7", 0.7),
        (1, 1.0),
        ({"val_precision_at_1": 0.3}, 0.3),
        ({"metric_value": 0.4, "other": "x"}, 0.4),
    ],
)
def test_a_number_is_taken_in_any_form(automl, value, kept):
    automl.report_result(0, value)
    assert automl.get_best().metric_value == kept


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), {"score": None}])
def test_a_value_that_says_there_is_none_fails_the_trial(automl, value):
    automl.report_result(0, value)
    assert automl.get_history()[0].status == "failure"


def test_several_objectives_lack_one_or_are_all_strange(bare):
    demand_refusal(bare, "name 'accuracy', 'latency', got a mapping", 0, {"acuracy": 1})
    bare.report_result(0, {"accuracy": 1})
    rec = bare.get_history()[0]
    assert (rec.status, rec.failure_reason) == ("failure", "metric not found: 'latency'")
