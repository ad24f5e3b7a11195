"""Sound things to break: pictures, a trained model with its export, a finished search. Each made once a process."""

from __future__ import annotations

import atexit
import contextlib
import functools
import io
import shutil
import tempfile
from pathlib import Path

import yaml

from tests.trainer.tiny import SIDE, make_folders, make_splits, train_spec

STUDY = "schema_version: 1\ntrainer: tests.quick_trainer:TRAINER\nbudget: 3\n"


@functools.cache
def folder() -> Path:
    """Where the shelf stands in this process."""
    made = Path(tempfile.mkdtemp(prefix="bad-input-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


@functools.cache
def pictures() -> Path:
    """`train`, `gallery` and `val`, two classes each."""
    root = folder() / "pictures"
    for seed, (name, count) in enumerate((("train", 8), ("gallery", 2), ("val", 2))):
        make_folders(root / name, classes=2, images=count, seed=seed)
    return root


def take_pictures(desk: Path) -> Path:
    """Put the pictures on a desk; returns it."""
    shutil.copytree(pictures(), desk, dirs_exist_ok=True)
    return desk


@functools.cache
def model() -> Path:
    """A folder with `ckpt/last.ckpt` of a tiny model, its splits, and a `model.onnx` of the same input."""
    from trainer.training import fit

    root = folder() / "model"
    splits = make_splits(root, classes=4, images=8)
    with contextlib.redirect_stderr(io.StringIO()):
        fit(train_spec(splits, root, train__num_epochs=1), lambda _: True)
    _write_onnx(root / "model.onnx")
    return root


def _write_onnx(path: Path) -> None:
    """The mean of each channel as an embedding: made in a moment, unlike an export."""
    from onnx import TensorProto, helper, save

    node = helper.make_node("GlobalAveragePool", ["input"], ["pool"])
    flat = helper.make_node("Flatten", ["pool"], ["fc_pred"])
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, SIDE, SIDE])
    result = helper.make_tensor_value_info("fc_pred", TensorProto.FLOAT, ["N", 3])
    graph = helper.make_graph([node, flat], "mean", [given], [result])
    opset = helper.make_opsetid("", 17)
    save(helper.make_model(graph, opset_imports=[opset], ir_version=8), str(path))


def take_model(desk: Path, **changes) -> Path:
    """Put checkpoint, export, pictures and a `spec.yaml` for every action on a desk."""
    shutil.copytree(model(), desk, dirs_exist_ok=True)
    spec = train_spec({name: name for name in ("train", "reference", "query")}, Path("out"))
    spec = {
        k: v
        for k, v in spec.items()
        if not k.startswith(("dataset.gaussian", "dataset.color", "dataset.re_"))
    }
    actions = {
        "evaluate.checkpoint": "ckpt/last.ckpt",
        "inference.checkpoint": "ckpt/last.ckpt",
        "inference.input_path": "query",
        "inference.inference_input_type": "classification_folder",
        "export.checkpoint": "ckpt/last.ckpt",
        "export.onnx_file": "new.onnx",
        "export.on_cpu": True,
        "gen_trt_engine.onnx_file": "model.onnx",
        "gen_trt_engine.trt_engine": "model.engine",
    }
    spec = spec | actions | {key.replace("__", "."): value for key, value in changes.items()}
    (desk / "spec.yaml").write_text(yaml.safe_dump(_nested(spec)))
    return desk


def _nested(flat: dict) -> dict:
    tree: dict = {}
    for name, value in flat.items():
        *above, last = name.split(".")
        node = tree
        for part in above:
            node = node.setdefault(part, {})
        node[last] = value
    return tree


@functools.cache
def run() -> Path:
    """A finished search of the quick trainer, three trials."""
    from hpo.core.budget import Budget
    from hpo.searching.session import start_search
    from tests.quick_runs import Ear, quick_study

    out = folder() / "runs"
    with contextlib.redirect_stderr(io.StringIO()):
        return start_search(quick_study(budget=Budget(trials=3)), out, Ear().settings()).run.path


def take_run(desk: Path) -> Path:
    """Put the run on a desk as `runs/quick/20260101-120000`; returns it."""
    target = desk / "runs" / "quick" / "20260101-120000"
    shutil.copytree(run(), target)
    return target
