import pytest

from hpo.core.event_json import to_plain
from hpo.core.trial import OVER_LIMIT, Measurement, TrialRecord, TrialState
from hpo.core.trial_row import TrialRow


def record(state, *values, **facts):
    made = TrialRecord(
        number=3, state=state, params={"train.lr": 0.1}, latents={}, until_epoch=9, **facts
    )
    made.measurements = [Measurement(epoch=e, value=v) for e, v in enumerate(values, 1)]
    return made


@pytest.mark.parametrize(
    ("state", "direction", "value", "best_epoch"),
    [
        (TrialState.COMPLETE, "maximize", 0.4, 2),
        (TrialState.RUNNING, "minimize", 0.1, 3),
        (TrialState.FAILED, "maximize", None, 2),
    ],
)
def test_a_row_shows_the_best_epoch_and_a_failed_trial_no_value(
    state, direction, value, best_epoch
):
    row = TrialRow.of(record(state, 0.2, 0.4, 0.1), direction)
    assert (row.trial, row.value, row.best_epoch, row.epoch) == (3, value, best_epoch, 3)
    assert row.params == {"train.lr": 0.1}


def test_a_trial_without_an_epoch():
    row = TrialRow.of(record(TrialState.RUNNING, start_from=(1, 4)), "maximize")
    assert (row.value, row.best_epoch, row.epoch) == (None, None, 4)
    assert to_plain(row)["start_from"] == [1, 4]


def test_a_trial_over_a_limit_is_refused():
    facts = {"error": {"kind": OVER_LIMIT, "message": "2 ms are allowed"}}
    assert TrialRow.of(record(TrialState.FAILED, **facts), "maximize").is_refused
    facts = {"error": {"kind": "data", "message": "gone"}}
    assert not TrialRow.of(record(TrialState.FAILED, **facts), "maximize").is_refused
