"""Every parameter that a search may vary, changed alone, changes what is built or trained."""

import json
from pathlib import Path

import pytest
import torch

from tests.trainer.live import facts
from tests.trainer.tiny import make_splits, train_spec
from trainer.config.dataset import AUGMENTATION
from trainer.config.tree import leaves
from trainer.errors import CheckpointError
from trainer.inactive import inactive_keys
from trainer.models.recognizer import build_recognizer
from trainer.module import RecognitionModule
from trainer.session import TRAINER
from trainer.spec import parse_spec
from trainer.state import capture, restore

RATE, LOSS, BATCH = {"groups"}, {"loss"}, {"batch"}
SGD = {"train.optim.name": "SGD"}
GROUPS = {
    f"train.optim.{part}.{name}": (SGD, value, RATE)
    for part in ("trunk", "embedder")
    for name, value in {
        "base_lr": 1e-3, "bias_lr_factor": 3.0, "momentum": 0.6, "weight_decay": 0.01,
        "weight_decay_bias": 0.02,
    }.items()
}  # fmt: skip
OWN = {
    f"train.loss.{loss}.{name}": ({"train.loss.name": loss}, value, LOSS)
    for loss, name, value in (
        ("contrastive", "pos_margin", 0.4), ("contrastive", "neg_margin", 1.6),
        ("multi_similarity", "alpha", 3.0), ("multi_similarity", "beta", 20.0),
        ("multi_similarity", "base", 0.2), ("arcface", "margin", 10.0), ("arcface", "scale", 8.0),
        ("subcenter_arcface", "margin", 10.0), ("subcenter_arcface", "scale", 8.0),
        ("proxy_anchor", "margin", 0.4), ("proxy_anchor", "alpha", 8.0),
        ("normalized_softmax", "temperature", 0.5), ("ntxent", "temperature", 0.5),
    )
}  # fmt: skip
SCHEDULE = {"train.optim.steps": [1], "train.optim.warmup_iters": 2}
COLOUR = {"dataset.color_augmentation.enabled": True}
RESIZED = {"batch", "gallery"}

CASES = GROUPS | OWN | {
    "train.loss.subcenter_arcface.sub_centers": (
        {"train.loss.name": "subcenter_arcface"}, 2, LOSS | {"vectors"},
    ),
    "train.loss.name": ({}, "arcface", {"loss", "pairs", "groups", "vectors"}),
    "train.loss.start": ({"train.loss.name": "arcface"}, "class_means", {"vectors"}),
    "train.head_epochs": ({}, 2, {"model"}),
    "train.loss.base_lr": ({"train.loss.name": "arcface"}, 0.3, RATE),
    "train.loss.label_smoothing": ({"train.loss.name": "arcface"}, 0.2, LOSS),
    "train.loss.memory_size": ({}, 32, {"pairs", "loss"}),
    "train.optim.name": ({}, "AdamW", RATE),
    "train.optim.schedule": ({}, "cosine", {"rates"}),
    "train.optim.warmup_share": ({"train.optim.schedule": "one_cycle"}, 0.4, {"rates"}),
    "train.optim.gamma": (SCHEDULE, 0.5, {"rates"}),
    "train.optim.warmup_factor": (SCHEDULE, 0.5, {"rates"}),
    "train.optim.warmup_iters": (SCHEDULE, 3, {"rates"}),
    "train.optim.warmup_method": (SCHEDULE, "constant", {"rates"}),
    "train.optim.triplet_loss_margin": ({}, 0.9, LOSS),
    "train.optim.miner_function_margin": ({}, 0.01, {"pairs", "loss"}),
    "train.smooth_loss": ({}, False, LOSS),
    "train.seed": ({}, 5, {"model", "batch", "drawn"}),
    "train.num_epochs": (SCHEDULE, 3, {"rates"}),
    "train.batch_size": ({}, 8, {"rates", "batch", "drawn"}),
    "train.accumulate_grad_batches": ({}, 2, {"rates"}),
    "train.clip_grad_norm": ({}, 1.0, {"clipped"}),
    "train.optim.layer_decay": ({}, 0.5, RATE),
    "train.optim.decay_norms": ({}, False, RATE),
    "train.batch_norm": ({}, "keep", {"updated"}),
    "train.ema_decay": ({}, 0.5, {"mean"}),
    "train.train_trunk": ({}, False, {"groups", "learns", "updated"}),
    "train.train_embedder": ({}, False, {"groups", "learns"}),
    "model.backbone": ({}, "timm/test_convnext", {"model", "learns", "updated"}),
    "model.pooling": ({}, "gem", {"model", "learns"}),
    "model.input_width": ({}, 48, RESIZED),
    "model.input_height": ({}, 48, RESIZED),
    "model.input_channels": ({}, 1, RESIZED | {"model"}),
    "model.feat_dim": ({}, 8, {"model", "output", "loss", "pairs"}),
    "dataset.interpolation": ({"dataset.crop_share": 0.8}, "bicubic", RESIZED),
    "dataset.crop_share": ({}, 0.8, RESIZED),
    "dataset.num_instance": ({}, 8, {"batch", "drawn"}),
    "dataset.crop_scale.least": ({}, 0.4, BATCH),
    "dataset.crop_scale.greatest": ({}, 0.6, BATCH),
    "dataset.sampling": ({"train.loss.name": "arcface"}, "random", {"batch", "drawn"}),
    "dataset.prob": ({}, 1.0, BATCH),
    "dataset.re_prob": ({}, 1.0, BATCH),
    "dataset.random_rotation": ({}, True, BATCH),
    "dataset.gaussian_blur.enabled": ({}, False, BATCH),
    "dataset.color_augmentation.enabled": ({}, True, BATCH),
    **{
        f"dataset.color_augmentation.{name}": (COLOUR, value, BATCH)
        for name, value in {
            "brightness": 0.9, "contrast": 0.9, "saturation": 0.9, "hue": 0.4,
        }.items()
    },
}  # fmt: skip
"""Parameter -> what else the spec says, another value, and the facts that differ then."""

UNTRAINED = {
    "train.num_gpus": "share of the work per device",
    "train.num_nodes": "share of the work per device",
    "train.cudnn.benchmark": "speed",
    "train.cudnn.deterministic": "speed, and rounding on a GPU",
    "train.compile": "speed",
    "train.precision": "arithmetic of the forward pass",
    "train.checkpoint_interval": "files",
    "train.checkpoint_interval_unit": "files",
    "train.validation_interval": "which epochs are measured",
    "train.report_accuracy_per_class": "which mean is monitored",
    "train.val_batch_size": "speed and memory",
    "dataset.workers": "speed",
    "dataset.cache": "speed",
    "dataset.matching": "how queries are matched",
    "dataset.flip_average": "how queries are matched",
    "dataset.ignore_unmatched": "which queries count",
}
"""Searchable by type, and no part of what is learnt; `test_every_leaf` watches them act."""


SECTIONS = ("train", "model", "dataset")


def searchable():
    """Leaves of the generated train schema of a type that a search can draw, not switched off."""
    schema = json.loads((Path(TRAINER.skill_dir) / "schemas" / "train.schema.json").read_text())
    kinds = {"float", "int", "bool", "categorical"}

    def walk(properties, prefix):
        for name, node in properties.items():
            if not isinstance(node, dict):
                continue
            path = f"{prefix}{name}"
            if "properties" in node:
                yield from walk(node["properties"], f"{path}.")
            elif node["type"] in kinds and node.get("automl_enabled") is not False:
                yield path

    return {p for p in walk(schema["properties"], "") if p.split(".")[0] in SECTIONS}


def test_the_cases_are_all_that_can_be_searched():
    assert set(CASES) | set(UNTRAINED) == searchable()
    assert not set(CASES) & set(UNTRAINED)
    defaults = {path for path, key in leaves().items() if key.info.automl_enabled}
    assert len(defaults) == 15
    assert defaults <= set(CASES)


def test_what_changes_training_pictures_alone_is_listed_as_augmentation():
    alone = {p for p, (_, _, shown) in CASES.items() if shown == BATCH and p.startswith("dataset.")}
    assert {path.split(".")[1] for path in alone} == set(AUGMENTATION)


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    return make_splits(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def built():
    """Facts of each situation, built once."""
    return {}


@pytest.mark.parametrize("path", CASES)
def test_a_parameter_changed_alone_changes_what_is_built(path, splits, built, tmp_path):
    situation, value, expected = CASES[path]
    base = train_spec(splits, tmp_path) | situation
    name = str(situation)
    if name not in built:
        built[name] = facts(base)
    before, after = built[name], facts(base | {path: value})
    assert {fact for fact in after if after[fact] != before[fact]} == expected
    assert path not in inactive_keys(parse_spec(base, "train"))


def trained(nested):
    """A spec and its module after a step."""
    spec = parse_spec(nested, "train")
    module = RecognitionModule(spec, build_recognizer(spec), num_classes=4, num_batches=2)
    for group in module.optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.ones_like(parameter)
    module.optimizer.step()
    return spec, module


def test_a_checkpoint_goes_on_under_every_parameter_that_may_change(splits, tmp_path):
    """What may not is what the trainer tells the harness: it then begins such a trial anew."""
    refused = set()
    for path, (situation, value, _) in CASES.items():
        base = train_spec(splits, tmp_path) | situation
        pair = [trained(nested) for nested in (base, base | {path: value})]
        for (spec, one), (_, other) in (pair, pair[::-1]):
            try:
                restore(other, capture(one, [], spec, ()), tmp_path)
            except CheckpointError:
                refused.add(path)
    told = {p for p in CASES if any(f"{p}.".startswith(f"{k}.") for k in TRAINER.restart_keys)}
    assert {"train.loss.subcenter_arcface.sub_centers", "model.feat_dim"} <= refused <= told
