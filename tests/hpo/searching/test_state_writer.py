import errno
import json
import os

import pytest

from hpo.core.budget import Budget
from hpo.core.trial import Ended
from hpo.run.run_dir import RunDir
from hpo.searching.state_writer import StateWriter, describe_end, trial_counts, trial_row
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
    train_to_end(made, made.next_job())
    train_to_end(made, made.next_job())
    train(made, made.next_job(), until=3)
    made.on_end(2, Ended(failure={"kind": "data", "message": "gone"}))
    train(made, made.next_job(), until=4)
    return made


def test_rows_show_what_happened(engine):
    rows = [trial_row(t, "maximize") for t in engine.ledger.trials()]
    facts = [(r["state"], r["value"], r["best_epoch"], r["epoch"], r["error"]) for r in rows]
    assert facts == [
        ("complete", pytest.approx(0.19), 9, 9, None),
        ("pruned", pytest.approx(0.22), 2, 2, None),
        ("failed", None, 3, 3, {"kind": "data", "message": "gone"}),
        ("running", pytest.approx(0.44), 4, 4, None),
    ]
    assert rows[0]["params"]["train.lr"] == 0.1
    assert json.loads(json.dumps(rows)) == rows


def test_counts_are_of_the_three_ends_alone(engine):
    assert trial_counts(engine.ledger.trials()) == {"complete": 1, "pruned": 1, "failed": 1}


def test_the_end_in_data(engine, tmp_path):
    end = describe_end(RunDir(tmp_path), STUDY, engine, engine.ledger, {"trial": 0}, quick_space())
    assert end["trials"] == {"complete": 1, "pruned": 1, "failed": 1}
    assert (end["suspended"], end["confirmations"], end["budget"]) == (1, 0, "4trials")
    assert (end["spent"]["trials"], end["spent"]["epochs"]) == (4, 18)
    assert (end["run_dir"], end["best"], end["ended_because"]) == (
        str(tmp_path), {"trial": 0}, "trials",
    )  # fmt: skip


def test_confirmations_are_under_their_own_key(tmp_path):
    engine = make_engine(tmp_path, Listed([0.1, 0.2]), budget=Budget(trials=2), confirm=1)
    run_all(engine)
    end = describe_end(RunDir(tmp_path), STUDY, engine, engine.ledger, None, quick_space())
    assert end["trials"] == {"complete": 2, "pruned": 0, "failed": 0}
    assert (end["confirmations"], end["best"]) == (4, None)


def test_the_state_says_how_the_run_stands(engine, tmp_path):
    run = RunDir(tmp_path)
    writer = StateWriter(run, STUDY, engine, engine.ledger)
    writer.handle({"event": "started"})
    state = run.read_state()
    assert (state["status"], state["pid"], state["budget"]) == ("running", os.getpid(), "4trials")
    assert [t["state"] for t in state["trials"]] == ["complete", "pruned", "failed", "running"]
    assert state["best"]["trial"] == 0
    assert state["spent"]["epochs"] == 18


def test_the_state_is_not_written_for_every_epoch(engine, tmp_path):
    run = RunDir(tmp_path)
    writer = StateWriter(run, STUDY, engine, engine.ledger)
    writer.handle({"event": "started"})
    before = run.state_file.stat().st_ino
    for _ in range(100):
        writer.handle({"event": "epoch"})
    assert run.state_file.stat().st_ino == before


@pytest.mark.parametrize("status", ["finished", "interrupted", "declined"])
def test_an_orderly_end_stays(engine, tmp_path, status):
    run = RunDir(tmp_path)
    writer = StateWriter(run, STUDY, engine, engine.ledger)
    writer.close_as(status, finished={"a": 1})
    writer.handle({"event": "epoch"})
    writer.close()
    assert (run.read_state()["status"], run.read_state()["finished"]) == (status, {"a": 1})


def test_any_other_end_is_a_failure(engine, tmp_path):
    writer = StateWriter(RunDir(tmp_path), STUDY, engine, engine.ledger)
    writer.handle({"event": "started"})
    writer.close()
    assert RunDir(tmp_path).read_state()["status"] == "failed"


def test_a_pause_for_want_of_room_is_in_the_state_until_it_is_over(engine, tmp_path):
    writer = StateWriter(RunDir(tmp_path), STUDY, engine, engine.ledger)
    writer.handle({"event": "paused", "text": "the disk is full"})
    assert RunDir(tmp_path).read_state()["paused"] == "the disk is full"
    writer.handle({"event": "continued", "text": "there is room again"})
    assert "paused" not in RunDir(tmp_path).read_state()


def test_an_interrupted_search_on_a_full_disk_ends_all_the_same(engine, tmp_path, monkeypatch):
    def full(_run, _state):
        raise OSError(errno.ENOSPC, "No space left on device")

    writer = StateWriter(RunDir(tmp_path), STUDY, engine, engine.ledger)
    monkeypatch.setattr(RunDir, "write_state", full)
    with pytest.raises(OSError, match="No space"):  # which the session waits for
        writer.close_as("finished")
    writer.close_as("interrupted")
