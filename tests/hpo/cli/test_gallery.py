"""`hpo gallery` on a run whose model is the mean colour of a picture."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from hpo.cli.main import main
from hpo.core.budget import parse_budget
from hpo.search.session import SearchSettings, start_search
from tests.hpo.tracking.test_registry import COLORS, write_model
from tests.quick_runs import quick_study


@pytest.fixture
def run(tmp_path):
    """A finished run, its export replaced by a model that the real trainer can use."""
    study = quick_study(budget=parse_budget("1"))
    run = start_search(study, tmp_path / "runs", SearchSettings(executor="inprocess")).run
    shutil.rmtree(run.best_dir)
    write_model(run.best_dir)
    with np.load(run.best_dir / "gallery.npz") as arrays:
        kept = dict(arrays)
    kept |= {"format": 1, "paths": [f"{name}/0.png" for name in COLORS]}
    np.savez(run.best_dir / "gallery.npz", **kept)
    text = run.study_file.read_text().replace("tests.quick_trainer:TRAINER", "ml_recog")
    run.study_file.write_text(text)
    return run


def test_classes_are_listed(run, capsys):
    assert main(["gallery", str(run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["CLASS", "PICTURES"]
    assert [line.split() for line in lines[1:]] == [["blue", "1"], ["green", "1"], ["red", "1"]]


def test_a_new_class_is_recognised_without_training(run, tmp_path, capsys):
    (tmp_path / "new" / "white").mkdir(parents=True)
    Image.new("RGB", (20, 20), (250, 250, 250)).save(tmp_path / "new" / "white" / "a.png")
    Image.new("RGB", (30, 10), (200, 200, 200)).save(tmp_path / "asked.png")
    assert main(["predict", str(run), str(tmp_path / "asked.png"), "--topk", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["labels"] != ["white"]
    assert main(["gallery", str(run), "--add", str(tmp_path / "new"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["classes"] == {"blue": 1, "green": 1, "red": 1, "white": 1}
    assert (told["added"]["new_classes"], told["added"]["new_pictures"]) == (1, 1)
    main(["predict", str(run), str(tmp_path / "asked.png"), "--topk", "1", "--json"])
    assert json.loads(capsys.readouterr().out)[0]["labels"] == ["white"]


def test_a_folder_that_is_missing_is_one_line(run, tmp_path, capsys):
    assert main(["gallery", str(run), "--add", str(tmp_path / "nowhere")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("hpo gallery: ")
    assert err.count("\n") == 1


def test_without_an_export_there_is_no_gallery(run, capsys):
    shutil.rmtree(run.best_dir)
    assert main(["gallery", str(run)]) == 2
    assert "has no exported model yet" in capsys.readouterr().err
