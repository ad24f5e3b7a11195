"""Relative paths of a spec are made absolute, by what a trainer says of its keys."""

from types import SimpleNamespace

import pytest

from hpo.study.sections import SearchOptions
from hpo.study.spec import StudySpec, anchored, load_given_study, load_study
from hpo.study.spec_paths import anchored_path, anchored_search, anchored_spec
from hpo.study.trainers import find_trainer

TRAINER = SimpleNamespace(path_keys=("data.map", "data.folders"), weight_keys=("net.start",))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a.yaml", "/here/a.yaml"), ("names", "/here/names"), ("./a/../b.yaml", "/here/b.yaml"),
        ("~/b.yaml", "/home/me/b.yaml"), ("/c.yaml", "/c.yaml"), ("s3://bucket/d.yaml",) * 2, ("", ""),
        ("file:///d/a b", "/d/a b"), ("file:///d/a%20b", "/d/a b"),
    ],
)  # fmt: skip
def test_a_path(monkeypatch, tmp_path, text, wanted):
    monkeypatch.setenv("HOME", "/home/me")
    here = str(tmp_path)
    assert anchored_path(text, tmp_path) == wanted.replace("/here", here)


def test_keys_that_hold_files_alone_are_changed(tmp_path):
    spec = {
        "data": {"map": "m.yaml", "folders": ["a", "/b"], "name": "m.yaml"},
        "net": {"start": "lite0", "size": 3},
    }
    found = anchored_spec(spec, TRAINER, tmp_path)
    assert found == {
        "data": {"map": f"{tmp_path}/m.yaml", "folders": [f"{tmp_path}/a", "/b"], "name": "m.yaml"},
        "net": {"start": "lite0", "size": 3},
    }
    assert anchored_spec(found, TRAINER, tmp_path / "elsewhere") == found
    assert anchored_spec({"data": {"map": None}}, TRAINER, tmp_path) == {"data": {"map": None}}
    assert anchored_spec(spec, SimpleNamespace(), tmp_path) == spec


def test_what_is_fixed_or_tried_is_changed_in_every_stage(tmp_path):
    options = {"net.start": ["lite0", "w.pth"], "net.size": [1, 2]}
    stages = {
        "heads": {"spec": {"data": {"map": "m"}, "net.size": 2}, "options": options},
        "odd": None,
    }
    search = SearchOptions(
        fix={"data.map": "m", "net.size": 1}, options=options, earlier_stages=stages
    )
    found = anchored_search(search, TRAINER, tmp_path)
    tried = {"net.start": ["lite0", f"{tmp_path}/w.pth"], "net.size": [1, 2]}
    assert found.fix == {"data.map": f"{tmp_path}/m", "net.size": 1}
    assert found.options == tried
    heads = {"spec": {"data.map": f"{tmp_path}/m", "net.size": 2}, "options": tried}
    assert found.earlier_stages == {"heads": heads, "odd": None}


def test_a_study_file_and_what_is_laid_over_it(tmp_path):
    """Every key of the recognition trainer, and none of them is where it was called."""
    trainer = find_trainer("ml_recog")
    keys = [*trainer.path_keys, *trainer.weight_keys]
    assert {
        "dataset.class_map", "dataset.train_dataset", "model.pretrained_trunk_path", "model.pretrained_model_path",
        "model.pretrained_embedder_path", "train.head_checkpoint", "train.resume_training_checkpoint_path",
        "evaluate.checkpoint", "gen_trt_engine.tensorrt.calibration.cal_image_dir",
    } <= set(keys)  # fmt: skip
    lines = [f"  {key}: sub/{key}.x" for key in keys]
    file = tmp_path / "s.yaml"
    file.write_text("\n".join(["schema_version: 1", "spec:", *lines, ""]))
    found = load_given_study(file)
    for key in keys:
        node = found.spec
        for part in key.split("."):
            node = node[part]
        assert node == f"{tmp_path}/sub/{key}.x"
    assert anchored(found, tmp_path / "elsewhere") == found
    over = anchored(StudySpec(spec={"dataset": {"class_map": "1e3"}}), tmp_path / "elsewhere")
    assert over.spec["dataset"]["class_map"] == f"{tmp_path}/elsewhere/1e3"
    assert load_study(file).spec["dataset"]["class_map"] == "sub/dataset.class_map.x"  # of a run


def test_a_file_that_is_a_link_is_kept_by_its_name(tmp_path):
    (tmp_path / "3f2a").touch()
    (tmp_path / "query.csv").symlink_to("3f2a")
    assert anchored_path("query.csv", tmp_path) == f"{tmp_path}/query.csv"
