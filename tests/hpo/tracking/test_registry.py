"""The registered winner labels by a model that was made by hand: the mean colour of a picture."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hpo.run.run_dir import RunDir
from hpo.tracking.registry import ALIAS, register_winner
from hpo.tracking.rows import Study
from hpo.tracking.store import connect, ensure_experiment
from tests.hpo.tracking.scripted import copy_store
from trainer.gallery import GalleryIndex
from trainer.vectors import Vectors

COLORS = {"red": (220, 30, 30), "green": (45, 200, 30), "blue": (30, 30, 220)}


def write_model(folder):
    """An ONNX file whose embedding is the mean of each channel, and a gallery of three colours."""
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["input"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["fc_pred"]),
        ],
        "mean",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("fc_pred", TensorProto.FLOAT, ["N", 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    facts = {"input_height": 8, "input_width": 8, "pixel_mean": [0.0, 0.0, 0.0],
             "pixel_std": [1.0, 1.0, 1.0]}  # fmt: skip
    for name, value in facts.items():
        model.metadata_props.add(key=name, value=json.dumps(value))
    folder.mkdir(parents=True)
    onnx.save(model, str(folder / "model.onnx"))
    GalleryIndex(
        vectors=Vectors.of(np.array(list(COLORS.values()), dtype=np.float32)),
        labels_G=np.arange(3),
        class_names=tuple(COLORS),
        paths=tuple(f"{name}/0.png" for name in COLORS),
    ).save(folder / "gallery.npz")
    told = {"trial": 7, "value": 0.5, "params": {}, "spec": str(folder / "spec.yaml")}
    (folder / "report.json").write_text(json.dumps(told))


@pytest.fixture
def made(request, template, tmp_path):
    """A store with a study's run, and a run directory with an export."""
    name = getattr(request, "param", "shelf")
    out = copy_store(template, tmp_path / "runs")
    uri = f"sqlite:///{out / 'mlflow.db'}"
    client = connect(uri)
    run = client.create_run(ensure_experiment(client, uri, name))
    folder = out / name / "20260101-000000"
    study = Study(
        run=RunDir(folder), name=name, uuid="u", direction="maximize", metric="m", summary={}
    )
    return client, study, run.info.run_id, uri


def test_without_an_export_nothing_is_registered(made):
    client, study, run_id, _ = made
    assert register_winner(client, study, run_id) is None
    assert client.search_registered_models() == []


def test_each_model_and_each_gallery_is_a_version_with_files_of_its_own(made):
    import mlflow

    client, study, run_id, uri = made
    write_model(study.run.best_dir)
    file = study.run.best_dir / "gallery.npz"
    first = file.read_bytes()
    assert register_winner(client, study, run_id) == "1"
    (study.run.best_dir / "model.onnx").touch()
    assert register_winner(client, study, run_id) == "1"
    replace(GalleryIndex.load(file), class_names=("blue", "red", "green")).save(file)
    assert register_winner(client, study, run_id) == "2"
    version = client.get_model_version_by_alias("shelf", ALIAS)
    assert version.version in ("2", 2)
    assert version.tags["hpo.trial"] == "7"
    assert version.run_id == run_id
    file.write_bytes(first)
    assert register_winner(client, study, run_id) == "3"
    mlflow.set_tracking_uri(uri)
    places = [mlflow.artifacts.download_artifacts(f"models:/shelf/{n}") for n in (1, 2, 3)]
    galleries = [GalleryIndex.load(Path(p) / "artifacts" / "gallery.npz") for p in places]
    names = [gallery.class_names for gallery in galleries]
    assert names == [tuple(COLORS), ("blue", "red", "green"), tuple(COLORS)]
    models = [Path(p) / "artifacts" / "model.onnx" for p in places]
    assert len({model.stat().st_ino for model in models}) == 1, "the same file is kept once"
    assert models[1].read_bytes() == (study.run.best_dir / "model.onnx").read_bytes()


@pytest.mark.parametrize(
    ("made", "name"),
    [
        ("exp: one", "exp_ one"),
        ('it\'s "new"?', 'it\'s "new"_'),
        ("50%; one", "50%_ one"),
        ("exp #1", "exp _1"),
        ("me@home", "me@home"),
        ("p%41", "p%41"),
    ],
    indirect=["made"],
)
def test_a_study_of_any_name_has_a_model_that_can_be_found(made, name):
    import mlflow

    client, study, run_id, uri = made
    write_model(study.run.best_dir)
    assert register_winner(client, study, run_id) == "1"
    assert register_winner(client, study, run_id) == "1"
    assert client.get_model_version_by_alias(name, ALIAS).run_id == run_id
    mlflow.set_tracking_uri(uri)
    signature = mlflow.models.get_model_info(f"models:/{name}@{ALIAS}").signature
    assert signature.inputs.input_names() == ["image"]


def test_it_labels(made, tmp_path):
    """Where nothing of ours is installed it does, too: tests/e2e/test_real_search.py."""
    import mlflow
    import pandas as pd

    client, study, run_id, uri = made
    write_model(study.run.best_dir)
    register_winner(client, study, run_id)
    for name, color in COLORS.items():
        Image.new("RGB", (40, 20), tuple(c + 10 for c in color)).save(tmp_path / f"{name}.png")
    mlflow.set_tracking_uri(uri)
    model = mlflow.pyfunc.load_model("models:/shelf@best")
    images = pd.DataFrame({"image": [f"{tmp_path}/{name}.png" for name in COLORS]})
    rows = model.predict(images, params={"topk": 2}).to_dict("list")
    with pytest.raises(
        ValueError, match="^topk: must be 1 to 3, the classes of the gallery, got 4$"
    ):
        model.predict(images, params={"topk": 4})
    assert rows["label"] == list(COLORS)
    unit = {name: np.array(c) / np.linalg.norm(c) for name, c in COLORS.items()}
    for (name, color), labels, distances in zip(
        COLORS.items(), rows["labels"], rows["distances"], strict=True
    ):
        seen = np.array(color) + 10
        seen = seen / np.linalg.norm(seen)
        far = sorted((float(np.linalg.norm(seen - u)), other) for other, u in unit.items())
        assert labels == [other for _, other in far[:2]]
        assert distances == pytest.approx([d for d, _ in far[:2]], abs=1e-4)
        assert labels[0] == name
