"""What `best/` holds, and that it is never half there."""

import json
from dataclasses import replace
from pathlib import Path
from unittest.mock import ANY

import pytest

from hpo.core.budget import Budget
from hpo.core.errors import HpoError, RunError
from hpo.core.yaml_io import read_yaml
from hpo.executors.inprocess import InProcessExecutor
from hpo.results.drop import expect
from hpo.results.handoff import (
    HandoffError,
    NoCheckpointError,
    NoPackageError,
    SearchEnd,
    export_trial,
    find_checkpoint,
    hand_on,
    next_commands,
)
from hpo.results.story import read_story
from hpo.run.handed_on import extent_of
from hpo.run.ledger import Ledger
from hpo.run.run_dir import RunDir
from hpo.study.plan import StudyPlan
from tests.quick_runs import Events, Listed, make_engine, quick_study
from tests.quick_trainer import NAME, TRAINER, QuickTrainer

SOURCES = {"train": "/t", "reference": "/r", "query": "/q", "test_query": "/x"}


def plan(**sources):
    return StudyPlan(
        study_uuid="u", sources=sources or SOURCES, base_spec={}, algorithm="", pruner="",
        reason="", space_digest="", num_epochs=9, planned_trials=None,
    )  # fmt: skip


class Caller:
    """An executor that calls a given trainer here; for trainers that misbehave."""

    def __init__(self, trainer):
        self.trainer = trainer

    def call(self, method, *args):
        return getattr(self.trainer, method)(*args)


@pytest.fixture
def searched(tmp_path):
    """A search of three trials; the second is the best."""
    engine = make_engine(
        tmp_path, Listed([0.1, 0.012, 0.5]), study=quick_study(), budget=Budget(trials=3)
    )
    InProcessExecutor(NAME).run(engine)
    return RunDir(tmp_path), engine


END = SearchEnd(budget=Budget(seconds=1200), because="seconds", share_of=400)


def hand(searched, executor=None, sources=None, first=()):
    run, engine = searched
    emit = Events()
    executor = executor or InProcessExecutor(NAME)
    the_plan = replace(plan(**(sources or SOURCES)), first=list(first))
    handed = hand_on(
        run, the_plan, TRAINER, engine.ledger, executor, emit,
        specs=engine.specs, end=END,
    )  # fmt: skip
    return handed, emit


def test_the_best_folder_holds_spec_checkpoint_model_and_report(searched):
    run, engine = searched
    result, emit = hand(searched)
    best = engine.ledger.trial(1)
    assert (result["trial"], result["value"], result["params"]) == (1, best.value, best.params)
    assert result["epoch"] == best.best_measurement("maximize").epoch
    assert result["default_value"] == engine.ledger.trial(0).value
    assert not result["is_default"]
    said = expect(engine.ledger.trials(), "maximize", 1, share_of=400)
    assert result["expected"] == said.to_json()
    spec = read_yaml(run.best_dir / "spec.yaml")
    assert spec["train"]["lr"] == 0.012
    assert spec["results_dir"] == str(run.best_dir)
    history = json.loads((run.best_dir / "model.ckpt").read_text())["history"]
    assert [line["value"] for line in history] == [m.value for m in best.measurements]
    assert (run.best_dir / "model.onnx").read_bytes() == (run.best_dir / "model.ckpt").read_bytes()
    report = json.loads((run.best_dir / "report.json").read_text())
    assert report["receipt"]["applied"]["train.lr"] == 0.012
    assert {k: report[k] for k in result} == result
    assert report["next"] == next_commands(run, END)
    assert report["next"][:2] == [f"hpo resume {run} --budget +10m", f"hpo predict {run} IMAGE..."]
    assert emit.names() == ["preparing", "exported", "preparing", "evaluated"]


def test_a_winner_of_an_earlier_search_has_luck_that_this_one_does_not_show(searched):
    first = [{"latents": searched[1].ledger.trial(1).latents, "source": "trial 3 of another"}]
    assert hand(searched, first=first)[0]["expected"] is None


def test_the_checkpoint_is_that_of_the_best_epoch(tmp_path):
    run = RunDir(tmp_path)
    trial = Ledger.create(None, "maximize")
    engine = make_engine(tmp_path, Listed([0.1]), ledger=trial)
    engine.next_launch()
    with pytest.raises(NoCheckpointError, match=r"trial 0: the checkpoint of its best") as gone:
        find_checkpoint(run, engine.ledger.trial(0), "maximize")
    # A search has handed nothing on (exit code 1); the user of `hpo export` can name another (2).
    assert isinstance(gone.value, HandoffError)
    assert isinstance(gone.value, HpoError)
    (run.trial_dir(0) / "ckpt").mkdir()
    for name in ("best.ckpt", "last.ckpt"):
        (run.trial_dir(0) / "ckpt" / name).touch()
    assert find_checkpoint(run, engine.ledger.trial(0), "maximize").name == "best.ckpt"


def test_held_out_pictures_are_looked_at_once_if_there_are_any(searched):
    class Watched(QuickTrainer):
        specs = []

        def evaluate(self, spec):
            self.specs.append(spec)
            return super().evaluate(spec)

    result, _ = hand(searched, Caller(Watched()))
    spec, default = Watched.specs
    assert result["test"].pop("held_out")["default"] == 0.5
    assert result["test"] == {"trial": 1, "val_precision_at_1": 0.5}
    assert default["evaluate"]["checkpoint"].endswith("trials/0000/ckpt/best.ckpt")
    assert default["data"] == spec["data"]
    assert spec["data"]["query"] == "/x"
    assert spec["data"]["reference"] == "/r"
    assert spec["evaluate"]["checkpoint"].endswith("best/model.ckpt")
    result, emit = hand(searched, sources={"train": "/t", "reference": "/r", "query": "/q"})
    assert result["test"] is None
    assert emit.names() == ["preparing", "exported"]


@pytest.mark.parametrize(("rates", "default"), [([0.1, 0.012, 0.5], None), ([0.1, 0.012, 0.1], 2)])
def test_a_default_that_failed_is_compared_with_nothing_or_stands_by_its_twin(
    tmp_path, rates, default
):
    """It has a checkpoint of its first epochs, which says nothing of the configuration."""
    study = quick_study({"fault.kind": "nan@0:3"})
    engine = make_engine(tmp_path, Listed(rates), study=study, budget=Budget(trials=3))
    InProcessExecutor(NAME).run(engine)
    failed = engine.ledger.trial(0)
    assert (failed.state, failed.epochs) == ("failed", 2)
    assert (tmp_path / "trials" / "0000" / "ckpt" / "best.ckpt").is_file()
    result, _ = hand((RunDir(tmp_path), engine))
    asked = tmp_path / "evaluations" / "test_default"
    value = None if default is None else engine.ledger.trial(default).value
    assert (result["default_value"], asked.exists()) == (value, default is not None)
    assert (result["test"]["held_out"]["default"] is None) == (default is None)


@pytest.mark.parametrize("rates", [[0.012, 0.1], [0.012, 0.1, 0.012]])
def test_the_default_that_wins_is_told_so_whichever_trial_of_it_does(tmp_path, rates):
    """Noise by the trial's seed lets one of two runs of a configuration be the better one."""
    engine = make_engine(tmp_path, Listed(rates), budget=Budget(trials=len(rates)))
    InProcessExecutor(NAME).run(engine)
    values = [trial.value for trial in engine.ledger.trials()]
    result, _ = hand((RunDir(tmp_path), engine))
    assert (result["trial"], result["is_default"]) == (values.index(max(values)), True)


def test_a_test_split_that_cannot_be_read_does_not_cost_the_winner(searched, caplog):
    class Blind(QuickTrainer):
        def evaluate(self, spec):
            raise RuntimeError("a picture is broken")

    result, emit = hand(searched, Caller(Blind()))
    assert result["test"] == {"error": "RuntimeError: a picture is broken"}
    assert "test split was not evaluated" in caplog.text
    assert json.loads((searched[0].best_dir / "report.json").read_text())["onnx"] == result["onnx"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RunError("worker gone"), HandoffError),
        (ValueError("parity: 0.3 apart"), HandoffError),
        (ModuleNotFoundError("No module named 'onnxscript'", name="onnxscript"), NoPackageError),
    ],
)
def test_a_failed_export_is_a_failed_search_and_leaves_the_old_winner(searched, error, kind):
    run, engine = searched
    hand(searched)
    before = (run.best_dir / "report.json").read_bytes()

    class Broken(QuickTrainer):
        def export(self, spec):
            super().export(spec)
            raise error

    with pytest.raises(
        HandoffError, match="trial 1 was not exported: .*(gone|apart|; pip)"
    ) as told:
        hand(searched, Caller(Broken()))
    assert type(told.value) is kind
    assert isinstance(told.value, HpoError) is (kind is NoPackageError)  # one line, exit code 2
    assert (run.best_dir / "report.json").read_bytes() == before
    assert (run.best_dir / "model.onnx").is_file()


def test_an_export_without_a_file_is_a_failure(searched):
    class Empty(QuickTrainer):
        def export(self, spec):
            return {"onnx": spec["export"]["onnx_file"]}

    with pytest.raises(HandoffError, match="trial 1: the export wrote no ONNX file"):
        hand(searched, Caller(Empty()))
    assert not searched[0].best_dir.exists()


def test_a_second_hand_off_replaces_the_first_whole(searched):
    run, _ = searched
    hand(searched)
    report = (run.best_dir / "report.json").stat().st_ino
    hand(searched)
    assert (run.best_dir / "report.json").stat().st_ino != report
    assert not list(run.path.glob("best-*"))
    assert not [p for p in run.path.iterdir() if p.name.startswith(".best")]


def test_what_was_put_beside_a_model_stays_with_it(searched, caplog):
    run, _ = searched
    hand(searched)
    (run.best_dir / "model_timm").mkdir()
    (run.best_dir / "model_timm" / "config.json").write_text("{}")
    (run.best_dir / "NOTES.md").write_text("shelf 7")
    hand(searched)
    assert (run.best_dir / "model_timm" / "config.json").read_text() == "{}"
    assert (run.best_dir / "NOTES.md").read_text() == "shelf 7"
    (run.best_dir / "model.onnx").write_text("another")
    (told,) = hand(searched)[1].named("exported")
    assert "changed_gallery" not in told
    assert (run.path / "best-1" / "NOTES.md").read_text() == "shelf 7"
    assert not (run.best_dir / "NOTES.md").exists()
    assert f"{run.path}/best-1: keeps NOTES.md, model_timm, which belong to the" in caplog.text
    hand(searched)
    assert not (run.path / "best-2").exists()


def change_gallery(run, name):
    """What a change leaves behind: the gallery now, and the one before it."""
    (run.best_dir / "gallery.history").mkdir()
    (run.best_dir / "gallery.history" / "000001.npz").write_text("before")
    (run.best_dir / "gallery.npz").write_text(name)


def test_changes_of_the_gallery_outlive_a_hand_off_of_the_same_model(searched):
    run, _ = searched
    assert "changed_gallery" not in hand(searched)[1].named("exported")[0]
    change_gallery(run, "changed")
    (told,) = hand(searched)[1].named("exported")
    assert told["changed_gallery"] == str(run.best_dir / "gallery.npz")
    assert (run.best_dir / "gallery.npz").read_text() == "changed"
    assert (run.best_dir / "gallery.history" / "000001.npz").read_text() == "before"
    assert not list(run.path.glob("best-*"))
    run.best_dir.rename(run.path / ".best-old")  # where a kill has left it
    assert hand(searched)[1].named("exported") == [told | {"seconds": ANY}]
    assert (run.best_dir / "gallery.npz").read_text() == "changed"
    assert not (run.path / ".best-old").exists()


def test_a_changed_gallery_of_another_model_is_set_aside(searched):
    run, _ = searched
    hand(searched)
    for number in (1, 2):
        change_gallery(run, f"changed {number}")
        (run.best_dir / "model.onnx").write_text("another")
        (told,) = hand(searched)[1].named("exported")
        assert told["changed_gallery"] == str(run.path / f"best-{number}" / "gallery.npz")
        assert (run.path / f"best-{number}" / "gallery.npz").read_text() == f"changed {number}"
        assert (run.path / f"best-{number}" / "model.onnx").read_text() == "another"
        assert not (run.best_dir / "gallery.history").exists()


def test_a_changed_gallery_is_known_when_none_of_its_changes_can_be_undone_any_more(searched):
    run, _ = searched

    class Shelved(QuickTrainer):
        def export(self, spec):
            Path(spec["export"]["onnx_file"]).with_name("gallery.npz").write_text("made")
            return super().export(spec)

    gallery, caller = run.best_dir / "gallery.npz", Caller(Shelved())
    for _ in range(2):
        assert "changed_gallery" not in hand(searched, caller)[1].named("exported")[0]
    (run.best_dir / "gallery.history").mkdir()  # nothing is left in it
    gallery.write_text("changed")
    for _ in range(2):
        (told,) = hand(searched, caller)[1].named("exported")
        assert (told["changed_gallery"], gallery.read_text()) == (str(gallery), "changed")
    (run.best_dir / "model.onnx").write_text("another")
    (told,) = hand(searched, caller)[1].named("exported")
    assert Path(told["changed_gallery"]).read_text() == "changed"
    assert gallery.read_text() == "made"


def test_paths_in_the_result_are_where_the_files_end_up(searched):
    run, engine = searched
    result = export_trial(
        run, TRAINER, engine.ledger.trial(2), engine.specs.spec_of(engine.ledger.trial(2)),
        InProcessExecutor(NAME), run.path / "exports" / "0002",
    )  # fmt: skip
    assert result["onnx"] == str(run.path / "exports/0002/model.onnx")
    assert result["num_images_checked"] == 1
    assert ".0002-new" not in json.dumps(result)


def test_nothing_but_failures_names_the_first(tmp_path):
    spec = {"fault.kind": "always_raise"}
    engine = make_engine(tmp_path, Listed([0.1] * 5), study=quick_study(spec))
    InProcessExecutor(NAME).run(engine)
    with pytest.raises(HandoffError, match="none of 3 trials has a result; .* by code: RuntimeE"):
        hand((RunDir(tmp_path), engine))


def test_no_trial_at_all_is_no_failure(tmp_path):
    engine = make_engine(tmp_path, Listed([]))
    assert hand((RunDir(tmp_path), engine))[0] is None


class LostWorker(HpoError):
    kind = "infrastructure"


@pytest.mark.parametrize("times", [1, 2])
def test_a_lost_worker_is_replaced_once(searched, caplog, times):
    class Mortal(QuickTrainer):
        lost = 0

        def export(self, spec):
            Mortal.lost += 1
            if Mortal.lost <= times:
                raise LostWorker("the worker process was lost")
            return super().export(spec)

    if times == 1:
        result, _ = hand(searched, Caller(Mortal()))
        assert result["trial"] == 1
        assert "export: the worker process was lost; trying once more" in caplog.text
    else:
        with pytest.raises(HandoffError, match="trial 1 was not exported: the worker process"):
            hand(searched, Caller(Mortal()))


def test_a_comparison_that_was_asked_for_and_could_not_be_made_is_told(searched):
    """No repeat was trained: the report, and all that tells its story, say so."""
    run, engine = searched
    result = hand_on(
        run, replace(plan(**SOURCES), confirm=2), TRAINER, engine.ledger, InProcessExecutor(NAME),
        Events(), specs=engine.specs, end=END,
    )  # fmt: skip
    assert result["confirmation"] is None
    why = "not confirmed: the budget ended before two finalists were trained again"
    assert result["unconfirmed"] == why
    assert why in read_story(run, extent_of([t.trained_epochs for t in engine.ledger.trials()]))
    assert hand(searched)[0]["unconfirmed"] is None
