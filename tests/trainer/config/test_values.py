import math
from pathlib import Path

import pytest

from trainer.config.fields import KeyInfo
from trainer.config.tree import leaves
from trainer.config.values import ValueProblem, read_value


def read(path, value):
    return read_value(leaves()[path].info, value)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("train.optim.trunk.base_lr", 1, 1.0),
        ("train.optim.trunk.base_lr", "1e-4", 1e-4),
        ("train.optim.trunk.base_lr", "0.5", 0.5),
        ("train.num_epochs", 7, 7),
        ("train.num_epochs", 7.0, 7),
        ("train.num_epochs", "1e2", 100),
        ("train.seed", -1, -1),
        ("train.train_trunk", False, False),
        ("train.train_trunk", "False", False),
        ("results_dir", Path("a") / "b", "a/b"),
        ("wandb.run_id", 12, "12"),
        ("train.optim.name", "AdamW", "AdamW"),
        (
            "model.backbone",
            "timm/vit_small_patch16_224.augreg",
            "timm/vit_small_patch16_224.augreg",
        ),
        ("train.optim.steps", [3, 5], (3, 5)),
        ("train.optim.steps", [], ()),
        ("dataset.pixel_mean", ["1e-1", 0, 1], (0.1, 0.0, 1.0)),
    ],
)
def test_value_is_read_as_declared(path, value, expected):
    got = read(path, value)
    assert got == expected
    assert type(got) is type(expected)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("train.optim.trunk.base_lr", -1, "must be > 0 and <= 1, got -1"),
        ("train.optim.trunk.base_lr", 0, "must be > 0 and <= 1, got 0"),
        ("train.optim.trunk.base_lr", "fast", "must be a number > 0 and <= 1, got 'fast'"),
        ("train.optim.trunk.base_lr", math.nan, "must be a number > 0 and <= 1, got nan"),
        ("train.optim.trunk.base_lr", "inf", "must be a number > 0 and <= 1, got 'inf'"),
        ("train.optim.trunk.bias_lr_factor", 0.5, "must be >= 1 and <= 10, got 0.5"),
        ("train.clip_grad_norm", -0.1, "must be >= 0, got -0.1"),
        ("train.batch_size", True, "must be a whole number >= 1, got true"),
        ("train.batch_size", 4.5, "must be a whole number >= 1, got 4.5"),
        ("train.batch_size", None, "must be a whole number >= 1, got null"),
        ("train.train_trunk", 1, "must be true or false, got 1"),
        ("results_dir", False, "must be a string, got false"),
        ("train.optim.name", "sgd", "must be SGD in this spelling, got 'sgd'"),
        ("train.optim.name", "Lion", "must be one of Adam, SGD, Adamax, AdamW, got 'Lion'"),
        ("train.optim.steps", 3, "must be a list, got 3"),
        ("train.optim.steps", [3, 4.5], "every member must be a whole number, got 4.5"),
        ("dataset.pixel_std", [1, 1], "must be a list of 1 or 3 values, got [1, 1]"),
        ("train.ema_decay", 1, "must be >= 0 and < 1, got 1"),
    ],
)
def test_wrong_value_is_refused_with_what_must_hold(path, value, message):
    with pytest.raises(ValueProblem) as caught:
        read(path, value)
    assert str(caught.value) == message


def test_backbone_message_names_the_open_form():
    with pytest.raises(ValueProblem, match=r"or timm/<name> for any timm model, got 'resnet50'"):
        read("model.backbone", "resnet50")


@pytest.mark.parametrize("path", ["dataset.prob", "train.optim.trunk.weight_decay"])
def test_zero_switches_off_though_a_search_never_proposes_it(path):
    info: KeyInfo = leaves()[path].info
    assert info.math_cond == "> 0.0"
    assert read(path, 0) == 0.0


def test_a_long_value_is_cut_in_the_message():
    with pytest.raises(ValueProblem) as caught:
        read("train.num_epochs", "9" * 50 + "x" * 500)
    assert len(str(caught.value)) < 150
