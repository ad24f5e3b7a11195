import json
import shutil
import threading

import pytest

from hpo.core.budget import Budget
from hpo.core.errors import RunError, SpecError
from hpo.core.yaml_io import to_yaml
from hpo.results.export import export_run, trainer_of_export
from hpo.results.predict import label_with_run
from hpo.run.handed_on import read_handed_on
from hpo.run.lock_file import hold
from hpo.run.run_dir import AUTOML_FACTS, Holder, RunDir
from hpo.searching.session import resume_search, start_search
from hpo.study.skill_address import TrainerFacts, to_file, trainer_name
from tests.quick_runs import Ear, quick_study
from tests.quick_trainer import NAME, TRAINER


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished search with a failed trial: 1 raised before its first epoch was over."""
    spec = {"fault.kind": "raise", "fault.trial": 1, "fault.epoch": 1}
    study = quick_study(spec, budget=Budget(trials=4), keep="all")
    return start_search(study, tmp_path_factory.mktemp("runs"), Ear().settings()).run


def history(path):
    return json.loads(path.read_text())["history"]


def test_the_best_trial_goes_to_its_own_folder_again(run):
    report = (run.best_dir / "report.json").read_text()
    result = export_run(run, trial=None, file=None)
    assert result["trial"] == json.loads(report)["trial"]
    assert result["onnx"] == str(run.best_dir / "model.onnx")
    assert (run.best_dir / "report.json").read_text() == report


def test_an_export_makes_the_gallery_anew_and_sets_a_changed_one_aside(run):
    history = run.best_dir / "gallery.history"
    for number, model in enumerate((history.with_name("model.onnx").read_text(), "another"), 1):
        history.mkdir()
        (history / "000001.npz").touch()
        (run.best_dir / "model.onnx").write_text(model)
        told = export_run(run, trial=None, file=None)
        assert told["changed_gallery"] == str(run.path / f"best-{number}" / "gallery.npz")
        assert (run.path / f"best-{number}" / "model.onnx").read_text() == model
        assert not history.exists()
    assert "changed_gallery" not in export_run(run, trial=None, file=None)


def test_the_best_is_exported_while_nothing_else_is_at_work_in_the_run(run):
    before = (run.best_dir / "model.onnx").stat().st_ino
    for holder in (Holder.SEARCH, Holder.GALLERY):
        with run.lock(holder):
            with pytest.raises(RunError, match="running in it|gallery is being changed"):
                export_run(run, trial=None, file=None)
            assert export_run(run, trial=0, file=None)["trial"] == 0
    assert (run.best_dir / "model.onnx").stat().st_ino == before


def test_an_export_of_the_same_trial_waits_for_the_one_before_it(run):
    folder = run.path / "exports" / "0000"
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(exist_ok=True)
    waiting = threading.Thread(target=export_run, args=(run,), kwargs={"trial": 0, "file": None})
    with hold(folder.parent / ".0000.lock", lambda: "taken"):
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
        assert not folder.exists()
    waiting.join()
    assert history(folder / "model.onnx")


def test_who_waits_for_an_export_to_label_by_it_makes_none_of_its_own(run, tmp_path):
    folder, other = run.path / "exports" / "0000", tmp_path / "made"
    export_run(run, trial=0, file=None)
    folder.rename(other)
    (tmp_path / "a.jpg").touch()
    rows = []

    def label():
        rows.extend(label_with_run(run, [str(tmp_path / "a.jpg")], trial=0).rows)

    waiting = threading.Thread(target=label)
    with hold(folder.parent / ".0000.lock", lambda: "taken"):
        waiting.start()
        waiting.join(0.3)
        (other / "model.onnx").write_text("of the one before")
        other.rename(folder)
    waiting.join()
    assert (folder / "model.onnx").read_text() == "of the one before"
    assert [row["labels"] for row in rows] == [["a"]]
    shutil.rmtree(folder)


def test_any_trial_can_be_exported(run):
    result = export_run(run, trial=0, file=None)
    folder = run.path / "exports" / "0000"
    assert (result["trial"], result["onnx"]) == (0, str(folder / "model.onnx"))
    own = run.trial_dir(0) / "ckpt" / "best.ckpt"
    assert history(folder / "model.onnx") == history(own)


def test_the_file_goes_where_it_is_asked(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    from pathlib import Path

    result = export_run(run, trial=0, file=Path("new/zero.onnx"))
    assert result["onnx"] == str(tmp_path / "new" / "zero.onnx")
    assert history(tmp_path / "new" / "zero.onnx") == history(
        run.trial_dir(0) / "ckpt" / "best.ckpt"
    )
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["zero.onnx"]


@pytest.mark.parametrize("number", [-1, 4, 99])
def test_a_trial_that_does_not_exist(run, number):
    with pytest.raises(RunError, match=f"there is no trial {number}; it has 4 trials, from 0 on"):
        export_run(run, trial=number, file=None)


def test_a_trial_without_a_checkpoint_is_the_users_matter(run):
    for file in (run.trial_dir(1) / "ckpt").iterdir():
        file.unlink()
    with pytest.raises(RunError, match=r"trial 1: the checkpoint of its best epoch is missing"):
        export_run(run, trial=1, file=None)


def test_a_trial_whose_checkpoint_was_removed(tmp_path):
    """By default losers keep none; the winner and the default can be exported all the same."""
    run = start_search(quick_study(budget=Budget(trials=4)), tmp_path, Ear().settings()).run
    best = json.loads((run.best_dir / "report.json").read_text())["trial"]
    for number in range(4):
        if number in (0, best):
            assert export_run(run, trial=number, file=None)["trial"] == number
        else:
            words = rf"^trial {number}: its checkpoints were removed .*`keep: best`.*--keep all"
            with pytest.raises(RunError, match=words):
                export_run(run, trial=number, file=None)


def test_an_export_of_an_earlier_release_stays_of_use_where_its_checkpoint_was_removed(tmp_path):
    run = start_search(quick_study(budget=Budget(trials=3)), tmp_path, Ear().settings()).run
    loser = 1 if json.loads((run.best_dir / "report.json").read_text())["trial"] != 1 else 2
    shutil.copytree(run.best_dir, folder := run.path / "exports" / f"{loser:04d}")
    (folder / ".made.json").unlink()  # which those releases did not write
    before = (folder / "model.onnx").read_bytes()
    shutil.rmtree(run.checkpoints_dir(loser), ignore_errors=True)
    told = export_run(run, trial=loser, file=None, is_once=True)
    assert told == {"trial": loser, "onnx": str(folder / "model.onnx"), "gallery": None}
    assert (folder / "model.onnx").read_bytes() == before


def test_a_run_that_was_moved_away_is_told_as_such(tmp_path):
    with pytest.raises(RunError, match="gone: there is no such run any more; bring it back"):
        trainer_of_export(RunDir(tmp_path / "gone"))
    (tmp_path / "there").mkdir()
    with pytest.raises(RunError, match="there: has no exported model yet"):
        trainer_of_export(RunDir(tmp_path / "there"))


def test_a_run_without_a_result(tmp_path):
    declined = start_search(
        quick_study(), tmp_path, Ear().settings(confirm_start=lambda review: False)
    )
    with pytest.raises(RunError, match="no trial has a result yet"):
        export_run(declined.run, trial=None, file=None)
    with pytest.raises(RunError, match="has no exported model yet"):
        label_with_run(declined.run, [], 5)


def test_a_new_winner_does_not_keep_the_old_ones_report(tmp_path):
    first = start_search(quick_study(budget=Budget(trials=1)), tmp_path, Ear().settings())
    # Paused when some other trial has become the best, so the search has not handed it on.
    ear = Ear(stop_after=(7, 1))
    assert resume_search(first.run, ear.settings(), budget=Budget(trials=9)).finished is None
    result = export_run(first.run, trial=None, file=None)
    assert result["trial"] != 0
    assert not (first.run.best_dir / "report.json").exists()


def test_a_trial_that_was_trained_on_keeps_no_export_and_no_report_of_an_earlier_epoch(tmp_path):
    study = quick_study(budget=Budget(epochs=6))
    first = start_search(study, tmp_path, Ear().settings())
    assert (first.finished.best["trial"], first.finished.best["epoch"]) == (0, 6)
    own = first.run.path / "exports" / "0000"
    export_run(first.run, trial=0, file=None)
    assert len(history(own / "model.ckpt")) == 6
    ear = Ear(stop_after=(0, 8))
    assert resume_search(first.run, ear.settings(), budget=Budget(epochs=9)).finished is None
    (tmp_path / "a.jpg").touch()
    assert list(label_with_run(first.run, [str(tmp_path / "a.jpg")], trial=0).rows)
    assert len(history(own / "model.onnx")) == 8
    result = export_run(first.run, trial=None, file=None)
    assert result["trial"] == 0
    assert len(history(first.run.best_dir / "model.ckpt")) == 8
    assert read_handed_on(first.run) == {}


class Formed:
    """The quick trainer with forms that say what they were asked for."""

    def __getattr__(self, name):
        return getattr(TRAINER, name)

    def export_form(self, folder, form, out, name):
        if form == "triton" and name == "small":
            raise RunError("triton: no room for the repository")
        (out / f"{name}.{form}").write_bytes((folder / "model.onnx").read_bytes())
        return {"onnx": str(out / f"{name}.{form}")}


FORMED = Formed()


def test_forms_need_a_trainer_that_has_them(run):
    with pytest.raises(SpecError, match=r"has no export_form, which that form .*--timm"):
        export_run(run, trial=None, file=None, forms=["timm"])


@pytest.mark.parametrize("forms", [[], ["timm", "triton"]])
def test_files_and_forms_are_of_the_export_that_is_there(run, tmp_path, monkeypatch, forms):
    monkeypatch.setattr("hpo.results.export.find_trainer", lambda name: FORMED)
    (run.best_dir / "model.onnx").write_bytes(b"as it is")
    (run.best_dir / "gallery.npz").write_bytes(b"with a class that was added")
    result = export_run(run, trial=None, file=tmp_path / "x" / "a.onnx", forms=forms)
    assert result["onnx"] == str(tmp_path / "x" / "a.onnx")
    assert result["gallery"] == str(tmp_path / "x" / "a.gallery.npz")
    assert {f: result[f] for f in forms} == {
        f: {"onnx": str(tmp_path / "x" / f"a.{f}")} for f in forms
    }
    for name in ("a.onnx", *(f"a.{form}" for form in forms)):
        assert (tmp_path / "x" / name).read_bytes() == b"as it is"
    for gallery in (run.best_dir / "gallery.npz", tmp_path / "x" / "a.gallery.npz"):
        assert gallery.read_bytes() == b"with a class that was added"
    shutil.rmtree(run.path / "exports" / "0002", ignore_errors=True)
    export_run(run, trial=2, file=None, forms=["timm"])
    assert history(run.path / "exports" / "0002" / "model.timm")


def test_what_was_made_before_a_form_that_failed_is_told(run, tmp_path, monkeypatch):
    monkeypatch.setattr("hpo.results.export.find_trainer", lambda name: FORMED)
    made = {}
    file, forms = tmp_path / "small.onnx", ["pixels", "timm", "triton"]
    with pytest.raises(RunError, match="no room for the repository"):
        export_run(run, trial=0, file=file, forms=forms, made=made)
    told = {name: made[name] for name in ("trial", "onnx", "gallery", "pixels", "timm")}
    assert told == {
        "trial": 0,
        "onnx": str(file),
        "gallery": None,
        **{form: {"onnx": str(tmp_path / f"small.{form}")} for form in ("pixels", "timm")},
    }
    assert "triton" not in made


@pytest.mark.parametrize("text", ["", "[]", '{"trial": "x"}', None])
def test_an_export_mends_what_was_told_of_the_winner(run, text):
    file = run.best_dir / "report.json"
    whole = json.loads(file.read_text())
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
        with pytest.raises(RunError, match="is damaged; `hpo export"):
            read_handed_on(run)
    export_run(run, trial=None, file=None)
    mended = read_handed_on(run)
    assert mended == {name: whole[name] for name in mended}
    assert {"trial", "value", "params", "spec", "onnx", "test", "expected"} <= mended.keys()


@pytest.mark.parametrize(
    ("trainer", "network", "name"),
    [("", "ml_recog", "ml_recog"), (NAME, "n", TRAINER.name), ("", "n", "")],
)
def test_a_model_is_of_use_where_the_skill_folder_of_its_workspace_is_gone(
    tmp_path, trainer, network, name
):
    run = RunDir(tmp_path / "ws")
    for place in (run.best_dir, (run.path / AUTOML_FACTS).parent):
        place.mkdir(parents=True)
    (run.best_dir / "model.onnx").touch()
    (run.path / AUTOML_FACTS).write_text(json.dumps({"network": network}))
    address = trainer_name(tmp_path / "gone", TrainerFacts(trainer=trainer))
    run.study_file.write_text(to_yaml({"schema_version": 1, "trainer": to_file(address)}))
    if name:
        assert trainer_of_export(run).name == name
        return
    with pytest.raises(SpecError, match=r"/gone: no such skill folder; bring it back, or give"):
        trainer_of_export(run)
