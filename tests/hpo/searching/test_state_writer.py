import errno
import os

import pytest

from hpo.core import pacing
from hpo.core.budget import Budget, Spent
from hpo.core.events import (
    Continued,
    Epoch,
    Paused,
    Preparing,
    Review,
    Started,
    TrialFinished,
    TrialProgress,
    TrialStarted,
    TrialSuspended,
)
from hpo.core.forecast import Forecast
from hpo.core.trial import Ended, Measurement, TrialState
from hpo.run.run_dir import RunDir
from hpo.searching.engine import Engine
from hpo.searching.state_writer import StateWriter, describe_end, describe_start
from tests.quick_runs import (
    Listed,
    make_engine,
    quick_space,
    quick_study,
    run_all,
    train,
    train_to_end,
)

STUDY = quick_study(budget=Budget(trials=4))


@pytest.fixture
def engine(tmp_path):
    """Complete, pruned, failed and suspended: one of each."""
    made = make_engine(tmp_path, Listed([0.1, 0.2, 0.3, 0.4], stops={(1, 2)}), study=STUDY)
    train_to_end(made, made.next_launch())
    train_to_end(made, made.next_launch())
    train(made, made.next_launch(), until=3)
    made.on_end(2, Ended(failure={"kind": "data", "message": "gone"}))
    train(made, made.next_launch(), until=4)
    return made


def test_the_start_says_what_earlier_starts_have_done(engine, tmp_path):
    start = describe_start(RunDir(tmp_path), STUDY, engine, engine.ledger, "val_recall")
    assert (start.trials_so_far, start.spent.trials, start.spent.epochs) == (3, 4, 18)
    assert (start.budget, start.metric) == (Budget(trials=4), "val_recall")
    assert [row.state for row in start.trials] == ["complete", "pruned", "failed", "running"]


def test_the_end_in_data(engine, tmp_path):
    end = describe_end(RunDir(tmp_path), STUDY, engine, engine.ledger, {"trial": 0}, quick_space())
    assert end.trials == {"complete": 1, "pruned": 1, "failed": 1}
    assert (end.suspended, end.confirmations, end.budget) == (1, 0, Budget(trials=4))
    assert (end.spent.trials, end.spent.epochs) == (4, 18)
    assert (end.run_dir, end.best, end.ended_because) == (
        str(tmp_path), {"trial": 0}, "trials",
    )  # fmt: skip


def test_confirmations_are_under_their_own_key(tmp_path):
    engine = make_engine(tmp_path, Listed([0.1, 0.2]), budget=Budget(trials=2), confirm=1)
    run_all(engine)
    end = describe_end(RunDir(tmp_path), STUDY, engine, engine.ledger, None, quick_space())
    assert end.trials == {"complete": 2, "pruned": 0, "failed": 0}
    assert (end.confirmations, end.best) == (4, None)


def test_the_state_says_how_the_run_stands(engine, tmp_path):
    run = RunDir(tmp_path)
    writer = StateWriter(run, STUDY, engine, engine.ledger)
    writer.handle(Started(run_dir="r"))
    state = run.read_state()
    assert (state["status"], state["pid"], state["budget"]) == ("running", os.getpid(), "4trials")
    assert [t["state"] for t in state["trials"]] == ["complete", "pruned", "failed", "running"]
    assert state["best"]["trial"] == 3  # suspended, and better than the complete one
    assert state["spent"]["epochs"] == 18


def test_the_state_is_not_written_for_every_epoch(engine, tmp_path):
    run = RunDir(tmp_path)
    writer = StateWriter(run, STUDY, engine, engine.ledger)
    writer.handle(Started(run_dir="r"))
    before = run.state_file.stat().st_ino
    for _ in range(100):
        writer.handle(Epoch(trial=3, epoch=5, value=0.5))
    assert run.state_file.stat().st_ino == before


def written(run, writer, event):
    """Whether an event makes the state anew."""
    before = run.state_file.stat().st_ino
    writer.handle(event)
    return run.state_file.stat().st_ino != before


@pytest.fixture
def slow(engine, tmp_path, monkeypatch):
    """A run whose state takes so long to write that it is hardly ever due again."""
    monkeypatch.setattr(pacing, "PROMPT_S", 0.0)
    monkeypatch.setattr(pacing, "SHARE", 1e9)
    monkeypatch.setattr("hpo.searching.state_writer.MIN_INTERVAL_S", 0.0)
    writer = StateWriter(RunDir(tmp_path), STUDY, engine, engine.ledger)
    writer.handle(Started(run_dir="r"))
    return RunDir(tmp_path), writer


def test_no_trial_waits_for_a_state_that_takes_long(slow):
    for event in (
        TrialStarted(trial=3),
        TrialProgress(trial=3, text="head epochs 2/20"),
        Epoch(trial=3, epoch=5, value=0.5),
        TrialFinished(trial=3, state=TrialState.COMPLETE),
    ):
        assert not written(*slow, event)


def test_such_a_state_is_written_as_often_while_it_takes_no_time(slow, monkeypatch):
    monkeypatch.setattr(pacing, "PROMPT_S", 60.0)
    run, writer = slow
    writer.write_now()
    assert written(run, writer, Epoch(trial=3, epoch=5, value=0.5))


@pytest.mark.parametrize(
    "event",
    [
        Paused(text="the disk is full", free_bytes=0, needed_bytes=9),
        Continued(text="there is room again", free_bytes=10),
        Preparing(what="comparison"),
        Review(epochs_per_trial=9),
    ],
)
def test_before_a_long_wait_it_is_written_all_the_same(slow, event):
    run, writer = slow
    writer.handle(TrialProgress(trial=3, text="head epochs 2/20"))
    assert written(run, writer, event)
    assert run.read_state()["trials"][3]["doing"] == "head epochs 2/20"


@pytest.mark.parametrize("status", ["finished", "interrupted", "failed"])
def test_at_the_end_it_is_whole_all_the_same(slow, engine, status):
    run, writer = slow
    engine.ledger.record(3, Measurement(epoch=5, value=0.5), clock=99.0)
    writer.close_as(status) if status != "failed" else writer.close()
    state = run.read_state()
    assert (state["status"], state["trials"][3]["epoch"]) == (status, 5)


def test_the_state_says_what_a_trial_does_before_its_first_epoch(engine, tmp_path):
    run = RunDir(tmp_path)
    writer = StateWriter(run, STUDY, engine, engine.ledger)

    def written(*events):
        for event in events:
            writer.handle(event)
        writer.write_now()
        return [row.get("doing") for row in run.read_state()["trials"]]

    heads = TrialProgress(trial=3, text="head epochs 12/20")
    assert written(heads) == [None, None, None, "head epochs 12/20"]
    assert written(TrialProgress(trial=3, text="")) == [None] * 4
    assert written(heads, Epoch(trial=3, epoch=5, value=0.5)) == [None] * 4
    assert written(heads, TrialSuspended(trial=3, epoch=4)) == [None] * 4
    writer.handle(heads)
    writer.close_as("interrupted")
    assert "doing" not in run.read_state()["trials"][3]


@pytest.mark.parametrize("status", ["finished", "interrupted", "declined"])
def test_an_orderly_end_stays(engine, tmp_path, status):
    run = RunDir(tmp_path)
    writer = StateWriter(run, STUDY, engine, engine.ledger)
    writer.close_as(status, finished={"run_dir": "/a"})
    writer.handle(Epoch(trial=3, epoch=5, value=0.5))
    writer.close()
    assert (run.read_state()["status"], run.read_state()["finished"]) == (status, {"run_dir": "/a"})


def test_any_other_end_is_a_failure(engine, tmp_path):
    writer = StateWriter(RunDir(tmp_path), STUDY, engine, engine.ledger)
    writer.handle(Started(run_dir="r"))
    writer.close()
    assert RunDir(tmp_path).read_state()["status"] == "failed"


def test_a_pause_for_want_of_room_is_in_the_state_until_it_is_over(engine, tmp_path):
    writer = StateWriter(RunDir(tmp_path), STUDY, engine, engine.ledger)
    writer.handle(Paused(text="the disk is full", free_bytes=0, needed_bytes=9))
    assert RunDir(tmp_path).read_state()["paused"] == "the disk is full"
    writer.handle(Continued(text="there is room again", free_bytes=10))
    assert "paused" not in RunDir(tmp_path).read_state()


def test_an_interrupted_search_on_a_full_disk_ends_all_the_same(engine, tmp_path, monkeypatch):
    def full(_run, _state):
        raise OSError(errno.ENOSPC, "No space left on device")

    writer = StateWriter(RunDir(tmp_path), STUDY, engine, engine.ledger)
    monkeypatch.setattr(RunDir, "write_state", full)
    with pytest.raises(OSError, match="No space"):  # which the session waits for
        writer.close_as("finished")
    writer.close_as("interrupted")


def test_forecasts_are_kept_over_starts_and_compared_with_what_this_start_took(tmp_path):
    engine = make_engine(tmp_path, Listed([0.1, 0.2]), budget=Budget(trials=2))
    run, spent = RunDir(tmp_path), [Spent(seconds=100.0)]
    run.write_state({"forecasts": [{"expected_s": 90.0, "took_s": 100.0}]})
    engine.spent = lambda: spent[-1]
    expected = Forecast(
        seconds=65.0, after_s=25.0, low_s=30.0, high_s=50.0, trials=2, epochs=9, pruned=0
    )
    writer = StateWriter(run, STUDY, engine, engine.ledger)
    writer.handle(Review(epochs_per_trial=9, forecast=expected))
    spent.append(Spent(seconds=150.0))
    for _ in range(2):
        writer.close_as("finished")
    assert run.read_state()["forecasts"] == [
        {"expected_s": 90.0, "took_s": 100.0}, {"expected_s": 40.0, "took_s": 50.0},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("because", "status"),
    [
        ("", "interrupted"), ("converged: nothing gained", "finished"),
        ("data: no pictures", "finished"),
    ],
)  # fmt: skip
def test_a_search_that_was_paused_or_ended_early_says_nothing_of_its_forecast(
    tmp_path, monkeypatch, because, status
):
    engine = make_engine(tmp_path, Listed([0.1, 0.2]), budget=Budget(trials=2))
    spent = iter([Spent(seconds=5.0)])
    engine.spent = lambda: next(spent, Spent(seconds=50.0))
    monkeypatch.setattr(Engine, "ended_because", because)
    expected = Forecast(seconds=40.0, low_s=30.0, high_s=50.0, trials=2, epochs=9, pruned=0)
    writer = StateWriter(RunDir(tmp_path), STUDY, engine, engine.ledger)
    writer.handle(Review(epochs_per_trial=9, forecast=expected))
    writer.close_as(status)
    assert RunDir(tmp_path).read_state()["forecasts"] == []
