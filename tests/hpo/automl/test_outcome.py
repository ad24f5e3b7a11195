"""Results of trials with unequal budgets, of failures, and the table."""

import json
from dataclasses import replace

import pytest

from hpo.automl.formatting import format_result
from hpo.automl.outcome import build_result, render_comparison, root_cause
from hpo.automl.recommendation import show_trial
from hpo.automl.workspace import WorkspaceFacts
from hpo.core.trial import Measurement, Suggestion, TrialState
from hpo.run.ledger import Ledger
from hpo.run.run_dir import RunDir

FACTS = WorkspaceFacts(
    skill_dir="/s", network="n", metric="acc", direction="maximize", algorithm="hyperband", total=3,
    adjustments=[{"param": "b", "from": 4, "to": 8, "reason": "r"}],
    first_adjustments=[{"param": "a", "from": 9, "to": 1, "reason": "outside its range"}],
)  # fmt: skip


@pytest.fixture
def ledger():
    return Ledger.create(None, "maximize")


def add(ledger, values, *, state=TrialState.COMPLETE, error=None, until=3, rate=None):
    number = ledger.next_number
    params = {"a": number if rate is None else rate}
    suggestion = Suggestion(number=number, params=params, latents={}, until_epoch=until)
    ledger.start(suggestion, now=0.0, clock=0.0)
    for epoch, value in enumerate(values, 1):
        ledger.record(number, Measurement(epoch=epoch, value=value), clock=0.0)
    ledger.finish(number, state, now=float(number), clock=0.0, error=error)


def result(ledger, tmp_path, **facts):
    facts = replace(FACTS, **facts)

    def show(number):
        return show_trial(ledger.trial(number), facts, direction="maximize")

    return build_result(RunDir(tmp_path), ledger, facts, show, show)


def test_36_the_longest_trained_wins_and_a_better_short_one_is_context(ledger, tmp_path):
    add(ledger, [0.2, 0.3, 0.4])
    add(ledger, [0.9], state=TrialState.PRUNED)
    add(ledger, [0.2, 0.3, 0.5])
    found = result(ledger, tmp_path)
    assert (found["best"]["rec_id"], found["best"]["metric_value"]) == (2, 0.5)
    assert found["context"] == [{"rec_id": 1, "metric": 0.9, "epochs": 1}]
    entry = found["history"][1]
    assert (entry["status"], entry["stopped_early"], entry["epochs"]) == ("success", True, 1)


def test_33_failures_have_no_metric_even_below_zero(ledger, tmp_path):
    add(ledger, [-5.0, -4.0, -3.0])
    add(ledger, [-1.0], state=TrialState.FAILED, error={"kind": "code", "message": "broke"})
    found = result(ledger, tmp_path)
    assert found["best"]["metric_value"] == -3.0
    assert found["history"][1]["metric"] is None
    assert (found["history"][1]["failure_reason"], found["history"][1]["cause"]) == (
        "broke",
        "code",
    )
    assert found["cause"] == "", "not all have failed"


def test_adjustments_stand_with_every_trial_they_hold_for(ledger, tmp_path):
    add(ledger, [0.1])
    add(ledger, [0.2])
    first, second = (entry["adjustments"] for entry in result(ledger, tmp_path)["history"])
    assert [a["param"] for a in first] == ["b", "a"]
    assert [a["param"] for a in second] == ["b"]


MEASURED = {"status": "measured", "metric_value": 0.125}


@pytest.mark.parametrize(
    ("baseline", "final", "has_eval_fn", "of_best", "of_final"),
    [
        (MEASURED, {**MEASURED, "source": "trainer"}, False, 0.5, 0.0),
        (MEASURED, {**MEASURED, "source": "trainer"}, True, None, 0.0),
        (MEASURED, {**MEASURED, "source": "final_eval_fn"}, False, 0.5, None),
        (MEASURED, {"status": "reused_best", "metric_value": 0.625}, True, None, None),
        ({**MEASURED, "source": "baseline_fn"}, {}, True, 0.5, None),
        ({**MEASURED, "status": "provided"}, {**MEASURED, "source": "given"}, True, 0.5, 0.0),
    ],
)
def test_a_value_that_the_caller_gave_is_not_compared_with_the_trainers_own_baseline(
    ledger, tmp_path, baseline, final, has_eval_fn, of_best, of_final
):
    add(ledger, [0.625])
    folder = tmp_path / "evaluations"
    folder.mkdir()
    for name, record in (("baseline", baseline), ("final", final)):
        (folder / f"{name}.json").write_text(json.dumps(record))
    found = result(ledger, tmp_path, has_eval_fn=has_eval_fn)
    told = (
        found["baseline"]["comparison_to_best"],
        found["final_evaluation"]["comparison_to_baseline"],
    )
    assert [one and one["delta"] for one in told] == [of_best, of_final]
    why = "not compared: the trainer measured the baseline, "
    is_apart = baseline is MEASURED and has_eval_fn
    assert (f"  best vs baseline: {why}eval_fn" in format_result(found)) == is_apart
    assert (why in found["comparison"][0]["note"]) == is_apart


def test_the_most_frequent_cause_is_named(ledger):
    for message in ("one", "two", "two"):
        error = {"kind": "code", "message": message}
        add(ledger, [], state=TrialState.FAILED, error=error)
    assert root_cause(ledger.trials()) == "2 of 3 trials failed with: two"
    assert root_cause([]) == ""


def test_the_table_shows_baseline_trials_and_best(ledger, tmp_path):
    add(ledger, [0.25])
    found = result(ledger, tmp_path)
    rows = [{"what": "baseline (untrained start)", "value": 0.1, "held_out": 0.2}]
    lines = render_comparison([*rows, *found["comparison"]], "acc")
    assert lines[0].startswith("|")
    assert "final evaluation" in lines[0]
    assert "| baseline (untrained start) | 0.1000 | 0.2000" in lines[2]
    assert "trial 0 (default) *" in lines[3]
    assert len({len(line) for line in lines}) == 1, "aligned"


def test_the_default_is_marked_in_every_trial_of_it(ledger, tmp_path):
    for rate in (0.1, 0.2, 0.1):
        add(ledger, [0.25], rate=rate)
    rows = [row["what"] for row in result(ledger, tmp_path)["comparison"]]
    assert rows[:3] == ["trial 0 (default)", "trial 1", "trial 2 (default)"]


def test_notes_stand_below_the_table_and_do_not_widen_it():
    rows = [
        {"what": "baseline", "note": "the weights are not known"},
        {"what": "trial 0", "value": 0.5},
    ]
    *table, empty, note = render_comparison(rows, "acc")
    assert (empty, note) == ("", "- baseline: the weights are not known")
    assert table == [
        "|          | acc    | epochs |",
        "|----------|--------|--------|",
        "| baseline |        |        |",
        "| trial 0  | 0.5000 |        |",
    ]
