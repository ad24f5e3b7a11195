"""Which trainings' weights can be averaged."""

from __future__ import annotations

import pytest

from trainer.same_start import shares_start
from trainer.spec import parse_spec

BASE = {
    "model.pretrained_model_path": "w.pth",
    "model.backbone": "timm/resnet18",
    "dataset.train_dataset": "t",
    "train.seed": 3,
}
TRUNK = {k: v for k, v in BASE.items() if k != "model.pretrained_model_path"} | {
    "model.pretrained_trunk_path": "lite0",
    "model.backbone": "timm/tf_efficientnet_lite0",
}


def spec_of(base, **changes):
    nested = base | {key.replace("__", "."): value for key, value in changes.items()}
    return parse_spec(nested, "train", is_complete=False)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"train__optim__trunk__base_lr": 0.02}, True),
        ({"train__num_epochs": 7, "dataset__re_prob": 0.4}, True),
        ({"model__feat_dim": 64}, False),
        ({"model__input_height": 96}, False),
        ({"dataset__pixel_mean": [0.1, 0.1, 0.1]}, False),
        ({"dataset__flip_average": True}, False),
        ({"train__batch_norm": "keep"}, False),
        ({"train__train_trunk": False}, False),
    ],
)
def test_network_and_what_it_sees_must_agree_and_rates_need_not(change, same):
    assert shares_start(spec_of(BASE), spec_of(BASE, **change)) is same


def test_a_frozen_trunk_keeps_its_statistics_in_any_case():
    frozen = BASE | {"train.train_trunk": False}
    assert shares_start(spec_of(frozen), spec_of(frozen, train__batch_norm="keep"))


def test_a_head_is_drawn_by_the_seed_or_begins_with_another_trainings():
    assert shares_start(spec_of(TRUNK), spec_of(TRUNK))
    assert not shares_start(spec_of(TRUNK), spec_of(TRUNK, train__seed=4))
    assert shares_start(spec_of(BASE), spec_of(BASE, train__seed=4))  # the file has a head
    one, two = ({"train__head_checkpoint": f"{n}.ckpt", "train__seed": n} for n in (1, 2))
    assert not shares_start(spec_of(TRUNK, **one), spec_of(TRUNK, **two))
    assert shares_start(spec_of(TRUNK, **one), spec_of(TRUNK, **one | {"train__seed": 9}))


def test_random_weights_share_no_start():
    random = {k: v for k, v in BASE.items() if "pretrained" not in k}
    assert not shares_start(spec_of(random), spec_of(random))
