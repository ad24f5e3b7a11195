"""The engine driven by hand: what it hands out, records, decides and refuses."""

import math
from dataclasses import replace

import pytest

from hpo.core.errors import RunError
from hpo.core.trial import FAILURE_KINDS, Ended, TrialState
from hpo.core.trial_failures import MAX_RETRIES
from hpo.core.yaml_io import read_yaml
from hpo.run.ledger import Ledger
from hpo.searching.engine import ReceiptError
from tests.quick_runs import (
    Listed,
    make_engine,
    quick_study,
    receipt_of,
    run_all,
    train,
    train_to_end,
)

LOST = Ended(failure={"kind": "infrastructure", "message": "the worker was lost"})


def fail(engine, launch, kind="code", message="it broke"):
    engine.on_end(launch.number, Ended(failure={"kind": kind, "message": message}))


def states(engine):
    return [str(t.state) for t in engine.ledger.trials()]


# Launches --------------------------------------------------------------------------------------


def test_a_launch_holds_the_whole_spec_and_its_own_folder(tmp_path):
    study = quick_study({"train.seed": 77, "fault.sleep": 0.5})
    engine = make_engine(tmp_path, Listed([0.1]), study=study)
    launch = engine.next_launch()
    assert launch.number == 0
    assert launch.folder == str(tmp_path / "trials" / "0000")
    assert launch.resume_from is None
    assert launch.spec["train"] == {
        "num_epochs": 9,
        "seed": 77,
        "lr": 0.1,
        "margin": 0.5,
        "width": 100,
    }
    assert launch.spec["fault"]["sleep"] == 0.5
    assert launch.spec["results_dir"] == launch.folder
    written = read_yaml(tmp_path / "trials" / "0000" / "spec.yaml")
    assert written == {**launch.spec, "results_dir": "trials/0000"}  # a run can be moved


def test_the_ledger_knows_a_trial_before_it_is_handed_out(tmp_path):
    engine = make_engine(tmp_path, Listed([0.1]))
    launch = engine.next_launch()
    record = engine.ledger.trial(launch.number)
    assert record.state is TrialState.RUNNING
    assert record.params["train.lr"] == 0.1
    assert record.seed == 1234  # the spec's own seed
    assert engine.events.all == [
        ("trial_started", {
            "trial": 0, "params": record.params, "purpose": "search", "resumed_from_epoch": None,
            "start_from": None,
            "note": "",
        }),
    ]  # fmt: skip


def test_a_whole_search_by_hand(tmp_path):
    algorithm = Listed([0.1, 0.3, 0.2, 0.9], stops={(1, 2)})
    engine = make_engine(tmp_path, algorithm, study=quick_study(budget=budget(trials=3)))
    launches = run_all(engine)
    assert [launch.number for launch in launches] == [0, 1, 2]
    assert states(engine) == ["complete", "pruned", "complete"]
    assert [t.epochs for t in engine.ledger.trials()] == [9, 2, 9]
    # The best epoch is the trial's value; the pruned one had the best rate but less training.
    assert [t.value for t in engine.ledger.trials()] == pytest.approx([0.19, 0.32, 0.29])
    assert engine.best().number == 2
    assert engine.is_over()
    assert engine.ended_because == "trials"
    ends = engine.events.named("trial_finished")
    assert [(e["trial"], e["state"], e["epoch"]) for e in ends] == [
        (0, "complete", 9), (1, "pruned", 2), (2, "complete", 9),
    ]  # fmt: skip
    assert ends[1]["reason"] == "on the list"
    assert len(engine.events.named("epoch")) == 20
    assert algorithm.heard[-1] == ("end", 2, "complete", pytest.approx(0.29))


def budget(**limits):
    from hpo.core.budget import Budget

    return Budget(**limits)


def test_two_at_a_time_wait_for_each_other_at_the_end(tmp_path):
    engine = make_engine(tmp_path, Listed([0.1, 0.2, 0.3]), budget=budget(trials=3))
    first, second = engine.next_launch(), engine.next_launch()
    train_to_end(engine, second)
    third = engine.next_launch()
    assert (first.number, second.number, third.number) == (0, 1, 2)
    assert engine.next_launch() is None
    assert not engine.is_over()
    train_to_end(engine, third)
    assert engine.next_launch() is None
    assert not engine.is_over()
    train_to_end(engine, first)
    assert engine.is_over()


def test_an_algorithm_that_runs_dry_ends_the_search(tmp_path):
    engine = make_engine(tmp_path, Listed([0.1, 0.2]), budget=budget(trials=20))
    first, second = engine.next_launch(), engine.next_launch()
    assert engine.next_launch() is None
    assert not engine.is_over()  # a result may bring the algorithm to a new proposal
    train_to_end(engine, first)
    train_to_end(engine, second)
    assert engine.next_launch() is None
    assert engine.is_over()
    assert engine.ended_because == "algorithm"


# Epochs ----------------------------------------------------------------------------------------


def test_measurements_are_kept_as_reported(tmp_path):
    engine = make_engine(tmp_path, Listed([0.1]))
    launch = engine.next_launch()
    payload = {
        "epoch": 1, "value": 0.25, "metrics": {"loss": 3, "other": math.nan}, "seconds": 2.5,
        "checkpoint": f"{launch.folder}/ckpt/last.ckpt", "receipt": receipt_of(launch),
    }  # fmt: skip
    assert engine.on_epoch(0, payload) is True
    (measurement,) = engine.ledger.trial(0).measurements
    assert (measurement.epoch, measurement.value, measurement.seconds) == (1, 0.25, 2.5)
    assert measurement.metrics["loss"] == 3.0
    assert measurement.checkpoint == "ckpt/last.ckpt"
    assert engine.ledger.trial(0).receipt == {**receipt_of(launch), "unseen": []}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_diverged_epoch_fails_the_trial_and_is_never_a_value(tmp_path, value):
    algorithm = Listed([0.1, 0.2])
    engine = make_engine(tmp_path, algorithm, budget=budget(trials=2))
    launch = engine.next_launch()
    assert train(engine, launch, lambda e: value if e == 3 else 0.9) == 3
    engine.on_end(0, Ended())
    record = engine.ledger.trial(0)
    assert (record.state, record.value, record.epochs) == ("failed", None, 2)
    assert record.error["kind"] == "diverged"
    assert "epoch 3" in record.error["message"]
    assert algorithm.heard[-1] == ("end", 0, "failed", None)
    train_to_end(engine, engine.next_launch(), lambda e: 0.1)
    assert engine.best().number == 1  # worse, but real


def test_no_epoch_is_told_after_a_stop(tmp_path):
    algorithm = Listed([0.1], stops={(0, 2)})
    engine = make_engine(tmp_path, algorithm)
    launch = engine.next_launch()
    assert train(engine, launch) == 2
    late = {"epoch": 3, "value": 99.0}
    assert engine.on_epoch(0, late) is False  # a report that was under way
    assert engine.ledger.trial(0).epochs == 2
    assert algorithm.heard[-1][:3] == ("epoch", 0, 2)


def test_a_trainer_that_ends_early_by_itself_has_failed(tmp_path):
    engine = make_engine(tmp_path, Listed([0.1]))
    launch = engine.next_launch()
    train(engine, launch, until=4)
    engine.on_end(0, Ended(receipt=receipt_of(launch)))
    assert engine.ledger.trial(0).error == {
        "kind": "code", "message": "the trainer ended after epoch 4 of 9",
    }  # fmt: skip


# Failures --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [k for k in FAILURE_KINDS if k != "infrastructure"])
def test_failures_keep_their_kind_and_the_search_goes_on(tmp_path, kind):
    engine = make_engine(tmp_path, Listed([0.1, 0.2]), budget=budget(trials=2))
    launch = engine.next_launch()
    train(engine, launch, until=3)
    fail(engine, launch, kind)
    record = engine.ledger.trial(0)
    assert (record.state, record.value, record.retries) == ("failed", None, 0)
    assert record.error == {"kind": kind, "message": "it broke"}
    (event,) = engine.events.named("trial_finished")
    assert (event["state"], event["value"], event["error"]) == ("failed", None, record.error)
    assert engine.next_launch().number == 1


def test_a_lost_worker_starts_again_from_its_checkpoint_twice(tmp_path):
    engine = make_engine(tmp_path, Listed([0.1, 0.2]), budget=budget(trials=1))
    launch = engine.next_launch()
    assert train(engine, launch, until=2) == 2
    checkpoint = tmp_path / "trials/0000/ckpt/last.ckpt"
    checkpoint.parent.mkdir()
    checkpoint.write_text("x")
    for attempt in range(1, MAX_RETRIES + 1):
        engine.on_end(0, LOST)
        assert not engine.is_over()
        again = engine.next_launch()
        assert (again.number, again.spec) == (0, launch.spec)
        assert again.resume_from == str(checkpoint)
        assert engine.ledger.trial(0).retries == attempt
        assert engine.events.named("trial_started")[-1]["resumed_from_epoch"] == 2
    assert engine.spent().trials == 1
    engine.on_end(0, LOST)
    record = engine.ledger.trial(0)
    assert (record.state, record.error["kind"]) == ("failed", "infrastructure")
    assert engine.next_launch() is None


def test_a_worker_that_is_lost_in_every_epoch_still_brings_its_trial_to_the_end(tmp_path):
    engine = make_engine(tmp_path, Listed([0.1, 0.2]), budget=budget(trials=1))
    for epoch in range(1, 9):
        launch = engine.next_launch()
        assert train(engine, launch, start=epoch, until=epoch) == epoch
        engine.on_end(0, LOST)
        assert states(engine) == ["running"]
    train_to_end(engine, engine.next_launch(), start=9)
    assert states(engine) == ["complete"]
    assert engine.ledger.trial(0).retries == 8


@pytest.mark.parametrize("kind", ["infrastructure", "code", "data"])
def test_a_trial_that_finds_no_room_on_the_disk_is_kept(tmp_path, kind):
    engine = make_engine(tmp_path, Listed([0.1, 0.2]), budget=budget(trials=1))
    launch = engine.next_launch()
    train(engine, launch, until=3)
    with pytest.raises(RunError, match=r"No space left on device; make room, then"):
        fail(engine, launch, kind, "OSError: [Errno 28] No space left on device")
    assert states(engine) == ["running"]
    (event,) = engine.events.named("trial_suspended")
    assert (event["trial"], event["epoch"]) == (0, 3)


def test_what_a_resumed_trial_tells_again_is_not_counted_again(tmp_path):
    algorithm = Listed([0.1])
    engine = make_engine(tmp_path, algorithm, budget=budget(trials=1))
    train(engine, engine.next_launch(), until=3)
    engine.on_end(0, LOST)
    again = engine.next_launch()
    replayed = {"value": 0.5, "seconds": 1.0, "replayed": True, "receipt": receipt_of(again)}
    # Its checkpoint is one epoch ahead of the ledger: the report was lost with the worker.
    assert all(engine.on_epoch(0, {**replayed, "epoch": e}) for e in (1, 2, 3, 4))
    record = engine.ledger.trial(0)
    assert [m.epoch for m in record.measurements] == [1, 2, 3, 4]
    assert [m.value for m in record.measurements] == pytest.approx([0.11, 0.12, 0.13, 0.5])
    assert record.seconds == 4.0
    assert [h[2] for h in algorithm.heard if h[0] == "epoch"] == [1, 2, 3, 4]
    train_to_end(engine, again, start=5)
    assert states(engine) == ["complete"]


def test_three_identical_failures_end_the_search_with_their_cause(tmp_path):
    engine = make_engine(tmp_path, Listed([0.1] * 9), budget=budget(trials=9))
    running = engine.next_launch()
    for number in (1, 2, 3):
        assert not engine.is_over()
        launch = engine.next_launch()
        assert launch.number == number
        fail(engine, launch, "data", "train: no images")
    assert engine.next_launch() is None
    assert engine.ended_because == "train: no images"
    assert not engine.was_interrupted
    assert train(engine, running) == 1  # what still runs is kept for later
    engine.on_end(0, Ended())
    assert states(engine) == ["running", "failed", "failed", "failed"]
    assert engine.events.named("trial_suspended")[0]["reason"] == "train: no images"
    assert engine.is_over()


@pytest.mark.parametrize("messages", [["a", "a", "b", "a", "a"], ["a", "a", None, "a", "a"]])
def test_other_ends_in_between_let_the_search_go_on(tmp_path, messages):
    engine = make_engine(tmp_path, Listed([0.1] * 9), budget=budget(trials=9))
    for message in messages:
        launch = engine.next_launch()
        if message is None:
            train_to_end(engine, launch)
        else:
            fail(engine, launch, message=message)
    assert engine.next_launch() is not None


# Receipts --------------------------------------------------------------------------------------


def test_a_parameter_that_did_not_arrive_ends_the_search(tmp_path):
    engine = make_engine(tmp_path, Listed([0.1]))
    launch = engine.next_launch()
    receipt = receipt_of(launch)
    receipt["applied"]["train.margin"] = 0.3
    with pytest.raises(
        ReceiptError, match=r"trial 0: train.margin: was suggested to be 0.5, .* applied 0.3"
    ):
        engine.on_epoch(0, {"epoch": 1, "value": 0.5, "receipt": receipt})
    assert engine.ledger.trial(0).epochs == 0


def test_a_parameter_that_the_receipt_leaves_out_ends_the_search(tmp_path):
    engine = make_engine(tmp_path, Listed([0.1]))
    receipt = receipt_of(engine.next_launch())
    del receipt["applied"]["train.width"]
    with pytest.raises(ReceiptError, match=r"train.width: was suggested 100, but the receipt"):
        engine.on_epoch(0, {"epoch": 1, "value": 0.5, "receipt": receipt})


def test_the_last_receipt_is_compared_too(tmp_path):
    engine = make_engine(tmp_path, Listed([0.1]))
    launch = engine.next_launch()
    train(engine, launch)
    receipt = receipt_of(launch)
    receipt["applied"]["train.lr"] = 0.2
    with pytest.raises(ReceiptError, match="train.lr"):
        engine.on_end(0, Ended(receipt=receipt))


def test_a_trial_without_any_receipt_is_no_result(tmp_path):
    engine = make_engine(tmp_path, Listed([0.1]))
    engine.next_launch()
    for epoch in range(1, 10):
        engine.on_epoch(0, {"epoch": epoch, "value": 0.5})
    with pytest.raises(ReceiptError, match=r"train.lr: was suggested 0.1, but the receipt"):
        engine.on_end(0, Ended(receipt={}))


# Pausing ---------------------------------------------------------------------------------------


class Wish:
    is_there = False

    def __call__(self):
        return self.is_there


def test_a_pause_keeps_running_trials_and_hands_them_out_first_later(tmp_path):
    wish, ledger = Wish(), Ledger.create(None, "maximize")
    engine = make_engine(tmp_path, Listed([0.1, 0.2, 0.3]), ledger=ledger, should_stop=wish)
    train_to_end(engine, engine.next_launch())
    first, second = engine.next_launch(), engine.next_launch()
    train(engine, second, until=2)
    wish.is_there = True
    assert train(engine, first) == 1
    assert train(engine, second, start=3) == 3
    engine.on_end(first.number, Ended())
    engine.on_end(second.number, Ended())
    assert engine.next_launch() is None
    assert engine.is_over()
    assert engine.was_interrupted
    assert engine.ended_because == "interrupted"
    assert states(engine) == ["complete", "running", "running"]
    assert [e["epoch"] for e in engine.events.named("trial_suspended")] == [1, 3]

    later = make_engine(tmp_path, Listed([0.1, 0.2, 0.3, 0.4]), ledger=ledger)
    assert not later.is_over()
    assert [later.next_launch().spec for _ in range(2)] == [first.spec, second.spec]
    assert later.next_launch().number == 3
    assert later.spent().trials == 4


def test_a_pause_while_a_trial_tells_its_history_is_no_failure(tmp_path):
    wish, ledger = Wish(), Ledger.create(None, "maximize")
    engine = make_engine(tmp_path, Listed([0.1]), ledger=ledger)
    train(engine, engine.next_launch(), until=5)
    engine = make_engine(tmp_path, Listed([0.1]), ledger=ledger, should_stop=wish)
    launch = engine.next_launch()
    wish.is_there = True
    assert train(engine, launch) == 1  # told to stop while replaying epoch 1
    engine.on_end(0, Ended())
    assert states(engine) == ["running"]
    assert engine.ledger.trial(0).epochs == 5


def test_a_worker_that_is_lost_in_a_pause_can_be_resumed(tmp_path):
    wish = Wish()
    engine = make_engine(tmp_path, Listed([0.1]), should_stop=wish)
    train(engine, engine.next_launch(), until=5)
    wish.is_there = True
    engine.on_end(0, LOST)
    assert states(engine) == ["running"]
    assert engine.ledger.trial(0).retries == 0
    assert engine.next_launch() is None


def test_a_trial_that_ends_in_a_pause_is_complete(tmp_path):
    wish = Wish()
    engine = make_engine(tmp_path, Listed([0.1]), should_stop=wish)
    launch = engine.next_launch()
    train(engine, launch, until=8)
    wish.is_there = True
    train_to_end(engine, launch, start=9)
    assert states(engine) == ["complete"]


# Warm starts -----------------------------------------------------------------------------------


class Relay(Listed):
    """Trial 0 until epoch 3, then trial 1 goes on from there until epoch 6."""

    def ask(self, number):
        suggestion = super().ask(number)
        if suggestion is None or number == 0:
            return suggestion
        return replace(suggestion, until_epoch=6, start_from=(0, 3))


def relay(tmp_path, **plan):
    engine = make_engine(tmp_path, Relay([0.1, 0.2], until_epoch=3), **plan)
    first = engine.next_launch()
    assert train(engine, first) == 3  # the trainer, made for nine epochs, is told to stop
    engine.on_end(first.number, Ended())
    return engine


def leave_checkpoint(tmp_path, number):
    path = tmp_path / "trials" / f"{number:04d}" / "ckpt" / "last.ckpt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_a_trial_goes_on_from_another_and_pays_for_its_own_epochs(tmp_path):
    engine = relay(tmp_path)
    assert states(engine) == ["complete"]
    path = leave_checkpoint(tmp_path, 0)
    launch = engine.next_launch()
    assert (launch.resume_from, launch.start_epoch) == (str(path), 3)
    assert launch.spec["train"]["num_epochs"] == 9  # schedules depend on the whole length
    assert train(engine, launch, start=4) == 6
    engine.on_end(launch.number, Ended())
    assert states(engine) == ["complete", "complete"]
    assert engine.spent().epochs == 6
    assert [m.epoch for m in engine.ledger.trial(1).measurements] == [4, 5, 6]
    assert engine.events.named("trial_started")[1]["start_from"] == [0, 3]


def test_a_worker_that_breaks_when_it_is_told_to_stop_has_still_reached_its_epoch(tmp_path):
    engine = make_engine(tmp_path, Listed([0.1], until_epoch=3))
    launch = engine.next_launch()
    train(engine, launch)
    engine.on_end(launch.number, LOST)
    assert states(engine) == ["complete"]


def test_a_missing_checkpoint_fails_the_trial_and_nothing_is_trained_afresh(tmp_path):
    engine = relay(tmp_path)
    assert engine.next_launch() is None
    assert states(engine) == ["complete", "failed"]
    assert "no checkpoint of its last epoch" in engine.ledger.trial(1).error["message"]
    assert engine.is_over()
