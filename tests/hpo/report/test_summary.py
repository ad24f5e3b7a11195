"""Sentences and tables, against figures counted here from the ledger."""

from collections import Counter
from dataclasses import replace

import pytest

from hpo.core.trial import Measurement, TrialRecord, TrialStage, TrialState
from hpo.report import summary


def with_trials(facts, trials, **changes):
    return replace(facts, trials=tuple(trials), **changes)


def make_trial(number, values, state=TrialState.COMPLETE, rate=0.1, **changes):
    return TrialRecord(
        number=number,
        state=state,
        params={"train.lr": rate},
        latents={},
        until_epoch=9,
        measurements=[Measurement(epoch=i, value=v) for i, v in enumerate(values, 1)],
        **changes,
    )


def test_the_gain_is_told_with_its_sign(facts):
    default, better = make_trial(0, [0.25, 0.5]), make_trial(1, [0.5, 0.75], rate=0.2)
    told = summary.sentences(with_trials(facts, [default, better], best=better))[0]
    assert told == (
        "Trial 1 is the best: P@1 0.7500 on the validation queries, 0.2500 above the default "
        "configuration (0.5000)."
    )
    told = summary.sentences(with_trials(facts, [better, default], best=default))[0]
    assert told.startswith("The default configuration is still the best: P@1 0.5000")
    again = make_trial(2, [0.5, 0.625])
    told = summary.sentences(with_trials(facts, [default, better, again], best=again))[0]
    assert told.startswith("The default configuration is still the best: P@1 0.6250")


def test_what_stopping_early_saved_is_counted(facts):
    trained = sum(t.epochs for t in facts.trials)
    told = " ".join(summary.sentences(facts))
    count = Counter(t.state.value for t in facts.trials)
    assert count.total() == 16
    words_of_states = f"{count['complete']} complete, {count['pruned']} pruned, 3 failed"
    assert f"16 trials ({words_of_states})" in told
    saved = sum(9 - t.epochs for t in facts.trials if t.state is TrialState.PRUNED)
    assert f"{trained} epochs; stopping early saved {saved} of {trained + saved} epochs" in told


def test_failures_are_named(facts):
    told = next(text for text in summary.sentences(facts) if "failed;" in text)
    first = next(t for t in facts.trials if t.error)
    assert told == f"3 failed; trial {first.number}: {first.error['message']}"


def test_refused_trials_are_told_apart_and_cost_no_epoch(facts):
    refused = {"kind": "over_limit", "message": "2 ms are allowed"}
    diverged = {"kind": "diverged", "message": "not a number"}
    trials = [
        make_trial(0, [0.5] * 9),
        make_trial(1, [], TrialState.FAILED, error=refused),
        make_trial(2, [], TrialState.FAILED, error=diverged),
        make_trial(3, [], TrialState.FAILED, error=refused),
        make_trial(4, [0.5] * 3, TrialState.PRUNED),
        make_trial(5, [], TrialState.FAILED, error=refused, stage=TrialStage(name="heads", left=1)),
    ]
    given = with_trials(facts, trials, best=trials[0])
    told = summary.sentences(given)
    (spent,) = [text for text in told if text.startswith("3 trials ")]
    assert spent.startswith("3 trials (1 complete, 1 pruned, 1 failed) in ")
    # 9 and 3 epochs; the 6 that the pruned one did without. The diverged one was stopped by nobody.
    assert spent.endswith(" 12 epochs; stopping early saved 6 of 18 epochs.")
    assert "1 failed; trial 2: not a number" in told
    assert "3 refused; trial 1: 2 ms are allowed" in told
    states = [row["state"] for row in summary.trial_rows(given)]
    assert states == ["complete", "refused", "failed", "refused", "pruned", "refused"]


def test_trials_that_run_wait_or_failed_save_nothing(facts):
    """Whatever is left of them."""
    failed = {"kind": "out_of_memory", "message": "out of memory"}
    trials = [
        make_trial(0, [0.5] * 9),
        make_trial(1, [], TrialState.FAILED, error=failed),
        make_trial(2, [0.5] * 4, TrialState.RUNNING),
    ]
    for status in ("running", "interrupted", "finished"):
        given = with_trials(facts, trials, best=trials[0], status=status)
        (spent,) = [text for text in summary.sentences(given) if text.startswith("3 trials ")]
        assert spent.endswith(", 13 epochs.")


def test_epochs_that_another_trial_has_trained_are_not_counted_again(facts):
    """Three generations of three epochs each, as of a population: the last ends at epoch 9."""
    trials = [make_trial(0, [0.5] * 3)]
    for number, begin in ((1, 3), (2, 6)):
        trials.append(make_trial(number, [], start_from=(number - 1, begin)))
        later = [Measurement(epoch=begin + e, value=0.5) for e in (1, 2, 3)]
        trials[-1].measurements.extend(later)
    told = summary.sentences(with_trials(facts, trials, best=trials[2]))
    (spent,) = [text for text in told if text.startswith("3 trials ")]
    assert spent.endswith(", 9 epochs.")


def test_an_unfinished_search_says_how_to_go_on(facts):
    assert not any("has not ended" in text for text in summary.sentences(facts))
    told = summary.sentences(replace(facts, status="stopped"))[-1]
    assert "has not ended (stopped)" in told
    assert f"hpo resume {facts.run}" in told


def test_a_search_that_gave_up_says_why(facts):
    failed = [t for t in facts.trials if t.error]
    causes = {t.number: {"kind": "data", "message": "no images"} for t in failed}
    late = max(t.ended for t in facts.trials)
    trials = tuple(
        replace(t, error=causes[t.number], ended=late + t.number) if t.error else t
        for t in facts.trials
    )
    told = summary.sentences(replace(facts, trials=trials))[-1]
    assert told == (
        f"The search gave up: no images; mend that, and `hpo resume {facts.run} --in-process` goes on."
    )
    assert not any("gave up" in text for text in summary.sentences(facts))


def test_held_out_figures_come_from_the_hand_off(facts):
    expected = {
        **{"value": 0.7, "trials": 3, "drop": 0.05, "drop_error": 0.02, "noise": 0.02},
        **{"expected": 0.65, "interval": [0.625, 0.675], "repeats": 0, "tied": ["the default"]},
    }
    handed_on = {"test": {"val_precision_at_1": 0.625}, "expected": expected}
    before, told = summary.sentences(replace(facts, handed_on=handed_on))[1:3]
    assert before.startswith("Estimated from the trials alone: validation")
    assert "expect 0.650 (0.625 to 0.675); a tie with the default:" in before
    assert "reaches P@1 0.6250" in told


def test_rows_hold_what_the_ledger_holds(facts):
    rows = summary.trial_rows(facts)
    assert [row["trial"] for row in rows] == [str(t.number) for t in facts.trials]
    failed = [row for row in rows if row["state"] == "failed"]
    assert [row["value"] for row in failed] == ["", "", ""]
    assert rows[0]["note"] == "default"
    assert [float(row["seconds"]) for row in rows] == pytest.approx(
        [t.seconds for t in facts.trials], abs=1e-3
    )
    best = rows[facts.best.number]
    assert best["value"] == f"{max(m.value for m in facts.best.measurements):.4f}"


def test_parameters_come_with_default_and_winner(facts):
    rows = {row["name"]: row for row in summary.parameter_rows(facts, {"lr": 0.75, "width": 0.25})}
    assert set(rows) == set(facts.best.params)
    assert rows["train.lr"]["winner"] == f"{facts.best.params['train.lr']:.4g}"
    assert rows["train.lr"]["default"] == f"{facts.space.default()['train.lr']:.4g}"
    assert rows["train.lr"]["importance"] == "75%"
    assert list(rows)[0] == "train.lr"


def test_markdown_has_a_line_for_every_trial(facts):
    text = summary.markdown(facts, {})
    table = text.split("## Trials")[1].split("## Next")[0]
    assert (
        sum(line.startswith("| ") and "trial | state" not in line for line in table.split("\n"))
        == 16
    )
    assert text.split("## Next")[1].split("\n\n")[1].splitlines() == [
        f"- the same search again: `hpo search {facts.run.study_file}`",
        f"- search on: `hpo resume {facts.run} --in-process --budget +8`",
        f"- label pictures with the best model: `hpo predict {facts.run} IMAGE...`",
        f"- compare the trials in MLflow: `hpo ui {facts.run}`",
    ]
    told = summary.markdown(replace(facts, ended_because="converged: nothing gained"), {})
    assert "hpo resume" not in told


def test_a_range_that_cuts_off_the_best_is_told(facts):
    trials = [make_trial(n, [0.9 - n / 10] * 9) for n in range(4)]  # all at the high end, 0.1
    told = " ".join(summary.sentences(with_trials(facts, trials, best=trials[0])))
    assert "train.lr: the best trials lie at the high end of its range (0.1)" in told
    assert "--range train.lr=1e-05..1,log" in told


def test_a_trial_that_waits_for_a_resume_does_not_run(facts):
    trials = [make_trial(0, [0.5] * 9), make_trial(1, [0.4], TrialState.RUNNING)]
    ended = with_trials(facts, trials, best=trials[0], status="finished")
    assert "2 trials (1 paused, 1 complete)" in " ".join(summary.sentences(ended))
    assert [row["state"] for row in summary.trial_rows(ended)] == ["complete", "paused"]
    live = " ".join(summary.sentences(replace(ended, status="running")))
    assert "(1 running, 1 complete)" in live


def test_what_the_rungs_knew_is_told(facts):
    (first, *_) = summary.rungs(facts)
    stopped = min(t.epochs for t in facts.searched if str(t.state) == "pruned")
    assert first.startswith(f"epoch {stopped} stopped")


def test_the_confirmation_speaks_for_itself(facts):
    told = {"confirmation": {"words": ["trial 3: 0.7 over 2 new seeds", "a tie with the default"]}}
    text = " ".join(summary.sentences(replace(facts, handed_on=told)))
    assert "trial 3: 0.7 over 2 new seeds; a tie with the default." in text


def test_trials_of_earlier_stages_are_counted_by_themselves(facts):
    heads = TrialStage(name="heads", left=1, batch=1)
    trials = [make_trial(0, [0.5] * 9)]
    trials += [make_trial(n, [0.25], stage=heads) for n in (1, 2)]
    told = " ".join(summary.sentences(with_trials(facts, trials, best=trials[0])))
    assert "1 trial (1 complete) after 2 trials of stage heads in " in told
