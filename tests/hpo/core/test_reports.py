import pytest

from hpo.core.reports import to_measurement
from hpo.core.trial import Measurement


def test_a_full_report():
    payload = {
        "epoch": 3, "value": 1, "metrics": {"loss": 2}, "seconds": 4, "checkpoint": "ckpt/a.ckpt",
        "receipt": {}, "replayed": False,
    }  # fmt: skip
    assert to_measurement(payload, seconds=99.0) == Measurement(
        epoch=3, value=1.0, metrics={"loss": 2.0}, seconds=4.0, checkpoint="ckpt/a.ckpt"
    )


@pytest.mark.parametrize("more", [{}, {"seconds": None, "metrics": None, "checkpoint": None}])
def test_what_a_report_may_leave_out(more):
    measurement = to_measurement({"epoch": 1, "value": 0.5, **more}, seconds=7.0)
    assert measurement == Measurement(epoch=1, value=0.5, seconds=7.0)


@pytest.mark.parametrize(("elapsed", "seconds"), [(3.0, 3.0), (8.0, 7.0)])
def test_waiting_for_a_worker_is_no_time_of_an_epoch(elapsed, seconds):
    payload = {"epoch": 1, "value": 0.5, "elapsed_s": elapsed}
    assert to_measurement(payload, seconds=7.0).seconds == seconds
    assert to_measurement(payload | {"seconds": 2.0}, seconds=7.0).seconds == 2.0


def test_checkpoints_are_kept_below_the_trials_folder():
    payload = {"epoch": 1, "value": 0.5, "checkpoint": "/some/run/trials/0003/ckpt/last.ckpt"}
    assert to_measurement(payload, seconds=0.0).checkpoint == "ckpt/last.ckpt"
