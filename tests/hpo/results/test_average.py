"""Averages of the best trials: which are looked at, what is kept, what is handed on."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from hpo.console.last_page import Seen, render_end
from hpo.core.budget import Budget
from hpo.core.errors import SpecError
from hpo.core.trial import TrialState
from hpo.executors.inprocess import InProcessExecutor
from hpo.jobs.parents import find_parent, model_of
from hpo.report.run_data import load_run_data
from hpo.report.summary import sentences
from hpo.results.average import (
    NEAR,
    average_best,
    averaged_checkpoint,
    best_trained,
    is_averaged,
    read_average,
)
from hpo.results.export import export_run
from hpo.results.handoff import hand_on
from hpo.results.story import winner_story
from hpo.run.handed_on import read_handed_on
from hpo.run.ledger import Ledger
from hpo.run.run_dir import RunDir, find_run
from hpo.searching.session import resume_search, start_search
from hpo.study.sections import SearchOptions
from tests.averaging_trainer import NAME as AVERAGING
from tests.averaging_trainer import TRAINER as AVERAGING_TRAINER
from tests.averaging_trainer import AveragingTrainer
from tests.hpo.results.test_handoff import END, Caller, plan
from tests.quick_runs import Ear, Events, Listed, make_engine, quick_study
from tests.quick_trainer import NAME, QuickTrainer

RATES = [0.1, 0.012, 0.5, 0.014, 0.02, 0.0009]
"""Peaks by hand: 1, 3 and 4 are the best, in this order; 0, 5 and 2 follow."""


@pytest.fixture
def searched(tmp_path):
    engine = make_engine(
        tmp_path, Listed(RATES), study=quick_study(), budget=Budget(trials=len(RATES))
    )
    InProcessExecutor(NAME).run(engine)
    return RunDir(tmp_path), engine


def average(searched, trainer):
    run, engine = searched
    emit = Events()
    found = average_best(
        run, engine.ledger, trainer, Caller(trainer), engine.best(), engine.specs, emit
    )
    return found, emit


def hand(searched, trainer):
    run, engine = searched
    sources = {"train": "/t", "reference": "/r", "query": "/q", "test_query": "/x"}
    return hand_on(
        run, replace(plan(**sources), averages=True), trainer, engine.ledger, Caller(trainer),
        Events(), specs=engine.specs, end=END,
    )  # fmt: skip


def test_the_best_are_offered_best_first_and_those_that_help_are_kept(searched):
    run, engine = searched
    trainer = AveragingTrainer()
    found, emit = average(searched, trainer)
    order = [t.number for t in best_trained(engine.ledger.trials(), "maximize")]
    assert order[:3] == [1, 3, 4]
    assert len(order) == NEAR
    ((first, offered),) = trainer.asked
    assert first.endswith("trials/0001/ckpt/best.ckpt")
    assert offered == order[1:]
    assert found.trials == (1, 3, 4)
    assert found.words("val_precision_at_1") == (
        "average of trials 1, 3 and 4: P@1 0.8300 on validation, trial 1 alone 0.8000"
    )
    assert emit.names() == ["preparing", "averaged"]
    assert emit.named("averaged")[0]["is_used"] is True
    file = averaged_checkpoint(run, engine.ledger.trial(1), "maximize")
    assert json.loads(file.read_text())["of"] == [
        str(run.checkpoints_dir(n) / "best.ckpt") for n in (1, 3, 4)
    ]
    assert averaged_checkpoint(run, engine.ledger.trial(3), "maximize") is None  # of another winner


def test_trials_of_another_network_are_not_offered(searched):
    run, engine = searched

    class Narrow(AveragingTrainer):
        def shares_start(self, spec, other):
            return {spec["train"]["lr"], other["train"]["lr"]} <= {0.012, 0.02}

    trainer = Narrow()
    assert average(searched, trainer)[0].trials == (1, 4)
    assert trainer.asked[0][1] == [4]

    class Alone(AveragingTrainer):
        def shares_start(self, spec, other):
            return spec == other

    (run.path / "average" / "average.json").unlink()
    found, _ = average(searched, Alone())
    assert (found.trials, found.is_used) == ((1,), False)
    assert "no other one near it has the same network" in found.words("p1")


def test_what_was_done_is_found_and_what_was_not_is_done_again(searched):
    run, engine = searched
    trainer = AveragingTrainer()
    first, _ = average(searched, trainer)
    again, emit = average(searched, trainer)
    assert again == first
    assert len(trainer.asked) == 1
    assert emit.names() == ["averaged"]
    # Killed between the file and its record: the file is there, and nothing names it.
    (run.path / "average" / "average.json").unlink()
    assert averaged_checkpoint(run, engine.ledger.trial(1), "maximize") is None
    assert average(searched, trainer)[0] == first
    assert len(trainer.asked) == 2
    # Killed while the file was being put away, or removed by hand.
    averaged_checkpoint(run, engine.ledger.trial(1), "maximize").unlink()
    assert average(searched, trainer)[0] == first
    assert len(trainer.asked) == 3


def test_an_average_goes_on_with_the_trials_that_came_after_it(searched, tmp_path):
    run, engine = searched
    trainer = AveragingTrainer()
    first, _ = average(searched, trainer)
    assert is_averaged(run, engine.ledger.trials(), "maximize")
    kept = averaged_checkpoint(run, engine.ledger.trial(1), "maximize")
    more = make_engine(
        tmp_path, Listed([*RATES, 0.03]), ledger=engine.ledger, study=quick_study(),
        budget=Budget(trials=len(RATES) + 1),
    )  # fmt: skip
    InProcessExecutor(NAME).run(more)
    trials = more.ledger.trials()
    assert [t.state for t in trials].count(TrialState.COMPLETE) == len(RATES) + 1
    assert not is_averaged(run, trials, "maximize")
    assert more.best().number == 1
    trainer.good = (6,)
    found = average_best(
        run, more.ledger, trainer, Caller(trainer), more.best(), more.specs, Events()
    )
    assert trainer.asked[1] == (str(kept), [6])
    assert found.trials == (1, 3, 4, 6)
    assert found.alone == 0.8  # the winner's, not the earlier average's
    assert not kept.exists()


def test_an_open_winner_that_was_trained_on_is_averaged_anew(tmp_path):
    run, trainer = RunDir(tmp_path), AveragingTrainer(good=(0,))
    ledger = Ledger.create(run.ledger_file, "maximize")

    def search(epochs):
        engine = make_engine(
            tmp_path, Listed([0.1, 0.5, 0.012, 0.013]), study=quick_study(),
            budget=Budget(epochs=epochs), ledger=ledger,
        )  # fmt: skip
        InProcessExecutor(NAME).run(engine)
        best = engine.best()
        found = average_best(run, ledger, trainer, Caller(trainer), best, engine.specs, Events())
        return best, found

    first, before = search(23)
    assert (first.state, before.trials) == (TrialState.RUNNING, (first.number, 0))
    assert not is_averaged(run, ledger.trials(), "maximize")
    epoch = first.epochs
    winner, after = search(27)
    assert winner.number == first.number
    assert winner.epochs > epoch == before.epoch
    assert after.epoch == winner.epochs
    assert len(trainer.asked) == 2


def test_the_average_is_exported_and_both_stand_on_held_out_pictures(searched):
    run, _ = searched
    trainer = AveragingTrainer()
    result = hand(searched, trainer)
    assert "of" in json.loads((run.best_dir / "model.ckpt").read_text())
    assert (run.best_dir / "model.onnx").read_bytes() == (run.best_dir / "model.ckpt").read_bytes()
    assert result["trial"] == 1  # the winner stays the winner
    assert [Path(f).relative_to(run.path).as_posix() for f in trainer.evaluated] == [
        "best/model.ckpt", "trials/0000/ckpt/best.ckpt", "trials/0001/ckpt/best.ckpt",
    ]  # fmt: skip
    assert result["test"]["alone"]["gain"] == 0.0
    report = json.loads((run.best_dir / "report.json").read_text())
    story = winner_story(report)
    assert story[-2].startswith("handed on: average of trials 1, 3 and 4: P@1 0.8300")
    assert story[-1].endswith("trial 1 alone 0.5000: +0.0000")


def test_the_winner_alone_is_handed_on_where_no_other_helps(searched):
    run, _ = searched
    trainer = AveragingTrainer()
    trainer.good = ()
    result = hand(searched, trainer)
    assert result["average"]["is_used"] is False
    assert result["average"]["words"] == (
        "trial 1 alone: averaged with any of 5 others it does worse on validation"
    )
    assert "of" not in json.loads((run.best_dir / "model.ckpt").read_text())
    assert "alone" not in result["test"]
    assert not list((run.path / "average").glob("*.ckpt"))


def test_a_failure_costs_no_winner_and_a_trainer_without_it_is_left_alone(searched, caplog):
    run, _ = searched

    class Broken(AveragingTrainer):
        def average(self, spec, files, out):
            raise RuntimeError("the weights do not fit")

    result = hand(searched, Broken())
    assert result["average"] is None
    assert "the best trials were not averaged: RuntimeError: the weights do not" in caplog.text
    assert read_average(run) is None
    result = hand(searched, QuickTrainer())
    assert result["average"] is None
    assert not (run.path / "average" / "average.json").exists()


class Killed(BaseException):
    """Ends a search at once, as a signal would."""


STUDY = replace(
    quick_study({"train.num_epochs": 2}, budget=Budget(trials=7)),
    trainer=AVERAGING,
    search=SearchOptions(algorithm="random", pruner="none", average=True, fix={"train.width": 64}),
)


def checkpoints(run):
    return {int(path.parents[1].name) for path in run.path.glob("trials/*/ckpt/best.ckpt")}


def test_a_search_keeps_what_averaging_needs_and_no_longer(tmp_path, monkeypatch):
    """The first start is killed after the average's file was written, and before its record."""
    settings = Ear().settings(probe=False)
    monkeypatch.setattr(AVERAGING_TRAINER, "good", range(99))
    whole = AVERAGING_TRAINER.average

    def killed(spec, files, out):
        whole(spec, files, out)
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(AVERAGING_TRAINER, "average", killed)
        start_search(STUDY, tmp_path, settings)
    run = find_run("quick", tmp_path)
    assert len(checkpoints(run)) >= NEAR
    assert not run.best_dir.exists()
    result = resume_search(run, settings)
    best, average = result.finished.best, result.finished.best["average"]
    assert len(average["trials"]) == NEAR
    assert checkpoints(run) == {0, best["trial"]}
    assert [p.name for p in (run.path / "average").glob("*.ckpt")] == [average["checkpoint"]]
    assert len(AVERAGING_TRAINER.asked) == 2

    # Everything that takes the model of the search takes the average.
    assert "of" in json.loads((run.best_dir / "model.ckpt").read_text())
    export_run(run, trial=None, file=None)
    assert "of" in json.loads((run.best_dir / "model.ckpt").read_text())
    export_run(run, trial=best["trial"], file=None)  # the winner by itself
    own = run.path / "exports" / f"{best['trial']:04d}" / "model.ckpt"
    assert "of" not in json.loads(own.read_text())
    model = model_of(find_parent(tmp_path, str(run)))
    assert model.path == run.best_dir / "model.ckpt"
    facts = load_run_data(run)
    assert facts.checkpoint_of(facts.best) == run.best_dir / "model.ckpt"
    assert f"Handed on: {average['words']}." in sentences(facts)
    told = render_end(result.finished, Seen(metric="val_precision_at_1"))
    assert f"handed on {average['words']}" in told

    # What was told stays with its model, whatever has become of `average/`.
    record = run.path / "average" / "average.json"
    handed_on = (run.best_dir / "model.ckpt").read_bytes()
    other = {**json.loads(record.read_text()), "checkpoint": "of-more.ckpt"}
    record.with_name("of-more.ckpt").write_text(json.dumps({"history": [], "of": ["more"]}))
    record.write_text(json.dumps(other))
    export_run(run, trial=None, file=None)
    shutil.rmtree(record.parent)
    export_run(run, trial=None, file=None)
    assert (run.best_dir / "model.onnx").read_bytes() == handed_on
    assert read_handed_on(run)["average"]["is_used"]
    shutil.rmtree(run.best_dir)
    export_run(run, trial=None, file=None)
    assert "of" not in json.loads((run.best_dir / "model.onnx").read_text())
    assert read_handed_on(run) == {}


def test_a_trainer_that_cannot_or_a_random_start_is_refused(tmp_path):
    settings = Ear().settings(probe=False)
    with pytest.raises(SpecError, match=r"quick: has no shares_start, which averaging the best"):
        start_search(replace(STUDY, trainer=NAME), tmp_path, settings)
    with pytest.raises(SpecError, match="average: trials must start from pretrained weights"):
        random = replace(STUDY, spec={"train": {"width": 1}}, search=SearchOptions(average=True))
        start_search(random, tmp_path, settings)
