"""The parent run's words and numbers, against small studies counted by hand."""

import json
import random
from dataclasses import replace

import pytest

from hpo.core.selection import best_trial
from hpo.core.trial import Measurement, TrialRecord, TrialStage, TrialState
from hpo.run.run_dir import RunDir, find_run
from hpo.tracking import summary
from hpo.tracking.rows import Study
from tests.count_calls import count_calls


@pytest.fixture
def study(tmp_path):
    run = RunDir(tmp_path / "shelf" / "20260101-000000")
    return Study(run=run, name="shelf", uuid="u", direction="maximize", metric="p1", summary={})


def trial(number, *values, state=TrialState.COMPLETE, ended=None, params=None, purpose="search"):
    best = max(values) if values and state is not TrialState.FAILED else None
    return TrialRecord(
        number=number,
        state=state,
        params=params or {"lr": 0.1},
        latents={},
        until_epoch=3,
        purpose=purpose,
        measurements=[Measurement(epoch=e, value=v) for e, v in enumerate(values, start=1)],
        value=best,
        ended=ended,
    )


def history(points, name):
    return [(p.step, p.value) for p in points if p.name == name]


def test_progress_has_one_step_per_ended_trial_in_order_of_their_ends():
    records = [
        trial(0, 0.1, 0.2, 0.5, ended=30.0),
        trial(1, 0.1, 0.2, 0.7, ended=20.0),
        trial(2, 0.3, state=TrialState.PRUNED, ended=25.0),
        trial(3, 0.9, state=TrialState.RUNNING),
    ]
    points = summary.progress(records, "p1", "maximize", known=())
    assert history(points, "p1_best") == [(1, 0.7), (2, 0.7), (3, 0.7)]
    assert history(points, "trials_pruned") == [(1, 0), (2, 1), (3, 1)]
    assert history(points, "trials_complete") == [(1, 1), (2, 1), (3, 2)]
    assert [p.timestamp_ms for p in points if p.name == "p1_best"] == [20_000, 25_000, 30_000]


def test_progress_leaves_out_what_is_known():
    records = [trial(0, 0.5, ended=1.0), trial(1, 0.6, ended=2.0)]
    points = summary.progress(records, "p1", "maximize", known={1})
    assert history(points, "best_trial") == [(2, 1)]


@pytest.mark.parametrize("seed", range(8))
def test_each_step_of_a_history_tells_what_led_among_those_that_had_ended(seed):
    """Trials of two stages, pruned and failed ones and repeats, in any order of their ends."""
    rng = random.Random(seed)
    states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED)
    records = []
    for number in range(40):
        purpose = "confirm" if number > 25 and rng.random() < 0.4 else "search"
        values = [rng.randrange(9) / 10 for _ in range(rng.randrange(4))]
        made = trial(
            number, *values, state=rng.choice(states), ended=rng.random(), purpose=purpose,
            params={"lr": rng.randrange(12)},
        )  # fmt: skip
        records.append(replace(made, stage=TrialStage(left=int(number < rng.randrange(20)))))
    points = summary.progress(records, "p1", "maximize", known={4, 5})
    ended = sorted(records, key=lambda t: t.ended)
    for step in range(1, 41):
        best = None if step in (4, 5) else best_trial(ended[:step], "maximize")
        told = [value for at, value in history(points, "best_trial") if at == step]
        is_told = best is not None and best.value is not None and not best.stage.left
        assert told == ([best.number] if is_told else [])


def test_heads_are_no_trials(study):
    heads = TrialStage(name="heads", left=1, batch=0)
    records = [replace(trial(n, 0.9, ended=1.0 + n), stage=heads) for n in range(3)]
    assert summary.describe(study, records, "running").startswith("**Trial 0 is the best so far")
    assert "No trial yet. 3 trials of stage heads." in summary.describe(study, records, "running")
    records += [trial(3, 0.3, ended=9.0), trial(4, 0.2, state=TrialState.PRUNED, ended=10.0)]
    text = summary.describe(study, records, "finished")
    assert "\n\n2 trials: 1 complete, 1 pruned. 3 trials of stage heads.\n\n" in text
    points = summary.progress(records, "p1", "maximize", known=())
    assert history(points, "trials_complete") == [(1, 0), (2, 0), (3, 0), (4, 1), (5, 1)]
    assert history(points, "p1_best") == [(4, 0.3), (5, 0.3)]


def test_a_long_history_is_gone_through_once():
    def work(count):
        records = [trial(n, n / count, ended=float(n)) for n in range(count)]
        return count_calls(summary.progress, records, "p1", "maximize", ())

    assert work(200) < 3 * work(100)


def test_a_failed_trial_never_wins(study):
    records = [trial(0, 0.1, 0.2, 0.3), trial(1, 0.9, 0.9, 0.9, state=TrialState.FAILED)]
    text = summary.describe(study, records, "finished")
    assert text.startswith(
        "**Trial 0 is the winner: p1 0.3000** in epoch 3 of 3; it is the default"
    )


def test_what_leads_while_it_runs_is_told_as_hpo_status_does(study):
    ahead = trial(1, 0.2, 0.4, state=TrialState.RUNNING, params={"lr": 0.2})
    records = [trial(0, 0.1, 0.2, 0.3), ahead]
    text = summary.describe(study, records, "running")
    assert text.startswith("**Trial 1 is the best so far: p1 0.4000** in epoch 2 of 3, +0.1000")


def test_what_was_chosen_is_no_news_of_the_time_before_and_comes_last():
    records = [
        trial(0, state=TrialState.FAILED, ended=5.0),
        trial(1, 0.5, 0.6, 0.9, ended=10.0),
        trial(2, 0.5, 0.6, 0.89, ended=20.0),
    ]
    before = summary.progress(records, "p1", "maximize", known=())
    assert history(before, "best_trial") == [(2, 1), (3, 1)]
    records[2].is_chosen = True
    after = summary.progress(records, "p1", "maximize", known=())
    assert after[: len(before)] == before
    assert history(after, "best_trial") == [(2, 1), (3, 1), (3, 2)]
    assert history(after, "p1_best") == [(2, 0.9), (3, 0.9), (3, 0.89)]
    assert after[-1].timestamp_ms > before[-1].timestamp_ms
    late = summary.progress(records, "p1", "maximize", known={1, 2, 3})
    assert late == after[len(before) :]


def test_the_description_compares_the_winner_with_the_default(study):
    records = [
        trial(0, 0.1, 0.5, 0.4, params={"lr": 0.1, "width": 64}),
        trial(1, 0.2, 0.4, 0.625, params={"lr": 0.012345678, "width": 128}),
        trial(2, 0.1, state=TrialState.PRUNED),
    ]
    text = summary.describe(study, records, "finished")
    assert text.splitlines()[0] == (
        "**Trial 1 is the winner: p1 0.6250** in epoch 3 of 3, +0.1250 against the default "
        "configuration (0.5000)."
    )
    assert "3 trials: 2 complete, 1 pruned." in text
    assert "| lr | 0.1 | 0.01235 |" in text
    assert "| width | 64 | 128 |" in text
    assert text.endswith(f"`hpo best {study.run.home}`")
    study.run.best_dir.mkdir(parents=True)
    whose = {"trial": 1, "value": 0.625, "params": {}, "spec": "/run/best/spec.yaml"}
    handed_on = {**whose, "metric": "p1", "test": {"p1": 0.5}}
    (study.run.best_dir / "report.json").write_text(json.dumps(handed_on))
    assert "\n\nHeld out: p1 0.5000.\n\n" in summary.describe(study, records, "finished")


def test_the_description_says_when_the_default_wins(study):
    default, other = trial(0, 0.5, 0.6, 0.7), trial(1, 0.5, 0.5, 0.5, params={"lr": 0.2})
    again = trial(2, 0.5, 0.6, 0.8)
    for trials in ([default, other], [default, other, again]):
        text = summary.describe(study, trials, "finished")
        assert "it is the default configuration" in text


def test_the_command_names_the_run_as_it_is_found(tmp_path):
    """Not as the folder is called that a link leads to."""
    (tmp_path / "disk" / "x7").mkdir(parents=True)
    (tmp_path / "runs" / "shop").mkdir(parents=True)
    place = tmp_path / "runs" / "shop" / "20260101-101500"
    place.symlink_to(tmp_path / "disk" / "x7")
    for file in ("study.yaml", "ledger.db"):
        (place / file).touch()
    run = find_run("shop", tmp_path / "runs")
    study = Study(run=run, name="shop", uuid="u", direction="maximize", metric="p1", summary={})
    text = summary.describe(study, [], "running")
    assert find_run(text.split("`hpo best ")[1].rstrip("`"), tmp_path / "other").place == place


def test_the_description_of_a_search_without_a_result(study):
    assert summary.describe(study, [], "running").startswith("No trial yet.")
    failed = [trial(0, state=TrialState.FAILED), trial(1, state=TrialState.RUNNING)]
    assert summary.describe(study, failed, "running").startswith(
        "2 trials: 1 unfinished, 1 failed."
    )


def test_refused_trials_are_counted_by_themselves(study):
    failed = {"kind": "diverged", "message": "not a number"}
    records = [trial(n, state=TrialState.FAILED, ended=float(n)) for n in range(4)]
    for record in records:
        record.error = failed if record.number == 2 else {**failed, "kind": "over_limit"}
    records.append(trial(4, 0.5, ended=4.0))
    text = summary.describe(study, records, "finished")
    assert "\n\n2 trials: 1 complete, 1 failed. 3 refused, as beyond a limit.\n\n" in text
    points = summary.progress(records, "p1", "maximize", known=())
    assert history(points, "trials_failed") == [(1, 0), (2, 0), (3, 1), (4, 1), (5, 1)]
    assert history(points, "trials_refused") == [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)]


def test_confirmations_are_counted_by_themselves(study):
    records = [trial(0, 0.5, 0.5, 0.5), trial(1, 0.4, 0.4, 0.5, purpose="confirm")]
    text = summary.describe(study, records, "finished")
    assert "1 trial: 1 complete. 1 repeat of the best with new seeds." in text
    other = trial(3, 0.9, 0.9, 0.9, params={"lr": 0.2})
    records += [trial(2, 0.4, 0.4, 0.7, purpose="confirm"), other]
    text = summary.describe(study, records, "running")
    assert "2 repeats of the best with new seeds." in text
    # Repeats say by how much it is better, so the run that was chosen for its luck does not.
    assert text.splitlines()[0].startswith(
        "**Trial 0 is the best so far: p1 0.5000** in epoch 1 of 3"
    )
