import json

import pytest

from tests.hpo.results.test_export import FORMED


def test_the_best_trial_into_its_folder(hpo, json_of, first):
    code, out, err = hpo("export", "first")
    assert code == 0
    best = json_of("best", "first")["trial"]
    assert out == (
        f"trial {best}: {first / 'best' / 'model.onnx'}\nchecked on 1 picture against torch\n"
    )
    assert "a lot to say" in err  # what a trainer prints is not the result
    (first / "best" / "gallery.history").mkdir()
    (first / "best" / "gallery.history" / "000001.npz").touch()
    said = (
        f"the gallery begins anew; the one that was changed: {first / 'best-1' / 'gallery.npz'}\n"
    )
    assert hpo("export", "first")[1].endswith(said)


def test_any_trial_to_any_place(hpo, first, tmp_path):
    code, out, _ = hpo("export", "first", "--trial", 0, "--out", "deep/zero.onnx", "--json")
    assert code == 0
    result = json.loads(out)
    assert (result["trial"], result["onnx"]) == (0, str(tmp_path / "deep/zero.onnx"))
    assert (tmp_path / "deep/zero.onnx").is_file()


def test_an_export_replaces_nothing_but_an_export(hpo, fails, first, tmp_path):
    for name in ("photo.jpg", "a.gallery.npz"):
        (tmp_path / name).touch()
    (tmp_path / "b.onnx").symlink_to("photo.jpg")
    assert "--out: must end in .onnx, got photo.jpg" in fails(
        "export", "first", "--out", "photo.jpg"
    )
    assert "b.onnx is no .onnx file" in fails("export", "first", "--out", "b.onnx")
    for _ in range(2):
        assert hpo("export", "first", "--out", "a.onnx")[0] == 0
    assert (tmp_path / "photo.jpg").stat().st_size == 0


def test_forms_before_one_that_failed_are_told(hpo, first, tmp_path, monkeypatch):
    monkeypatch.setattr("hpo.results.export.find_trainer", lambda name: FORMED)
    words = ("export", "first", "--trial", 0, "--out", "small.onnx", "--timm", "--triton")
    code, out, err = hpo(*words)
    assert (code, out) == (2, "")
    *_, made, timm, why = err.splitlines()
    assert made == "checked on 1 picture against torch"
    assert timm == f"timm: {tmp_path / 'small.timm'}"
    assert f"trial 0: {tmp_path / 'small.onnx'}" in err
    assert why == "hpo export: triton: no room for the repository"
    assert hpo(*words[:-1])[1].splitlines()[-1] == timm


def test_a_paused_run_can_be_exported(hpo, second):
    assert hpo("export")[1].startswith("trial 0: ")
    assert (second / "best" / "model.onnx").is_file()


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("first", "--trial", 9), "there is no trial 9; it has 4 trials, from 0 on"),
        (("first", "--trial", -1), "there is no trial -1"),
        (("third",), "no run 'third'"),
        (("--runs", "nowhere"), "no runs below nowhere/"),
    ],
)
def test_what_cannot_be_exported(fails, runs, argv, said):
    assert said in fails("export", *argv)


def test_a_trial_whose_checkpoint_is_gone(fails, first):
    (first / "trials/0000/ckpt/best.ckpt").unlink()
    assert "the checkpoint of its best epoch is missing" in fails("export", "first", "--trial", 0)


def test_a_trial_whose_checkpoint_was_removed(fails, first):
    line = fails("export", "first", "--trial", 1)  # it has failed
    assert "trial 1: its checkpoints were removed" in line
    assert f"ml_recog train -e {first / 'trials/0001/spec.yaml'} results_dir=" in line
