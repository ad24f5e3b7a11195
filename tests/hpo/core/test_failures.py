import math

import pytest

from hpo.core.failures import describe_not_finite, shared_cause
from hpo.core.trial import Measurement, TrialRecord, TrialState


def trial(number, ended, message=None, kind="code"):
    record = TrialRecord(
        number=number, state=TrialState.FAILED if message else TrialState.COMPLETE,
        params={}, latents={}, until_epoch=9, ended=ended,
    )  # fmt: skip
    record.error = {"kind": kind, "message": message} if message else None
    return record


@pytest.mark.parametrize(
    ("messages", "cause"),
    [
        (["a", "a", "a"], "a"),
        (["b", "a", "a", "a"], "a"),
        (["a", "a"], ""),
        (["a", "a", "b"], ""),
        (["a", "a", "a", None], ""),
        ([None, None, None], ""),
        ([], ""),
    ],
)
def test_three_in_a_row_share_a_cause(messages, cause):
    assert shared_cause([trial(n, float(n), m) for n, m in enumerate(messages)]) == cause


def test_the_order_is_that_of_the_ends_and_running_trials_do_not_count():
    trials = [trial(0, 9.0, "a"), trial(1, 1.0), trial(2, 8.0, "a"), trial(3, 7.0, "a")]
    assert shared_cause([*trials, trial(4, None)]) == "a"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_metric_that_is_no_number_says_which(value):
    said = describe_not_finite(Measurement(epoch=4, value=value))
    assert said == {
        "kind": "diverged", "message": f"the metric of epoch 4 is {value}, not a number",
    }  # fmt: skip
