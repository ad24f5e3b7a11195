"""Ledgers on the driver's disk and their copies in the run."""

import logging
import resource
import sqlite3
import tempfile
import threading
import time

import pytest

from hpo.core import pacing
from hpo.core.errors import MachineError, RunError
from hpo.core.event_bus import EventBus
from hpo.core.events import (
    Chosen,
    Epoch,
    Finished,
    Interrupted,
    TrialFinished,
    TrialSuspended,
)
from hpo.core.trial import Measurement, Suggestion, TrialState
from hpo.run.create_run import create_run
from hpo.run.ledger import Ledger
from hpo.run.ledger_backup import copy_ledger, ledgers_dir, open_ledger
from tests.nobody import plant_folder

UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run; the folders are called as no address of a database may spell them."""
    monkeypatch.setenv("HPO_LEDGER_DIR", str(tmp_path / "driver?%20#1"))
    monkeypatch.setattr(pacing, "SHARE", 0)  # however long a copy takes on a busy machine

    def fill(folder):
        (folder / "study.yaml").write_text("schema_version: 1\n")
        Ledger.create(folder / "ledger.db", "maximize").close()

    return create_run(tmp_path / "my%20runs", "shelf#1?", fill)


def start(ledger, number, lr=0.1):
    suggestion = Suggestion(number=number, params={"lr": lr}, latents={"lr": lr}, until_epoch=3)
    ledger.start(suggestion, now=1.0, clock=0.0)


def train(ledger, number, *epochs):
    for epoch in epochs:
        ledger.record(number, Measurement(epoch=epoch, value=epoch / 10), clock=1.0)


def end(ledger, number):
    ledger.finish(number, TrialState.COMPLETE, now=2.0, clock=2.0)


def seen(path):
    """What a reader of the run's copy finds: (state, epochs) of every trial."""
    ledger = Ledger.open(path)
    try:
        return [(str(t.state), t.epochs) for t in ledger.trials()]
    finally:
        ledger.close()


def wait_for_copies():
    """They are made beside the search."""
    wait_until(lambda: all(thread.name != "ledger-backup" for thread in threading.enumerate()))


def wait_until(is_so):
    until = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_the_copy_is_as_of_the_last_finished_trial(run):
    ledger, (backup,) = open_ledger(run, UUID, on_driver=True)
    assert ledger.path.parent == ledgers_dir()  # whose disk is waited for
    start(ledger, 0)
    train(ledger, 0, 1, 2)
    backup.handle(Epoch(trial=0, epoch=2, value=0.2))
    assert seen(run.ledger_file) == []
    train(ledger, 0, 3)
    end(ledger, 0)
    backup.handle(TrialFinished(trial=0, state=TrialState.COMPLETE))
    wait_for_copies()
    start(ledger, 1)
    assert seen(run.ledger_file) == [("complete", 3)]
    backup.close()
    ledger.close()
    backup.discard()
    assert seen(run.ledger_file) == [("complete", 3), ("running", 0)]
    assert list(ledgers_dir().iterdir()) == []


def test_epochs_of_a_trial_that_the_budget_cuts_short_are_in_the_copy(run):
    ledger, (backup,) = open_ledger(run, UUID, on_driver=True)
    start(ledger, 0)
    train(ledger, 0, 1, 2)
    backup.handle(TrialSuspended(trial=0, epoch=2, reason="budget of epochs spent"))
    wait_for_copies()
    assert seen(run.ledger_file) == [("running", 2)]
    ledger.close()


def test_a_killed_driver_goes_on_from_its_own_disk(run):
    ledger, (backup,) = open_ledger(run, UUID, on_driver=True)
    start(ledger, 0)
    train(ledger, 0, 1, 2, 3)
    end(ledger, 0)
    backup.handle(TrialFinished(trial=0, state=TrialState.COMPLETE))
    wait_for_copies()
    start(ledger, 1)
    train(ledger, 1, 1, 2)
    ledger.close()  # killed: no last copy
    again, _ = open_ledger(run, UUID, on_driver=True)
    assert [(str(t.state), t.epochs) for t in again.trials()] == [("complete", 3), ("running", 2)]
    again.close()
    assert seen(run.ledger_file) == [("complete", 3), ("running", 2)]


@pytest.mark.parametrize("recovers", [True, False])
def test_a_copy_that_finds_no_room_is_late_and_the_whole_ledger_is_kept(run, caplog, recovers):
    ledger, (backup,) = open_ledger(run, UUID, on_driver=True)
    bus = EventBus([backup])
    for number in range(3):
        start(ledger, number)
        train(ledger, number, 1, 2, 3)
        end(ledger, number)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        is_full = number == 1 or (number == 2 and not recovers)
        if is_full:  # files end here, as where the folder of temporary files is full
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        try:
            bus.emit(TrialFinished(trial=number, state=TrialState.COMPLETE))
            if number == 2:
                bus.close()
            wait_for_copies()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert len(seen(run.ledger_file)) == (1 if is_full else number + 1)
    assert caplog.text.count("cannot be brought up to date: ") == 1
    assert "no longer listens" not in caplog.text
    ledger.close()
    backup.discard()
    assert (ledgers_dir() / f"{UUID}.db").is_file() is not recovers
    again, _ = open_ledger(run, UUID, on_driver=True)
    assert len(again.trials()) == 3
    again.close()


def test_another_driver_goes_on_from_the_copy(run, tmp_path, monkeypatch):
    ledger, (backup,) = open_ledger(run, UUID, on_driver=True)
    start(ledger, 0)
    train(ledger, 0, 1, 2, 3)
    end(ledger, 0)
    backup.handle(TrialFinished(trial=0, state=TrialState.COMPLETE))
    wait_for_copies()
    start(ledger, 1)
    ledger.close()
    monkeypatch.setenv("HPO_LEDGER_DIR", str(tmp_path / "another driver"))
    again, _ = open_ledger(run, UUID, on_driver=True)
    start(again, 1)  # its number was never seen here
    train(again, 1, 1, 2, 3)
    end(again, 1)
    again.close()
    # Back on the first one, whose old ledger knows less by now than the second has written.
    other = ledgers_dir() / f"{UUID}.db"
    copy_ledger(other, run.ledger_file)
    monkeypatch.setenv("HPO_LEDGER_DIR", str(tmp_path / "driver"))
    last, backups = open_ledger(run, UUID, on_driver=False)
    assert backups == []
    assert [(str(t.state), t.epochs) for t in last.trials()] == [("complete", 3), ("complete", 3)]
    last.close()


@pytest.mark.parametrize("is_cluster", [True, False])
def test_a_driver_does_not_lay_its_old_ledger_over_what_others_have_gone_on_with(
    run, tmp_path, monkeypatch, caplog, is_cluster
):
    """Also where the old one knows more: it does not know what was trained from the copy."""
    ledger, (backup,) = open_ledger(run, UUID, on_driver=True)
    start(ledger, 0)
    end(ledger, 0)
    backup.handle(TrialFinished(trial=0, state=TrialState.COMPLETE))
    wait_for_copies()
    start(ledger, 1, lr=0.1)
    train(ledger, 1, 1, 2, 3, 4, 5)
    ledger.close()  # lost: none of this was copied
    first = ledgers_dir()
    monkeypatch.setenv("HPO_LEDGER_DIR", str(tmp_path / "another driver"))
    other, more = open_ledger(run, UUID, on_driver=is_cluster)
    start(other, 1, lr=0.7)
    train(other, 1, 1)
    for backup in more:
        backup.close()
    other.close()
    monkeypatch.setenv("HPO_LEDGER_DIR", str(first))
    again, _ = open_ledger(run, UUID, on_driver=True)
    assert [(t.params["lr"], t.epochs) for t in again.trials()] == [(0.1, 0), (0.7, 1)]
    again.close()
    assert seen(run.path / "set-aside" / "ledger.db-1") == [("complete", 0), ("running", 5)]
    assert "ledger.db-1" in caplog.text


def test_a_ledger_that_is_removed_while_it_is_written_leaves_the_copy_as_it_was(run, caplog):
    ledger, (backup,) = open_ledger(run, UUID, on_driver=True)
    start(ledger, 0)
    end(ledger, 0)
    backup.handle(TrialFinished(trial=0, state=TrialState.COMPLETE))
    wait_for_copies()
    local = ledgers_dir() / f"{UUID}.db"
    local.unlink()
    backup.close()
    ledger.close()
    backup.discard()
    assert seen(run.ledger_file) == [("complete", 0)]
    assert not local.exists()
    assert "cannot be brought up to date" in caplog.text
    with pytest.raises(RunError, match="knows less"):
        Ledger.create(local, "maximize").close()
        copy_ledger(local, run.ledger_file)


def test_on_one_machine_there_is_one_ledger(run):
    ledger, backups = open_ledger(run, UUID, on_driver=False)
    assert backups == []
    start(ledger, 0)
    ledger.close()
    assert seen(run.ledger_file) == [("running", 0)]
    assert not ledgers_dir().exists()


def test_what_another_user_has_put_among_temporary_files_is_no_ledger_of_this_run(
    run, tmp_path, monkeypatch
):
    monkeypatch.delenv("HPO_LEDGER_DIR")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    planted = plant_folder(ledgers_dir()) / f"{UUID}.db"
    more = Ledger.create(planted, "maximize")
    start(more, 0)
    more.close()
    ledger, _ = open_ledger(run, UUID, on_driver=False)
    ledger.close()
    assert seen(run.ledger_file) == []
    assert seen(planted) == [("running", 0)]
    with pytest.raises(MachineError, match=f"{ledgers_dir()}: must be a folder of yours"):
        open_ledger(run, UUID, on_driver=True)


def test_a_disk_that_is_away_makes_the_copy_late(run, caplog):
    caplog.set_level(logging.WARNING)
    ledger, (backup,) = open_ledger(run, UUID, on_driver=True)
    start(ledger, 0)
    train(ledger, 0, 1, 2, 3)
    end(ledger, 0)
    away = run.path.with_name("away")
    run.path.rename(away)
    backup.handle(TrialFinished(trial=0, state=TrialState.COMPLETE))
    wait_for_copies()
    backup.handle(Interrupted(run_dir=str(run), resume=""))
    backup.discard()  # keeps what has not arrived
    assert (ledgers_dir() / f"{UUID}.db").is_file()
    assert caplog.text.count("cannot be brought up to date: No such file or directory") == 1
    away.rename(run.path)
    backup.close()
    ledger.close()
    backup.discard()
    assert seen(run.ledger_file) == [("complete", 3)]
    assert not (ledgers_dir() / f"{UUID}.db").exists()


def padded(path, num_bytes):
    """Let a ledger be as large as one of many trials."""
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE padding AS SELECT randomblob(?) AS x", (num_bytes,))
    base.close()


@pytest.mark.parametrize(
    "last",
    [
        Chosen(winner=0, default=None, standings=(), words=()),
        Interrupted(run_dir="r", resume=""),
        Finished(run_dir="r", study="s"),
    ],
)
def test_no_decision_waits_for_a_long_copy_and_the_end_has_it(run, last):
    ledger, (backup,) = open_ledger(run, UUID, on_driver=True)
    padded(ledgers_dir() / f"{UUID}.db", 50_000_000)
    start(ledger, 0)
    end(ledger, 0)
    backup.handle(TrialFinished(trial=0, state=TrialState.COMPLETE))
    assert run.ledger_file.stat().st_size < 1_000_000  # it goes on beside the search
    start(ledger, 1)
    train(ledger, 1, 1)
    backup.handle(last)
    assert seen(run.ledger_file) == [("complete", 0), ("running", 1)]
    ledger.close()


def finish_trials(ledger, backup, count):
    """Train trials one after another; whatever is copied after one is there before the next."""
    for number in range(count):
        start(ledger, number)
        end(ledger, number)
        backup.handle(TrialFinished(trial=number, state=TrialState.COMPLETE))
        wait_for_copies()


def test_copies_that_take_long_are_rare_and_the_last_one_is_whole(run, monkeypatch):
    monkeypatch.setattr(pacing, "PROMPT_S", 0.0)
    monkeypatch.setattr(pacing, "SHARE", 1e9)
    ledger, (backup,) = open_ledger(run, UUID, on_driver=True)
    finish_trials(ledger, backup, 3)
    assert seen(run.ledger_file) == [("complete", 0)]
    backup.close()
    assert seen(run.ledger_file) == [("complete", 0)] * 3
    ledger.close()


def test_a_copy_that_was_put_off_follows_at_the_next_event(run, monkeypatch):
    monkeypatch.setattr(pacing, "PROMPT_S", 0.0)
    monkeypatch.setattr(pacing, "SHARE", 20)
    ledger, (backup,) = open_ledger(run, UUID, on_driver=True)
    finish_trials(ledger, backup, 2)
    start(ledger, 2)

    def copied_after_an_epoch():
        backup.handle(Epoch(trial=2, epoch=1, value=0.5))
        return len(seen(run.ledger_file)) > 2

    wait_until(copied_after_an_epoch)
    backup.close()
    assert len(seen(run.ledger_file)) == 3
    ledger.close()
