import json
import math
from pathlib import Path

import numpy as np
import pytest

from hpo.core.reports import ReportError, checked_report, to_measurement
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


def test_a_report_of_a_library_s_numbers_is_one_of_plain_ones():
    payload = {
        "epoch": np.int64(3), "value": np.float32(0.5), "metrics": {"loss": np.float32(2)},
        "seconds": None, "receipt": {"applied": {"a": 1}}, "checkpoint": Path("ckpt/a"), "replayed": True,
    }  # fmt: skip
    found = checked_report(payload)
    assert json.loads(json.dumps(found)) == {
        **payload, "epoch": 3, "value": 0.5, "metrics": {"loss": 2.0}, "seconds": 0.0,
        "checkpoint": "ckpt/a",
    }  # fmt: skip
    assert checked_report({"epoch": 1, "value": None})["value"] is None
    assert math.isnan(checked_report({"epoch": 1, "value": math.nan})["value"])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"epoch": ...}, "report: epoch: is missing"),
        ({"value": ...}, "report: value: is missing"),
        ({"epoch": None}, "report: epoch: must be a number, got nothing"),
        ({"epoch": "3"}, "report: epoch: must be a number, got '3'"),
        ({"epoch": 0}, "report: epoch: must be 1 or more, got 0"),
        ({"epoch": 1.5}, "report: epoch: must be 1 or more, got 1.5"),
        ({"value": "0.5"}, "report: value: must be a number, got '0.5'"),
        ({"value": [1, 2]}, "report: value: must be a number, got a list"),
        ({"seconds": "x"}, "report: seconds: must be a number, got 'x'"),
        ({"seconds": -1}, "report: seconds: must be 0 or more, got -1"),
        ({"seconds": math.nan}, "report: seconds: must be 0 or more, got nan"),
        ({"metrics": [1]}, "report: metrics: must map names to numbers, got a list"),
        ({"metrics": {"loss": object}}, "report: metrics.loss: must be a number, got "),
        ({"metrics": {"loss": None}}, "report: metrics.loss: must be a number, got nothing"),
        ({"receipt": 5}, "receipt: must be a mapping, and its `applied` too, got 5"),
        ({"receipt": {"applied": [1]}}, "receipt: must be a mapping, and its `applied` too"),
        ({"receipt": {"file": object}}, "receipt: must hold what JSON can: "),
    ],
)
def test_the_key_that_is_wrong_is_named(changes, says):
    payload = {"epoch": 1, "value": 0.5} | changes
    with pytest.raises(ReportError) as caught:
        checked_report({key: value for key, value in payload.items() if value is not ...})
    assert str(caught.value).startswith(says)


@pytest.mark.parametrize("payload", [None, 0.5, [1]])
def test_what_is_no_mapping_is_no_report(payload):
    with pytest.raises(ReportError, match="report: must be called with a mapping, got "):
        checked_report(payload)
