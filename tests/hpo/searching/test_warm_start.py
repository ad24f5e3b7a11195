from dataclasses import replace

import pytest

from hpo.core.budget import Budget
from hpo.core.trial import Measurement, Suggestion
from hpo.core.yaml_io import read_yaml
from hpo.executors.inprocess import InProcessExecutor
from hpo.run.ledger import Ledger
from hpo.run.run_dir import RunDir
from hpo.searching.warm_start import (
    NoCheckpointError,
    find_start,
    set_aside_other,
    settled_start,
)
from tests.quick_runs import Listed, make_engine
from tests.quick_trainer import NAME


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


def test_a_number_that_is_given_again_takes_no_weights_of_another_trial(tmp_path, caplog):
    """The ledger is older than the folders: it knows of no trial, two were trained."""
    InProcessExecutor(NAME).run(make_engine(tmp_path, Listed([0.1, 0.2]), budget=Budget(trials=2)))
    engine = make_engine(tmp_path, Listed([0.1, 0.3]), budget=Budget(trials=2))
    same, other = engine.next_launch(), engine.next_launch()
    assert same.resume_from == str(tmp_path / "trials/0000/ckpt/last.ckpt")
    assert other.resume_from is None
    assert read_yaml(tmp_path / "trials/0001/spec.yaml")["train"]["lr"] == 0.3
    aside = tmp_path / "set-aside" / "0001-1"
    assert read_yaml(aside / "spec.yaml")["train"]["lr"] == 0.2
    assert (aside / "ckpt" / "last.ckpt").is_file()
    assert "trial 1: its folder was another trial's" in caplog.text
    assert "trial 0" not in caplog.text


def test_another_seed_is_another_trial_and_a_damaged_spec_is_none(tmp_path):
    run, ledger = RunDir(tmp_path), Ledger.create(None, "maximize")
    record = ledger.start(suggestion(0), now=0, clock=0)
    for text, is_moved in (("train: {seed: 7}", False), ("train: {seed: 8}", True), ("}", False)):
        run.write_spec(0, {})
        (run.trial_dir(0) / "spec.yaml").write_text(text)
        own = [run.trial_dir(0), run.path / "exports/0000", run.evaluations_dir / "confirm/0000"]
        for folder in own:
            folder.mkdir(parents=True, exist_ok=True)
        set_aside_other(run, record, {"train": {"seed": 7}}, "train.seed")
        assert [folder.exists() for folder in own] == [not is_moved] * 3
    names = {"spec.yaml", "exports", "confirm"}
    assert {p.name for p in (run.path / "set-aside" / "0000-1").iterdir()} == names


def test_a_trial_that_has_trained_keeps_its_folder_whatever_its_spec_says_now(tmp_path):
    """`hpo resume --moved` writes new places into specs, and leaves the ledger's parameters."""
    run, ledger = RunDir(tmp_path), Ledger.create(None, "maximize")
    first = replace(suggestion(0), params={"model.weights": "/old/w.pth"})
    record = ledger.start(first, now=0, clock=0)
    ledger.record(0, Measurement(epoch=1, value=0.1), clock=0)
    run.write_spec(0, {"model": {"weights": "/new/w.pth"}})
    set_aside_other(run, record, {"model": {"weights": "/old/w.pth"}}, "")
    assert (run.trial_dir(0) / "spec.yaml").is_file()
