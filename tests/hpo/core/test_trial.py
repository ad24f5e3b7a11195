import pytest

from hpo.core.trial import CONTINUE, Direction, Measurement, Purpose, TrialRecord, TrialState


def record(*values):
    trial = TrialRecord(number=0, state=TrialState.RUNNING, params={}, latents={}, until_epoch=9)
    trial.measurements += [Measurement(epoch=i, value=v) for i, v in enumerate(values, 1)]
    return trial


def test_epochs_are_those_of_the_last_measurement():
    assert record().epochs == 0
    assert record(0.1, 0.2).epochs == 2


@pytest.mark.parametrize(
    ("values", "direction", "epoch"),
    [
        ((0.1, 0.5, 0.5, 0.2), "maximize", 2),
        ((0.3, 0.1, 0.1, 0.2), "minimize", 2),
        ((-1.0,), "maximize", 1),
    ],
)
def test_best_epoch_is_the_earliest_of_equals(values, direction, epoch):
    assert record(*values).best_measurement(direction).epoch == epoch


def test_the_best_is_that_of_all_epochs_so_far_in_either_direction():
    trial, values = record(), [0.3, 0.1, 0.5, 0.5, 0.2]
    for number, value in enumerate(values, 1):
        trial.measurements.append(Measurement(epoch=number, value=value))
        seen = values[:number]
        assert trial.best_measurement("maximize").epoch == seen.index(max(seen)) + 1
        assert trial.best_measurement("minimize").epoch == seen.index(min(seen)) + 1
    trial.measurements = [Measurement(epoch=7, value=0.05)] * len(values)
    assert trial.best_measurement("maximize").epoch == 7


def test_no_epoch_no_best():
    assert record().best_measurement("maximize") is None


def test_only_running_trials_can_go_on():
    assert [s for s in TrialState if not s.is_finished] == [TrialState.RUNNING]
    assert CONTINUE.stop is False


def test_a_sign_makes_more_the_better():
    assert (Direction("maximize").sign, Direction("minimize").sign) == (1.0, -1.0)
    assert max([0.2, 0.1], key=lambda v: Direction.MINIMIZE.sign * v) == 0.1
    assert [direction.best([0.2, -0.3, 0.1]) for direction in Direction] == [0.2, -0.3]


def test_a_finalist_that_is_trained_again_is_a_repeat():
    made = {
        purpose: TrialRecord(
            number=1,
            state=TrialState.RUNNING,
            params={},
            latents={},
            until_epoch=1,
            purpose=purpose,
        )
        for purpose in Purpose
    }
    assert [made[p].is_repeat for p in (Purpose.SEARCH, Purpose.CONFIRM)] == [False, True]
