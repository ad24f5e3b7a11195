"""Checks 10 to 29: the result, baseline and final evaluation, the caller's functions."""

import json
from pathlib import Path

import pytest

from tests.hpo.automl.contract.pretended import Sdk


def test_10_all_stable_keys(go):
    result = go()
    assert {"best", "progress", "baseline", "final_evaluation", "history"} <= set(result)
    assert {"rec_id", "specs", "metric_value", "objective_score", "objective_values",
            "adjustments"} <= set(result["best"])  # fmt: skip
    assert {"completed", "total", "best_metric", "best_rec_id", "algorithm"} == set(
        result["progress"]
    )
    common = {"enabled", "metric_name", "metric_value", "status"}
    assert common | {"comparison_to_best"} <= set(result["baseline"])
    assert common | {"comparison_to_baseline"} <= set(result["final_evaluation"])
    for entry in result["history"]:
        assert {"rec_id", "metric", "objective_score", "objective_values", "status",
                "failure_reason", "adjustments"} <= set(entry)  # fmt: skip
    assert result["history"][1]["objective_values"] == {"accuracy": 0.51}
    assert "pareto_front" not in result
    assert json.loads(json.dumps(result)) == result


def test_11_baseline_fn_is_asked_once_before_any_job(go):
    sdk, seen = Sdk(), []

    def baseline(specs):
        seen.append((specs["train"]["lr"], specs["train"]["size"], len(sdk.jobs)))
        return 0.4

    result = go(sdk, baseline_fn=baseline, spec_overrides={"train.size": 16})
    assert seen == [(0.01, 16, 0)]
    base = result["baseline"]
    assert (base["status"], base["metric_value"], base["enabled"]) == ("measured", 0.4, True)
    assert base["comparison_to_best"] == {
        "delta": pytest.approx(0.12), "improved": True, "direction": "maximize"
    }  # fmt: skip


def test_11_a_smaller_loss_is_an_improvement(go):
    sdk = Sdk(lambda n: ("Complete", f"val_loss: {2 - n / 10}"))
    result = go(sdk, settings={"metric": "val_loss"}, baseline_fn=lambda specs: 1.5,
                final_eval_fn=lambda rec, job: 1.75)  # fmt: skip
    assert result["best"]["metric_value"] == 1.8
    assert result["baseline"]["comparison_to_best"]["delta"] == pytest.approx(-0.3)
    final = result["final_evaluation"]["comparison_to_baseline"]
    assert final == {"delta": -0.25, "improved": False, "direction": "minimize"}


def test_11_a_baseline_without_a_value(go):
    result = go(baseline_fn=lambda specs: None)
    assert result["baseline"]["status"] == "metric_missing"
    assert result["baseline"]["comparison_to_best"] is None


def test_12_a_baseline_measured_elsewhere(go):
    base = go(settings={"baseline_metric": 0.45})["baseline"]
    assert (base["status"], base["metric_value"]) == ("provided", 0.45)
    assert base["comparison_to_best"]["delta"] == pytest.approx(0.07)


def test_13_without_a_baseline(go):
    base = go(settings={"run_baseline": False}, baseline_fn=lambda specs: 1 / 0)["baseline"]
    assert (base["status"], base["enabled"], base["metric_value"]) == ("skipped", False, None)


def test_14_from_scratch_the_run_goes_on(go):
    result = go()
    assert result["baseline"]["status"] == "unavailable"
    assert "from scratch" in result["baseline"]["failure_reason"]
    assert result["progress"]["completed"] == 3


@pytest.mark.parametrize("how", ["raises", "nan"])
def test_15_a_failing_baseline_stops_unless_it_is_accepted(go, how):
    from hpo.automl.errors import ReviewDeclinedError

    def baseline(specs):
        if how == "raises":
            raise OSError("no disk for it")
        return float("nan")

    sdk = Sdk()
    with pytest.raises(ReviewDeclinedError, match="baseline_fn"):
        go(sdk, baseline_fn=baseline)
    assert sdk.jobs == []
    result = go(sdk, baseline_fn=baseline, accept_no_baseline=True)
    assert result["baseline"]["status"] == "failure"
    assert result["progress"]["completed"] == 3


def test_16_a_number_of_final_eval_fn(go):
    seen = []
    result = go(final_eval_fn=lambda rec, job: seen.append((rec.id, job)) or 0.47,
                settings={"baseline_metric": 0.4})  # fmt: skip
    final = result["final_evaluation"]
    assert seen == [(2, "job-2")]
    assert (final["status"], final["metric_value"]) == ("measured", 0.47)
    assert final["comparison_to_baseline"]["delta"] == pytest.approx(0.07)


def test_17_a_mapping_of_final_eval_fn(go):
    answer = {"metric_value": 0.47, "record_path": "/my/record.json", "samples": 90}
    final = go(final_eval_fn=lambda rec, job: answer)["final_evaluation"]
    assert answer.items() <= final.items()
    assert final["status"] == "measured"


def test_18_a_raising_final_eval_fn(go):
    result = go(final_eval_fn=lambda rec, job: {}["nothing"])
    final = result["final_evaluation"]
    assert (final["status"], final["source"]) == ("callback_error", "final_eval_fn")
    assert "nothing" in final["failure_reason"]
    assert result["best"]["metric_value"] == 0.52


@pytest.mark.parametrize("answer", [None, {}, {"metric_value": None}, True, "0.5x"])
def test_19_a_final_evaluation_without_a_value(go, answer):
    final = go(final_eval_fn=lambda rec, job: answer, trials=1)["final_evaluation"]
    assert (final["status"], final["metric_value"]) == ("metric_missing", None)


def test_20_it_is_never_called_when_it_is_off(go):
    called = []
    result = go(settings={"run_final_evaluation": False},
                final_eval_fn=lambda rec, job: called.append(rec))  # fmt: skip
    assert called == []
    assert result["final_evaluation"]["status"] == "skipped"
    assert result["final_evaluation"]["enabled"] is False


@pytest.mark.parametrize(
    ("settings", "status", "value"),
    [
        ({"final_evaluation": {"metric_value": 0.3, "source": "lab", "n": 4}}, "provided", 0.3),
        ({"final_evaluation_metric": 0.31}, "provided", 0.31),
        ({"reuse_best_metric_for_final_evaluation": True}, "reused_best", 0.52),
    ],
)
def test_21_values_from_elsewhere(go, settings, status, value):
    result = go(settings=settings)
    final = result["final_evaluation"]
    assert (final["status"], final["metric_value"]) == (status, value)
    lines = Path(result["workspace_path"], "events.ndjson").read_text().splitlines()
    (told,) = (event for event in map(json.loads, lines) if event["event"] == "evaluated")
    assert told["split"] == ("validation" if status == "reused_best" else "final")
    assert told["words"] == f"accuracy {value:.4f}"
    assert settings.get("final_evaluation", {}).items() <= final.items()


def test_22_unavailable_with_its_reason(go):
    final = go()["final_evaluation"]
    assert final["status"] == "unavailable"
    assert "final_eval_fn" in final["failure_reason"]


def test_23_record_paths(go, tmp_path):
    result = go(settings={"evaluation_records_dir": str(tmp_path / "records"),
                          "baseline_metric": 0.4, "final_evaluation_metric": 0.5})  # fmt: skip
    for part, name in (("baseline", "ptm_baseline"), ("final_evaluation", "best_automl")):
        file = Path(result[part]["record_path"])
        assert file == tmp_path / "records" / f"{name}.json"
        kept = json.loads(file.read_text())
        assert kept["metric_value"] == result[part]["metric_value"]
    told = {"baseline_record_path": "/a.json", "final_evaluation_record_path": "/b.json"}
    result = go(settings=told)
    assert result["baseline"]["record_path"] == "/a.json"
    assert result["final_evaluation"]["record_path"] == "/b.json"


def test_23_record_paths_that_are_told_once_the_search_is_over(go, tmp_path):
    """Before, they were written down and not used."""
    folder = go(baseline_fn=lambda specs: 0.4, final_eval_fn=lambda rec, job: 0.5)["workspace_path"]
    records = tmp_path / "records"
    later = {"evaluation_records_dir": str(records), "final_evaluation_record_path": "/b.json"}
    result = go(settings=later, workspace_path=folder, resume=True)
    assert result["baseline"]["record_path"] == str(records / "ptm_baseline.json")
    assert result["final_evaluation"]["record_path"] == "/b.json"
    assert (result["baseline"]["metric_value"], result["final_evaluation"]["metric_value"]) == (
        0.4,
        0.5,
    )
    values = [json.loads(file.read_text())["metric_value"] for file in sorted(records.iterdir())]
    assert values == [0.5, 0.4]
    told = go(settings={"baseline_record_path": "/a.json"}, workspace_path=folder, resume=True)
    assert told["baseline"]["record_path"] == "/a.json"
    assert told["final_evaluation"] == result["final_evaluation"]


def test_24_a_made_up_result_as_text():
    from tao_automl import format_result

    result = {
        "best": {"rec_id": 4, "specs": {"b.lr": 0.0003, "a.size": 8}, "metric_value": 0.91},
        "progress": {"completed": 3, "total": 5, "algorithm": "bayesian"},
        "baseline": {"metric_name": "mAP50", "metric_value": 0.85, "status": "measured",
                     "comparison_to_best": {"delta": 0.06, "improved": True,
                                            "direction": "maximize"}},
        "final_evaluation": {"metric_name": "mAP50", "metric_value": None,
                             "status": "callback_error", "failure_reason": "boom"},
        "history": [
            {"rec_id": 0, "metric": None, "status": "failure",
             "failure_reason": "job_creation_failed: no"},
            {"rec_id": 4, "metric": 0.91, "status": "success", "failure_reason": None},
        ],
        "pareto_front": [{"rec_id": 4}],
    }  # fmt: skip
    assert format_result(result).splitlines() == [
        "AutoML result",
        "  algorithm=bayesian completed=3/5",
        "",
        "Best: rec 4 \u2014 mAP50=0.91",
        "  a.size = 8",
        "  b.lr = 0.0003",
        "",
        "History:",
        "   rec  status     mAP50",
        "     0  failure    -  (job_creation_failed: no)",
        "     4  success    0.91",
        "",
        "Baseline: mAP50=0.85",
        "  best vs baseline: improved by 0.06 (maximize)",
        "Final evaluation: callback_error",
        "  final_eval_fn raised: boom",
        "Pareto front: 1 member",
    ]
    assert "Best: none" in format_result({})


def test_25_a_real_result_as_text(go):
    from tao_automl import format_result

    text = format_result(go(settings={"baseline_metric": 0.6}))
    assert "Best: rec 2 \u2014 accuracy=0.52" in text
    assert "best vs baseline: regressed by 0.08 (maximize)" in text
    assert "completed=3/3" in text


def test_26_a_recommendation_is_a_mapping_of_its_values(go):
    seen = []

    def look(rec):
        lr = rec["train.lr"]
        seen.append((rec.get("train.lr", 1) == lr, rec.get("nothing", 4), dict(rec) == rec.specs,
                     "train.lr" in rec, len(rec), list(rec.items()), bool(rec)))  # fmt: skip

    go(on_recommendation=look, trials=1)
    assert seen == [(True, 4, True, True, 1, [("train.lr", 0.01)], True)]


def test_27_its_attributes(go):
    seen = []
    go(on_result=lambda rec, metric, status: seen.append((rec, metric, status)))
    rec, metric, status = seen[1]
    assert (rec.metric, metric, status) == ("accuracy", 0.51, "success")
    assert (rec.result, rec.objective_score, rec.metric_value) == (0.51, 0.51, 0.51)
    assert (rec.id, rec.job_id, rec.status, rec.best_epoch_number) == (1, "job-1", "success", 2)
    assert (rec.failure_reason, rec.adjustments, rec.resume_from_job_id) == (None, [], None)
    assert (rec.resume_from_epoch, rec.resume_from_step, rec.early_stop_epoch) == (None, None, None)
    assert rec.created_on <= rec.last_modified
    assert rec.full_spec["train"]["lr"] == rec["train.lr"]


def test_28_eval_fn_overrides_the_log(go):
    seen = []
    result = go(eval_fn=lambda rec, job: seen.append(job) or (0.9 if rec.id == 0 else None))
    assert seen == ["job-0", "job-1", "job-2"]
    assert [entry["metric"] for entry in result["history"]] == [0.9, 0.51, 0.52]


def test_29_notes_of_each_trial(go):
    notes = {"kind": "blurred", "rows": [{"label": "cat", "sample_id": 3, "seen": 2}],
             "ground_truth": "dog", "image_path": "/a", "score": 0.5}  # fmt: skip
    result = go(feedback_fn=lambda rec, job: notes | {"number": rec.id})
    kept = {"kind": "blurred", "rows": [{"seen": 2}], "score": 0.5}
    assert [e["feedback"] for e in result["history"]] == [kept | {"number": n} for n in range(3)]


def again(go, result, **more):
    return go(workspace_path=result["workspace_path"], resume=True, **more)


def test_22_evaluations_that_are_given_once_the_search_is_over_count(go):
    """The usual order on a platform: search, evaluate the winner there, record it."""
    result = go()
    jobs = [entry["job_id"] for entry in result["history"]]
    assert result["final_evaluation"]["status"] == "unavailable"
    told = again(go, result, settings={"final_evaluation_metric": 0.47})
    assert [entry["job_id"] for entry in told["history"]] == jobs
    assert told["final_evaluation"]["status"] == "provided"
    assert told["final_evaluation"]["comparison_to_baseline"] is None
    told = again(go, result, settings={"baseline_metric": 0.25})
    assert told["baseline"]["status"] == "provided"
    assert told["final_evaluation"]["metric_value"] == 0.47, "as it was"
    assert told["final_evaluation"]["comparison_to_baseline"]["delta"] == pytest.approx(0.22)
    table = Path(result["workspace_path"], "evaluations/comparison.md").read_text()
    assert "0.25" in table
    assert "0.47" in table


def test_17_final_eval_fn_of_a_later_call_is_asked_until_it_has_told(go):
    seen = []

    def judge(rec, job):
        seen.append((rec.id, job))
        return 0.375

    result = go()
    for _ in range(2):
        final = again(go, result, final_eval_fn=judge)["final_evaluation"]
        assert (final["status"], final["metric_value"]) == ("measured", 0.375)
    assert seen == [(2, "job-2")]
    assert again(go, result)["final_evaluation"]["metric_value"] == 0.375


@pytest.mark.parametrize(
    ("settings", "answer"),
    [
        ({"run_final_evaluation": False, "run_baseline": False}, "accuracy: 0.5"),
        ({"run_baseline": False}, "nothing to see"),
    ],
)
def test_17_what_is_off_or_cannot_be_is_not_evaluated_by_a_later_call(go, settings, answer):
    called = []
    result = go(Sdk(lambda n: ("Complete", answer)), trials=1, settings=settings)
    folder = Path(result["workspace_path"], "evaluations")

    def times():
        return {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}

    before = times()
    for _ in range(2):
        told = again(
            go, result, final_eval_fn=lambda rec, job: called.append(1),
            baseline_fn=lambda spec: called.append(2),
        )  # fmt: skip
        assert told["final_evaluation"] == result["final_evaluation"]
    assert (called, times()) == ([], before)
