"""The best checkpoint of a run that goes on is the one that its history names."""

import pytest

from trainer import checkpoints
from trainer.state import adopt_best


def history(*values, run="first"):
    """Entries as an epoch leaves them; `best.ckpt` is of the highest value so far."""
    entries = []
    for epoch, value in enumerate(values, start=1):
        name = checkpoints.BEST if value == max(values[:epoch]) else checkpoints.LAST
        entries.append({"epoch": epoch, "value": value, "seconds": run, "checkpoint": name})
    return entries


def write(path, entries, *, batch=0):
    """A checkpoint after these epochs, and after so many batches of the next."""
    content = {"format": checkpoints.FORMAT, "version": checkpoints.VERSION, "history": entries}
    progress = {"epoch": len(entries), "batch": batch}
    path.parent.parent.mkdir(exist_ok=True)
    checkpoints.save(content | {"progress": progress, "marker": path.name}, [path])
    return checkpoints.load(path)


def adopted(last, folder):
    """What `best.ckpt` of the folder holds after a run went on there: epoch, file it came from."""
    adopt_best(checkpoints.load(last), last, folder)
    if not (folder / checkpoints.BEST).exists():
        return None
    held = checkpoints.load(folder / checkpoints.BEST)
    return held["progress"]["epoch"], held["marker"]


@pytest.fixture
def run(tmp_path):
    """A run of three epochs whose best is the second."""
    entries = history(0.5, 0.9, 0.7)
    write(tmp_path / checkpoints.LAST, entries)
    write(tmp_path / checkpoints.BEST, entries[:2])
    return tmp_path


@pytest.mark.parametrize("into", ["", "other"])
def test_the_best_goes_along(run, into, caplog):
    assert adopted(run / checkpoints.LAST, run / into) == (2, "best.ckpt")
    assert not caplog.records


def test_a_best_that_was_not_replaced_in_time_is_the_last(run):
    """A kill between the two names of one checkpoint."""
    write(run / checkpoints.LAST, history(0.5, 0.7, 0.9))
    assert adopted(run / checkpoints.LAST, run) == (3, "last.ckpt")


def test_a_best_of_an_epoch_that_is_trained_again_is_none(run, caplog):
    """`last.ckpt` was written less often than `best.ckpt`."""
    write(run / checkpoints.LAST, history(0.5, 0.4))
    assert not adopted(run / checkpoints.LAST, run)
    assert "the best epoch (1)" in caplog.text


def test_a_state_within_the_next_epoch_is_not_the_best(run):
    write(run / checkpoints.LAST, history(0.5, 0.7, 0.9), batch=4)
    assert not adopted(run / checkpoints.LAST, run)


def test_a_damaged_best_is_none(run):
    (run / checkpoints.BEST).write_bytes(b"none")
    assert not adopted(run / checkpoints.LAST, run)


def test_before_the_first_validation_there_is_no_best(run):
    write(run / checkpoints.LAST, [], batch=4)
    assert not adopted(run / checkpoints.LAST, run)


def test_a_best_of_another_run_is_none(run, tmp_path):
    entries = history(0.1, 0.3, 0.2, run="second")
    write(tmp_path / "second" / checkpoints.LAST, entries)
    assert not adopted(tmp_path / "second" / checkpoints.LAST, run)
    write(tmp_path / "second" / checkpoints.BEST, entries[:2])
    assert adopted(tmp_path / "second" / checkpoints.LAST, run) == (2, "best.ckpt")


def test_a_best_of_a_later_epoch_of_this_run_stays_until_the_next_one(run, caplog):
    """It has been reported; before, a second stop left the trial without it."""
    entries = history(0.5, 0.9, 0.7)
    for more in ({}, {"batch": 4}):
        last = write(run / checkpoints.LAST, entries[:1], **more)
        assert adopt_best(last, run / checkpoints.LAST, run)
        assert checkpoints.load(run / checkpoints.BEST)["progress"]["epoch"] == 2
    assert not caplog.records
    other = write(run / checkpoints.LAST, history(0.5, run="second"), batch=4)
    assert not adopt_best(other, run / checkpoints.LAST, run)
    assert not (run / checkpoints.BEST).exists()
