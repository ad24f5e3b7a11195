import math

import pytest

from hpo.core.trial import OVER_LIMIT, Measurement, TrialRecord, TrialState
from hpo.core.trial_failures import (
    INFEASIBLE,
    MAX_RETRIES,
    Retries,
    describe_failure,
    describe_not_finite,
    is_infeasible,
    shared_cause,
)


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


def test_the_order_is_that_of_the_ends_whatever_the_clock_says():
    ended = [trial(1, 9.0), trial(3, 8.0, "a"), trial(2, 7.0, "a"), trial(0, 1.0, "a")]
    assert shared_cause(ended) == "a"
    assert shared_cause([*ended[1:], ended[0]]) == ""


def test_a_cause_is_the_same_whichever_trials_folder_it_names():
    words = [f"PermissionError: /runs/x/trials/000{n}/ckpt" for n in range(3)]
    assert shared_cause([trial(n, float(n), w, "data") for n, w in enumerate(words)]) == words[-1]
    kinds = [("data", "gone"), ("code", "gone"), ("data", "gone")]
    assert shared_cause([trial(n, float(n), m, k) for n, (k, m) in enumerate(kinds)]) == ""


@pytest.mark.parametrize("kind", sorted(INFEASIBLE))
def test_parameters_that_cannot_be_trained_end_only_a_search_without_any_result(kind):
    lost = [trial(n, float(n), f"tried to allocate {n} GiB", kind) for n in range(3)]
    assert shared_cause(lost) == "tried to allocate 2 GiB"
    fine = trial(9, 9.0)
    fine.value = 0.5
    assert shared_cause([fine, *lost]) == ""


def test_a_lost_trial_is_started_again_while_it_gets_on():
    record, retries = trial(0, None), Retries()
    for epoch in (1, 2, 3, 4, 5):
        record.measurements = [Measurement(epoch=epoch, value=0.1)]
        assert retries.allow(record)
    assert [retries.allow(record) for _ in range(MAX_RETRIES)] == [True, False]
    assert retries.allow(trial(1, None))  # another trial has its own count


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_metric_that_is_no_number_says_which(value):
    said = describe_not_finite(Measurement(epoch=4, value=value))
    assert said == {
        "kind": "diverged", "message": f"the metric of epoch 4 is {value}, not a number",
    }  # fmt: skip


def test_nothing_but_refused_proposals_is_a_cause_of_its_own():
    fine, refused = trial(0, 0.0), [trial(n, 1.0, "2 ms", OVER_LIMIT) for n in range(1, 502)]
    fine.value = 0.5
    cause = "the last 500 proposals were refused, the newest by: 2 ms"
    assert shared_cause([fine, *refused[:499]]) == ""
    assert shared_cause([fine, *refused[:500]]) == cause
    assert shared_cause([*refused, fine]) == ""
    assert is_infeasible(refused[0])
    assert not is_infeasible(trial(0, 0.0, "m", "data"))


def test_a_package_that_is_missing_is_told_with_what_to_install():
    told = describe_failure(ModuleNotFoundError("No module named 'onnx'", name="onnx"))
    assert told["message"].startswith("onnx is not installed; pip install 'hpo-recognition")
    other = describe_failure(ModuleNotFoundError("No module named 'theirs'", name="theirs"))
    assert other["message"] == "ModuleNotFoundError: No module named 'theirs'"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), "out_of_memory"),
        (RuntimeError("CUDA error: out of memory"), "out_of_memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling it"), "out_of_memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), "out_of_memory"),
        (RuntimeError("CUDA error: device-side assert triggered"), "code"),
        (ValueError("out of memory"), "code"),
    ],
)
def test_what_is_said_of_memory_is_its_cause(error, kind):
    assert describe_failure(error)["kind"] == kind
