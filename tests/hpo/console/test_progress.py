"""Counts and times left, worked out by hand on a clock that is set here."""

import random
import statistics

import pytest

from hpo.console.progress import Progress
from hpo.console.progress_words import describe_left, describe_use
from hpo.core.budget import Spent, parse_budget, render_seconds
from hpo.core.events import (
    Confirmed,
    Continued,
    Epoch,
    Review,
    Started,
    TrialFinished,
    TrialStarted,
    TrialSuspended,
)
from hpo.core.forecast import Forecast
from hpo.core.trial import Purpose, TrialStage, TrialState
from hpo.core.trial_row import TrialRow


class Clock:
    def __init__(self):
        self.time = 100.0

    def __call__(self):
        return self.time


def progress_of(budget, *, slots=1, epochs=10, spent=None, trials=(), **review):
    clock = Clock()
    progress = Progress(clock)
    start = Started(run_dir="r", budget=parse_budget(budget), spent=spent or Spent(), trials=trials)
    progress.handle(start)
    progress.handle(Review(epochs_per_trial=epochs, concurrent=slots, **review))
    return progress, clock


HEADS = TrialStage(name="heads", left=1, batch=0)


def run_trial(progress, clock, number, values, seconds=2.0, state="complete", error=None):
    progress.handle(TrialStarted(trial=number, params={"lr": number}))
    for epoch, value in enumerate(values, 1):
        clock.time += seconds
        progress.handle(Epoch(trial=number, epoch=epoch, value=value, seconds=seconds))
    progress.handle(TrialFinished(trial=number, state=TrialState(state), error=error))


def test_a_running_trial_has_its_values_and_its_best():
    progress, clock = progress_of("4trials", slots=2)
    run_trial(progress, clock, 0, [0.25, 0.5, 0.375])
    progress.handle(TrialStarted(trial=1))
    for epoch, value in enumerate([0.625, 0.5], 1):
        progress.handle(Epoch(trial=1, epoch=epoch, value=value, seconds=1.0))
    trial = progress.running[1]
    assert (progress.best_of(trial), trial.values[-1]) == (0.625, 0.5)


def test_failures_are_counted_by_cause():
    progress, clock = progress_of("9trials")
    for number, kind in enumerate(["diverged", "out_of_memory", "diverged"]):
        run_trial(progress, clock, number, [0.1], state="failed", error={"kind": kind})
    run_trial(progress, clock, 3, [0.1], state="pruned")
    assert dict(progress.counts) == {"failed": 3, "pruned": 1}
    assert progress.causes.most_common() == [("diverged", 2), ("out_of_memory", 1)]


def test_a_trial_under_way_counts_by_its_epochs():
    progress, clock = progress_of("4trials", epochs=10)
    run_trial(progress, clock, 0, [0.1] * 10)
    progress.handle(TrialStarted(trial=1))
    progress.handle(Epoch(trial=1, epoch=5, value=0.1, seconds=1.0))
    assert progress.fraction() == pytest.approx(1.5 / 4)
    assert describe_use(progress) == "1 of 4 trials"


def test_time_left_by_the_trials_that_have_ended():
    progress, clock = progress_of("6trials", slots=2, epochs=5)
    for number in range(2):
        run_trial(progress, clock, number, [0.1] * 5, seconds=2.0)  # 10 s each
    progress.handle(TrialStarted(trial=2))
    clock.time += 4
    # 3 trials wait (30 s), one has 6 s to go: 36 s for two slots; all took alike, so no doubt.
    assert progress.remaining() == (pytest.approx(18.0), pytest.approx(18.0))


def test_unequal_trials_widen_the_interval():
    progress, clock = progress_of("4trials", epochs=5)
    run_trial(progress, clock, 0, [0.1] * 5, seconds=4.0)  # 20 s
    run_trial(progress, clock, 1, [0.1] * 1, seconds=10.0, state="pruned")  # 10 s
    # Two wait: 30 s; the standard deviation of (20, 10) is 7.07, twice that times sqrt(2) is 20.
    low, high = progress.remaining()
    assert (low, high) == (pytest.approx(10.0), pytest.approx(50.0))
    assert describe_left(progress) == "10s to 50s left, 240 trials/h"


def test_the_interval_is_as_wide_as_the_trials_that_have_ended_are_unequal():
    rng, lengths = random.Random(0), []
    progress, clock = progress_of("60trials", epochs=1)
    for number in range(40):
        lengths.append(rng.uniform(1.0, 9.0))
        run_trial(progress, clock, number, [0.5], seconds=lengths[-1])
    doubt = 2 * statistics.stdev(lengths) * 20**0.5
    usual = 20 * statistics.fmean(lengths)
    assert progress.remaining() == pytest.approx((usual - doubt, usual + doubt))


def test_heads_are_no_trials():
    """One trial in 100 s, then four heads together in 20 s, then half of another trial."""
    progress, clock = progress_of("4trials", slots=1, epochs=10)
    assert progress.paces() == {}
    run_trial(progress, clock, 0, [0.5] * 10, seconds=10.0)
    assert progress.paces() == {"trials": 36.0}
    for number in (1, 2, 3, 4):
        progress.handle(TrialStarted(trial=number, stage=HEADS))
    clock.time += 10
    assert progress.paces() == {}
    for number in (1, 2):
        progress.handle(TrialFinished(trial=number, state=TrialState.COMPLETE, stage=HEADS))
    clock.time += 10
    assert progress.paces() == {"heads": 360.0}
    assert describe_left(progress) == "360 heads/h"
    for number in (3, 4):
        progress.handle(TrialFinished(trial=number, state=TrialState.COMPLETE, stage=HEADS))
    assert progress.paces() == {"trials": 36.0}
    progress.handle(TrialStarted(trial=5, stage=TrialStage(name="full", parent=1)))
    clock.time += 50
    assert progress.paces() == {"trials": 24.0}
    assert describe_left(progress) == "24 trials/h"  # with one trial in full nothing else is known


def test_a_trial_that_starts_again_or_a_repeat_changes_no_pace():
    progress, clock = progress_of("4trials")
    progress.handle(TrialStarted(trial=0))
    clock.time += 10
    progress.handle(TrialStarted(trial=0, resumed_from_epoch=1))  # its worker was lost
    clock.time += 10
    progress.handle(TrialFinished(trial=0, state=TrialState.COMPLETE))
    clock.time += 100
    progress.handle(TrialStarted(trial=1, purpose=Purpose.CONFIRM))
    clock.time += 20
    progress.handle(Confirmed(trial=1, state=TrialState.COMPLETE))
    assert progress.paces() == {"trials": 180.0}


def test_before_two_trials_have_ended_the_review_tells():
    progress, clock = progress_of("4trials", estimate_s=100.0)
    assert progress.remaining() == (60.0, 140.0)
    progress.handle(TrialStarted(trial=0))
    clock.time += 50
    assert progress.remaining() == (30.0, 70.0)
    unknown, _ = progress_of("4trials")
    assert unknown.remaining() is None
    assert describe_left(unknown) == ""


def test_a_time_budget_is_certain_and_downtime_is_not_charged():
    progress, clock = progress_of("600s", spent=Spent(trials=3, seconds=200.0))
    clock.time += 1000  # before the first trial of this start nothing is charged
    progress.handle(TrialStarted(trial=3))
    clock.time += 100
    assert progress.remaining() == (300.0, 300.0)
    assert progress.fraction() == pytest.approx(0.5)
    assert describe_use(progress) == f"{render_seconds(300)} of {render_seconds(600)}"


def test_beyond_a_time_budget_the_running_epochs_are_finished():
    progress, clock = progress_of("60s")
    progress.handle(TrialStarted(trial=0))
    clock.time += 90
    assert describe_use(progress) == "1m 30s of 1m 00s"
    assert describe_left(progress) == "used up, finishing the running epochs"


def test_an_epoch_budget_by_the_pace():
    progress, clock = progress_of("20epochs", slots=2)
    run_trial(progress, clock, 0, [0.1] * 5, seconds=3.0)
    assert progress.remaining() == (pytest.approx(15 * 3 / 2), pytest.approx(15 * 3 / 2))
    assert describe_use(progress) == "5 of 20 epochs"


def test_gpu_seconds_by_slots_and_gpus():
    progress, clock = progress_of("100gpus", slots=2, gpus_per_trial=0.5)
    run_trial(progress, clock, 0, [0.1] * 4, seconds=10.0)  # 40 s on half a GPU
    assert progress.remaining() == (pytest.approx(80.0), pytest.approx(80.0))


def test_the_nearest_limit_counts():
    progress, clock = progress_of("2trials,1000s", epochs=2)
    run_trial(progress, clock, 0, [0.1, 0.1], seconds=5.0)
    assert progress.fraction() == pytest.approx(0.5)
    slow, clock = progress_of("100trials,40s", epochs=2)
    run_trial(slow, clock, 0, [0.1, 0.1], seconds=5.0)
    assert slow.fraction() == pytest.approx(0.25)


def test_a_resumed_search_takes_up_what_was():
    rows = [
        TrialRow(trial=0, state=TrialState.COMPLETE, value=0.5, best_epoch=3, epoch=4),
        TrialRow(trial=1, state=TrialState.FAILED, error={"kind": "data", "message": "gone"}),
        TrialRow(trial=2, state=TrialState.COMPLETE, purpose="confirm", value=0.9, epoch=3),
        TrialRow(trial=3, state=TrialState.RUNNING, value=0.25, epoch=1, params={"lr": 0.1}),
    ]
    progress, _ = progress_of("8trials", spent=Spent(trials=4), trials=rows)
    assert (progress.done(), progress.best.value) == (2, 0.5)
    assert dict(progress.causes) == {"data": 1}


def test_confirmations_change_no_count():
    progress, clock = progress_of("2trials", epochs=2)
    run_trial(progress, clock, 0, [0.5, 0.5])
    progress.handle(TrialStarted(trial=2, purpose="confirm"))
    progress.handle(Epoch(trial=2, epoch=1, value=0.9, seconds=1.0))
    assert (progress.best.value, progress.fraction()) == (0.5, 0.5)
    progress.handle(Confirmed(trial=2, state=TrialState.COMPLETE, value=0.9))
    assert (progress.running, progress.done()) == ({}, 1)


def repeat(progress, clock, number, of, values, seconds=2.0):
    progress.handle(TrialStarted(trial=number, purpose="confirm", params={"lr": of}))
    for epoch, value in enumerate(values, 1):
        clock.time += seconds
        progress.handle(Epoch(trial=number, epoch=epoch, value=value, seconds=seconds))
    best = max(values)
    end = Confirmed(trial=number, state=TrialState.COMPLETE, value=best, reason=f"repeat of {of}")
    progress.handle(end)


def test_repeats_are_counted_once_the_trials_have_ended():
    expected = Forecast(seconds=1, low_s=1, high_s=1, trials=3, epochs=6, pruned=0, repeats=4)
    progress, clock = progress_of("3trials", epochs=2, forecast=expected)
    run_trial(progress, clock, 0, [0.25, 0.5])
    run_trial(progress, clock, 1, [0.5, 0.875])
    assert progress.repeats() is None
    # Left are a trial and four repeats of two epochs each, at 2 s an epoch.
    assert progress.remaining() == (20.0, 20.0)
    run_trial(progress, clock, 2, [0.5, 0.75])
    assert progress.best.value == 0.875
    repeat(progress, clock, 3, 1, [0.25, 0.625])
    assert progress.best.value == 0.625
    assert (progress.repeats(), progress.fraction()) == ((1, 4), 0.25)
    progress.handle(TrialStarted(trial=4, purpose="confirm"))
    progress.handle(Epoch(trial=4, epoch=1, value=0.5, seconds=2.0))
    assert progress.fraction() == 0.375
    repeat(progress, clock, 4, 0, [0.5, 0.5])
    repeat(progress, clock, 5, 2, [0.75, 0.75])
    repeat(progress, clock, 6, 1, [0.25, 1.0])
    assert progress.repeats() == (4, 4)
    repeat(progress, clock, 7, 0, [0.5, 0.625])
    assert progress.repeats() == (5, 5)  # more than expected


def test_a_resumed_search_counts_the_repeats_that_have_ended():
    rows = [
        TrialRow(trial=0, state=TrialState.COMPLETE, value=0.5, epoch=10, until_epoch=10),
        TrialRow(trial=1, state=TrialState.COMPLETE, value=0.75, epoch=10, until_epoch=10),
        TrialRow(trial=2, state=TrialState.COMPLETE, purpose=Purpose.CONFIRM, value=0.625),
        TrialRow(trial=3, state=TrialState.COMPLETE, purpose=Purpose.CONFIRM, value=0.25),
        TrialRow(trial=4, state=TrialState.RUNNING, purpose=Purpose.CONFIRM, value=0.25),
    ]
    progress, _ = progress_of("2trials", trials=rows)
    assert progress.repeats() == (2, 2)
    progress, _ = progress_of("100s", trials=rows)
    assert progress.repeats() is None


def test_time_in_which_no_trial_runs_or_nothing_can_be_written_is_not_charged():
    progress, clock = progress_of("600s", slots=2)
    run_trial(progress, clock, 0, [0.5] * 4, seconds=10.0)
    clock.time += 1000  # the search waits for room on the disk
    assert describe_use(progress) == f"{render_seconds(40)} of {render_seconds(600)}"
    progress.handle(TrialStarted(trial=1))
    progress.handle(TrialStarted(trial=2))
    clock.time += 30
    progress.handle(TrialSuspended(trial=1, epoch=0))
    clock.time += 500
    progress.handle(Continued(text="room", free_bytes=9, waited_s=470.0))
    assert progress.remaining() == (500.0, 500.0)
    progress.handle(TrialFinished(trial=2, state=TrialState.COMPLETE))
    clock.time += 240  # the winner is exported
    assert progress.fraction() == pytest.approx(1 / 6)


def test_heads_tell_nothing_of_epochs_in_full_and_share_a_gpu():
    progress, clock = progress_of("100epochs,400gpus", gpus_per_trial=0.5)
    for number in range(4):
        progress.handle(TrialStarted(trial=number, stage=HEADS))
    for number in range(4):
        progress.handle(Epoch(trial=number, epoch=5, value=0.5, seconds=0.8, gpus=0.125))
    assert progress.spent.gpu_seconds == pytest.approx(4 * 0.8 * 0.125)
    assert progress.spent_now().epochs == 5  # those of a batch, before what is known of full ones
    for number in range(4):
        progress.handle(TrialFinished(trial=number, state=TrialState.COMPLETE, stage=HEADS))
    progress.handle(TrialStarted(trial=4, stage=TrialStage(name="full", parent=1)))
    progress.handle(Epoch(trial=4, epoch=2, value=0.5, seconds=120.0, gpus=0.5))
    # 98 of 100 epochs are left, at 60 s each; of 400 GPU seconds nearly 340, on half a GPU.
    assert progress.remaining() == pytest.approx((2 * (400 - 0.4 - 60),) * 2)
    assert progress.spent_now().epochs == 2
    progress.budget = parse_budget("100epochs")
    assert progress.remaining() == pytest.approx((98 * 60,) * 2)
    progress.handle(TrialStarted(trial=5, stage=TrialStage(name="heads", left=1)))
    progress.handle(Epoch(trial=5, epoch=20, value=0.5, seconds=180.0, gpus=0.5))
    assert progress.spent_now().epochs == 5


def test_few_trials_an_hour_are_told_with_what_is_behind_the_point():
    progress, clock = progress_of("5trials", epochs=1)
    for number, hours, said in ((0, 4, "0.25 trials/h"), (1, 0, "0.5 trials/h")):
        run_trial(progress, clock, number, [0.5], seconds=3600.0 * hours)
        assert describe_left(progress).endswith(said)
    run_trial(progress, clock, 2, [0.5], seconds=0.0)
    run_trial(progress, clock, 3, [0.5], seconds=0.0)
    assert describe_left(progress).endswith(", 1 trial/h")
