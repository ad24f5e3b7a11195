"""Every leaf of the five schemas, published and own, does something or is refused with a reason."""

import hashlib
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from tests.trainer.actions import watching as watch
from tests.trainer.deep_files import png
from tests.trainer.test_every_parameter import CASES as LEARNT
from tests.trainer.tiny import make_folders, train_spec
from trainer.config.differences import differences_page
from trainer.config.relations import REFUSED
from trainer.config.root import ACTIONS
from trainer.config.tree import leaves
from trainer.errors import SpecError
from trainer.session import TRAINER
from trainer.spec import parse_spec

SKILL = Path(TRAINER.skill_dir)


@dataclass(frozen=True)
class Case:
    """A leaf with another value, and what must look different then."""

    look: Any
    value: Any
    base: dict = field(default_factory=dict)
    """What else the spec says; values may be functions of the world, as `value` may."""
    also: dict = field(default_factory=dict)
    """What the other value cannot be had without."""


def state_file(world):
    """Weights of another model than the trained one."""
    path = world.folder / "other.pth"
    spec = parse_spec(world.trained.spec(world.folder), "export", is_complete=False)
    from trainer.models.recognizer import build_recognizer

    torch.manual_seed(3)
    torch.save(build_recognizer(spec).state_dict(), path)
    return str(path)


def part_file(part):
    def write(world):
        state = torch.load(world.trained.checkpoint, weights_only=True)["state_dict"]
        own = {k.removeprefix(f"{part}."): v for k, v in state.items() if k.startswith(part)}
        torch.save(own, world.folder / f"{part}.pth")
        return str(world.folder / f"{part}.pth")

    return write


def digest_of(part):
    """The digest of what `part_file` writes."""

    def read(world):
        return hashlib.sha256(Path(part_file(part)(world)).read_bytes()).hexdigest()

    return read


def checkpoint(world):
    return str(world.trained.checkpoint)


def model_file(world):
    return str(world.exported / "model.onnx")


def split(name):
    return lambda world: world.splits[name]


def below(name):
    return lambda world: str(world.folder / "elsewhere" / name)


def class_map(world):
    path = world.folder / "names.yaml"
    path.write_text("".join(f"class_{c:02d}: thing {c}\n" for c in range(6)))
    return str(path)


def with_a_stranger(world):
    """Queries of which one class is not in the reference."""
    return str(make_folders(world.folder / "stranger", classes=7, images=1))


def deep(world):
    """The training pictures in 16 bits a channel, which they do not fill."""
    made = world.folder / "deep"
    for path in Path(world.splits["train"]).rglob("*.png"):
        target = made / path.relative_to(world.splits["train"])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(png(np.asarray(Image.open(path)).astype(np.uint16)))
    return str(made)


def uneven(world):
    """Queries with more pictures of one class than of the others."""
    make_folders(world.folder / "uneven", classes=4, images=2, seed=3)
    return str(make_folders(world.folder / "uneven", classes=1, images=9, seed=4))


SEEN = {
    "dataset.pixel_mean": [0.485, 0.456, 0.406], "dataset.pixel_std": [0.226, 0.226, 0.226],
    "dataset.interpolation": "bilinear",
    "dataset.crop_share": 0.0,
}  # fmt: skip
"""What a spec says of pictures once it is resolved."""

TRAIN = {
    "train.results_dir": Case(watch.run_folder, below("run"), {"train.num_epochs": 1}),
    "results_dir": Case(watch.run_folder, below("all"), {"train.num_epochs": 1}),
    "train.num_gpus": Case(watch.devices, 2, also={"train.gpu_ids": [0, 1]}),
    "train.gpu_ids": Case(watch.devices, [3]),
    "train.num_nodes": Case(watch.devices, 2),
    "train.cudnn.benchmark": Case(watch.switches, True),
    "train.cudnn.deterministic": Case(watch.switches, False),
    "train.compile": Case(watch.live, True),  # seconds: torch loads its compiler
    "train.precision": Case(watch.fitted, "bf16", {"train.num_epochs": 1}),
    "train.checkpoint_interval": Case(watch.stopped, 5, {"train.num_epochs": 6}),
    "train.checkpoint_interval_unit": Case(
        watch.stopped, "step", {"train.num_epochs": 6, "train.checkpoint_interval": 3}
    ),
    "train.validation_interval": Case(watch.fitted, 2),
    "train.val_batch_size": Case(watch.fitted, 5, {"train.num_epochs": 1}),
    "train.report_accuracy_per_class": Case(
        watch.fitted, False, {"train.num_epochs": 1, "dataset.val_dataset.query": uneven}
    ),
    "train.resume_training_checkpoint_path": Case(
        watch.fitted, checkpoint, {"train.num_epochs": 3}
    ),
    "train.head_checkpoint": Case(
        watch.on_features, checkpoint, {"train.train_trunk": False, "train.num_epochs": 1}
    ),
    "train.optim.steps": Case(watch.live, [1]),
    "model.pretrained_model_path": Case(watch.live, checkpoint),
    "model.pretrained_trunk_path": Case(watch.live, part_file("trunk")),
    "model.pretrained_embedder_path": Case(watch.live, part_file("embedder")),
    "model.weights.follows": Case(
        watch.live, '{"dataset.pixel_mean": [0.2]}',
        {"dataset.pixel_mean": [0.2], "model.weights.address": "elsewhere"},
    ),
    "model.weights.trained_with": Case(
        watch.warned, '{"dataset.pixel_mean": [0.2]}',
        {**SEEN,
         "model.pretrained_trunk_path": part_file("trunk"),
         "model.weights.address": part_file("trunk"), "model.weights.sha256": digest_of("trunk")},
    ),
    "dataset.train_dataset": Case(watch.live, split("query")),
    "dataset.pixel_mean": Case(watch.live, [0.2]),
    "dataset.pixel_std": Case(watch.live, [0.5, 0.4, 0.3]),
    "dataset.value_range": Case(
        watch.live, [0.0, 500.0], {"dataset.train_dataset": deep, "train.num_epochs": 1}
    ),
    "dataset.gaussian_blur.kernel": Case(watch.live, [7, 3]),
    "dataset.gaussian_blur.sigma": Case(watch.live, [0.9, 1.9]),
    "dataset.first_size": Case(
        watch.live, 0.5, {"model.input_height": 64, "model.input_width": 64}
    ),
    "dataset.workers": Case(watch.threads, 3),
    "dataset.feature_views": Case(
        watch.on_features, 2, {"train.train_trunk": False, "train.num_epochs": 1}
    ),
    "dataset.cache": Case(watch.cached, True),
    "wandb.enable": Case(watch.mirrored, True),
    **{
        f"wandb.{name}": Case(watch.mirrored, value, {"wandb.enable": True})
        for name, value in {
            "project": "p", "entity": "e", "group": "g", "tags": ["a"],
            "reinit": True, "save_code": True, "name": "n", "run_id": "r",
        }.items()
    },
}  # fmt: skip

EVALUATE = {
    "evaluate.checkpoint": Case(watch.evaluated, state_file),
    "evaluate.trt_engine": Case(watch.evaluated, model_file, {"evaluate.checkpoint": state_file}),
    "evaluate.results_dir": Case(watch.evaluated, below("run")),
    "evaluate.batch_size": Case(watch.evaluated, 5),
    "evaluate.gpu_ids": Case(watch.evaluated, [3]),
    "evaluate.topk": Case(watch.evaluated, 3),
    "evaluate.report_accuracy_per_class": Case(watch.evaluated, False),
    "dataset.val_dataset.reference": Case(watch.evaluated, split("train")),
    "dataset.val_dataset.query": Case(watch.evaluated, split("train")),
    "dataset.class_map": Case(watch.evaluated, class_map),
    "dataset.matching": Case(watch.evaluated, "prototypes"),
    "dataset.flip_average": Case(watch.evaluated, True),
    "dataset.ignore_unmatched": Case(
        watch.evaluated, True, {"dataset.val_dataset.query": with_a_stranger}
    ),
}

INFERENCE = {
    "inference.checkpoint": Case(watch.inferred, state_file),
    "inference.trt_engine": Case(watch.inferred, model_file, {"inference.checkpoint": state_file}),
    "inference.results_dir": Case(watch.inferred, below("run")),
    "inference.batch_size": Case(watch.inferred, 5),
    "inference.gpu_ids": Case(watch.inferred, [3]),
    "inference.input_path": Case(watch.inferred, split("reference")),
    "inference.inference_input_type": Case(watch.inferred, "image_folder"),
    "inference.topk": Case(watch.inferred, 3),
    "inference.unknown_at": Case(
        watch.inferred_or_refused, 0.45, {"dataset.val_dataset.query": split("query")}
    ),
}

STARTED = {
    **SEEN,
    "model.pretrained_trunk_path": "w.pth", "model.weights.address": "w.pth",
    "model.weights.sha256": "ab",
}  # fmt: skip
"""An exported model that was started from weights."""

EXPORT = {
    "export.checkpoint": Case(watch.exported_file, state_file),
    "export.batch_size": Case(watch.exported_file, 3),
    "export.gpu_id": Case(watch.exported_file, 2),
    "export.on_cpu": Case(watch.exported_file, True),
    "export.onnx_file": Case(watch.exported_file, below("m.onnx")),
    "export.results_dir": Case(watch.exported_file, below("run")),
    "export.opset_version": Case(watch.exported_file, 17),
    "export.verbose": Case(watch.exported_file, False),
    "model_name": Case(watch.exported_file, "shelf"),
    "model.weights.address": Case(
        watch.exported_file, "v.pth", STARTED, {"model.pretrained_trunk_path": "v.pth"}
    ),
    "model.weights.sha256": Case(watch.exported_file, "cd", STARTED),
    "model.weights.licence": Case(watch.exported_file, "MIT", STARTED),
}

ENGINE = "gen_trt_engine"
BUILD = f"{ENGINE}.tensorrt"
CALIBRATION = f"{BUILD}.calibration"
INT8 = {
    f"{BUILD}.data_type": "INT8",
    f"{CALIBRATION}.cal_image_dir": lambda world: [world.splits["train"]],
    f"{CALIBRATION}.cal_cache_file": lambda world: str(world.folder / "cal.cache"),
    f"{CALIBRATION}.cal_batch_size": 2,
    f"{CALIBRATION}.cal_batches": 2,
}
PROFILE = {f"{BUILD}.{name}_batch_size": size for name, size in (("opt", 2), ("max", 4))}
HALF = {f"{BUILD}.data_type": "FP16"}
ENGINES = {
    f"{ENGINE}.results_dir": Case(watch.engine_made, below("run")),
    f"{ENGINE}.onnx_file": Case(watch.engine_made, lambda world: str(named_copy(world))),
    f"{ENGINE}.trt_engine": Case(watch.engine_made, below("b.engine")),
    f"{BUILD}.data_type": Case(watch.engine_made, "INT8", {**INT8, f"{BUILD}.data_type": "FP32"}),
    f"{CALIBRATION}.cal_image_dir": Case(watch.engine_made, lambda w: [w.splits["query"]], INT8),
    f"{CALIBRATION}.cal_cache_file": Case(
        watch.engine_made, lambda world: str(world.folder / "other.cache"), INT8
    ),
    f"{CALIBRATION}.cal_batch_size": Case(watch.engine_made, 3, INT8),
    f"{CALIBRATION}.cal_batches": Case(watch.engine_made, 3, INT8),
    f"{CALIBRATION}.method": Case(watch.engine_made, "percentile", INT8),
    f"{CALIBRATION}.max_drop": Case(watch.engine_made, 0.25, INT8),
    f"{ENGINE}.batch_size": Case(watch.built_for_tensorrt, 2),
    f"{BUILD}.min_batch_size": Case(watch.built_for_tensorrt, 2, PROFILE),
    f"{BUILD}.opt_batch_size": Case(watch.built_for_tensorrt, 3, PROFILE),
    f"{BUILD}.max_batch_size": Case(watch.built_for_tensorrt, 5, PROFILE),
    f"{BUILD}.workspace_size": Case(watch.built_for_tensorrt, 64),
    f"{BUILD}.layers_precision": Case(
        watch.built_for_tensorrt, lambda world: [f"{first_node(world)}:FP32"], HALF
    ),
    f"{ENGINE}.gpu_id": Case(watch.built_for_tensorrt, 2),
    f"{ENGINE}.timing_cache": Case(
        watch.built_for_tensorrt, lambda world: str(world.folder / "timings")
    ),
    f"{ENGINE}.verbose": Case(watch.built_for_tensorrt, True),
}


def first_node(world):
    """The name of a convolution of the exported model."""
    nodes = onnx.load(model_file(world)).graph.node
    return next(node.name for node in nodes if node.op_type == "Conv")


def named_copy(world):
    """The exported model with another fact in its metadata."""
    from trainer.onnx_model import add_metadata

    path = shutil.copy(world.exported / "model.onnx", world.folder / "copy.onnx")
    add_metadata(Path(path), {"model_name": "copy"})
    return path


WATCHED = {"train": TRAIN, "evaluate": EVALUATE, "inference": INFERENCE, "export": EXPORT}
WATCHED |= {ENGINE: ENGINES}


def listed(folder):
    """Leaves of all schemas of a skill folder; a collection without children stands for those."""
    found = set()

    def walk(properties, prefix):
        for name, node in properties.items():
            if isinstance(node, dict) and "properties" in node:
                walk(node["properties"], f"{prefix}{name}.")
            elif isinstance(node, dict):
                path = f"{prefix}{name}"
                found.update(p for p in leaves() if p == path or p.startswith(f"{path}."))
                assert path in found or node["type"] == "collection", path

    for action in ACTIONS:
        schema = json.loads((folder / "schemas" / f"{action}.schema.json").read_text())
        walk(schema["properties"], "")
    return found


def judged():
    """Leaf -> how many tables it stands in."""
    tables = [LEARNT, *WATCHED.values(), {refusal.path for refusal in REFUSED}]
    return {path: sum(path in table for table in tables) for path in set().union(*tables)}


def test_every_leaf_of_our_schemas_is_judged_once():
    own = listed(SKILL)
    assert own == set(leaves())
    assert set(judged()) == own
    assert set(judged().values()) == {1}


def test_every_leaf_of_the_published_schemas_is_judged(published_skill):
    published = listed(published_skill)
    assert len(published) == 121
    assert published <= set(judged())


def base_spec(world, action, folder):
    if action == "train":
        return train_spec(world.splits, folder)
    own = {
        "evaluate": {"evaluate.checkpoint": checkpoint(world)},
        "inference": {
            "inference.checkpoint": checkpoint(world),
            "inference.input_path": world.splits["query"],
        },
        "export": {"export.checkpoint": checkpoint(world)},
        ENGINE: {
            "dataset.val_dataset.reference": None,
            f"{ENGINE}.onnx_file": model_file(world),
            f"{ENGINE}.trt_engine": str(folder / "a.engine"),
        },
    }
    if action != "evaluate":
        own[action]["dataset.val_dataset.query"] = None
    return world.trained.spec(folder, **own[action])


@pytest.fixture(scope="module")
def looking(trained, exported, tmp_path_factory):
    """Look at a case, always in a fresh folder of one name, so that nothing else differs."""
    root, kept = tmp_path_factory.mktemp("world"), {}

    def look(action, case, changes):
        folder = root / "own"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            world = watch.World(trained, exported, folder, patch)
            chosen = {**case.base, **changes}
            given = {key: made(world) if callable(made) else made for key, made in chosen.items()}
            return case.look(world, base_spec(world, action, folder) | given)

    def look_once(action, case):
        name = (action, case.look, str(case.base))
        if name not in kept:
            kept[name] = look(action, case, {})
        return kept[name]

    return look, look_once


@pytest.mark.parametrize(
    ("action", "path"), [(action, path) for action, table in WATCHED.items() for path in table]
)
def test_a_leaf_changed_alone_shows(action, path, looking):
    look, look_once = looking
    case = WATCHED[action][path]
    changed = look(action, case, {path: case.value, **case.also})
    assert changed != look_once(action, case)


LOOKS = {(action, case.look.__name__): case for action, t in WATCHED.items() for case in t.values()}


@pytest.mark.parametrize(("action", "name"), LOOKS)
def test_two_looks_at_one_spec_are_equal(action, name, looking):
    look, look_once = looking
    case = LOOKS[action, name]
    assert look(action, case, {}) == look_once(action, case)


@pytest.mark.parametrize("refusal", REFUSED, ids=lambda refusal: refusal.path)
def test_a_refused_leaf_says_why_and_is_listed(refusal):
    value = {str: "x", bool: True, int: 2}[type(refusal.only)]
    for action in ACTIONS if refusal.action is None else (refusal.action,):
        with pytest.raises(SpecError, match=refusal.path) as caught:
            parse_spec({refusal.path: value}, action, is_complete=False)
        assert refusal.reason in str(caught.value)
    assert f"`{refusal.path}`" in differences_page()
    assert refusal.reason in differences_page()
