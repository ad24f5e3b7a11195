import pytest

from hpo.core.trial import Measurement, Suggestion
from hpo.run.ledger import Ledger
from hpo.run.run_dir import RunDir
from hpo.searching.warm_start import NoCheckpointError, find_start, settled_start


def suggestion(number, start_from=None, until=9):
    return Suggestion(
        number=number, params={}, latents={}, until_epoch=until, start_from=start_from
    )


@pytest.fixture
def case(tmp_path):
    """Trial 0 was trained until epoch 4, though until 3 was asked for; trial 1 goes on from it."""
    ledger = Ledger.create(None, "maximize")
    ledger.start(suggestion(0, until=3), now=0, clock=0)
    for epoch, name in ((2, "last"), (4, "best")):
        line = Measurement(epoch=epoch, value=0.1, checkpoint=f"ckpt/{name}.ckpt")
        ledger.record(0, line, clock=0)
    record = ledger.start(settled_start(suggestion(1, (0, 3)), ledger), now=0, clock=0)
    run = RunDir(tmp_path)
    for name in ("last", "best"):
        path = run.trial_dir(0) / "ckpt" / f"{name}.ckpt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return run, ledger, record


def test_a_trial_starts_at_the_epoch_that_its_source_really_reached(case):
    _, _, record = case
    assert record.start_from == (0, 4)
    assert (record.base_epoch, record.epochs, record.trained_epochs) == (4, 4, 0)


def test_the_file_is_the_one_that_was_written_at_that_epoch(case):
    run, ledger, record = case
    assert find_start(run, record, ledger) == (run.trial_dir(0) / "ckpt" / "best.ckpt", 4)


def test_an_interrupted_trial_goes_on_from_its_own(case):
    run, ledger, record = case
    own = run.trial_dir(1) / "ckpt" / "last.ckpt"
    own.parent.mkdir(parents=True)
    own.touch()
    assert find_start(run, record, ledger) == (own, None)


def test_no_other_checkpoint_takes_the_place_of_a_missing_one(case):
    run, ledger, record = case
    (run.trial_dir(0) / "ckpt" / "best.ckpt").unlink()
    with pytest.raises(NoCheckpointError, match="no checkpoint of its last epoch"):
        find_start(run, record, ledger)


def test_a_cold_trial_starts_from_nothing(case):
    run, ledger, _ = case
    record = ledger.start(suggestion(2), now=0, clock=0)
    assert find_start(run, record, ledger) == (None, None)
    assert settled_start(suggestion(3), ledger) == suggestion(3)
