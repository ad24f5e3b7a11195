import dataclasses

import pytest
import torch

from tests.trainer.tiny import make_splits, train_spec
from trainer.distributed import Rank
from trainer.inactive import inactive_keys
from trainer.spec import parse_spec
from trainer.training import build_parts, load_features


def inactive(**overrides):
    spec = {name.replace("__", "."): value for name, value in overrides.items()}
    return inactive_keys(parse_spec(spec, "train", is_complete=False))


def test_under_the_defaults_momentum_gamma_and_other_losses_rest():
    found = inactive()
    searched = {name for name in found if not name.startswith("train.loss.")}
    assert searched == {
        "train.optim.trunk.momentum",
        "train.optim.embedder.momentum",
        "train.optim.gamma",
        "train.optim.warmup_share",
        "dataset.feature_views",
    }
    assert (
        found["train.optim.gamma"] == "the first milestone (40) is not before the last epoch (10)"
    )
    assert found["train.loss.arcface.margin"] == "train.loss.name is triplet"
    assert "train.loss.name" not in found


def test_sgd_wakes_momentum():
    assert not [name for name in inactive(train__optim__name="SGD") if "momentum" in name]


@pytest.mark.parametrize(("epochs", "is_active"), [(40, False), (41, True)])
def test_gamma_acts_when_an_epoch_follows_the_first_milestone(epochs, is_active):
    assert ("train.optim.gamma" not in inactive(train__num_epochs=epochs)) == is_active


@pytest.mark.parametrize(("epochs", "is_active"), [(40, False), (41, True)])
def test_gamma_acts_when_a_head_epoch_follows_the_first_milestone(epochs, is_active):
    found = inactive(train__head_epochs=epochs, train__num_epochs=6)
    assert ("train.optim.gamma" not in found) == is_active


def test_gamma_without_milestones_rests():
    assert "no milestone" in inactive(train__optim__steps=[])["train.optim.gamma"]


def test_gamma_of_one_puts_milestones_to_rest_but_not_itself():
    found = inactive(train__optim__gamma=1.0, train__optim__steps=[2])
    assert "train.optim.steps" in found
    assert "train.optim.gamma" not in found


def test_no_warm_up_when_it_starts_at_the_full_rate():
    found = inactive(train__optim__warmup_factor=1.0)
    assert {"train.optim.warmup_iters", "train.optim.warmup_method"} <= set(found)
    assert "train.optim.warmup_factor" not in found


@pytest.mark.parametrize(
    ("loss", "uses_miner", "has_vectors"),
    [
        ("triplet", True, False),
        ("contrastive", True, False),
        ("multi_similarity", True, False),
        ("ntxent", True, False),
        ("arcface", False, True),
        ("subcenter_arcface", False, True),
        ("proxy_anchor", False, True),
        ("normalized_softmax", False, True),
    ],
)
def test_loss_decides_on_miner_margin_and_own_rate(loss, uses_miner, has_vectors):
    found = inactive(train__loss__name=loss)
    assert ("train.optim.miner_function_margin" not in found) == uses_miner
    assert ("train.loss.base_lr" not in found) == has_vectors
    assert ("train.loss.start" not in found) == has_vectors
    assert ("train.loss.memory_size" not in found) == uses_miner
    is_softmax = has_vectors and loss != "proxy_anchor"
    assert ("train.loss.label_smoothing" not in found) == is_softmax
    assert ("train.optim.triplet_loss_margin" not in found) == (loss == "triplet")
    assert ("train.smooth_loss" not in found) == (loss == "triplet")
    assert not [name for name in found if name.startswith(f"train.loss.{loss}.")]


def test_frozen_part_puts_its_group_to_rest():
    found = inactive(train__train_trunk=False, train__optim__name="SGD")
    assert {"train.optim.layer_decay", "train.batch_norm"} <= set(found)
    assert {name for name in found if ".trunk." in name} == {
        f"train.optim.trunk.{name}"
        for name in ("base_lr", "bias_lr_factor", "momentum", "weight_decay", "weight_decay_bias")
    }
    assert not [name for name in found if ".embedder." in name]


def test_class_vectors_keep_the_momentum_of_a_frozen_embedder():
    found = inactive(
        train__train_embedder=False, train__optim__name="SGD", train__loss__name="arcface"
    )
    assert "train.optim.embedder.base_lr" in found
    assert "train.optim.embedder.momentum" not in found


@pytest.mark.parametrize(
    ("backbone", "is_active"),
    [
        ("resnet_50", True),
        ("resnet_101", True),
        ("timm/vit_tiny_patch16_224", True),
        ("fan_small", False),
        ("nvdinov2_vit_large_legacy", False),
    ],
)
def test_feat_dim_rests_under_the_residual_head(backbone, is_active):
    assert ("model.feat_dim" not in inactive(model__backbone=backbone)) == is_active


def test_augmentation_that_is_off_puts_its_values_to_rest():
    found = inactive(
        dataset__gaussian_blur__enabled=False, dataset__color_augmentation__enabled=False
    )
    assert {name for name in found if name.startswith("dataset.")} == {
        "dataset.gaussian_blur.kernel",
        "dataset.gaussian_blur.sigma",
        *(
            f"dataset.color_augmentation.{name}"
            for name in ("brightness", "contrast", "saturation", "hue")
        ),
        "dataset.feature_views",
    }


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ({}, "the trunk learns"),
        ({"train__train_trunk": False}, None),
        ({"train__train_trunk": False, "dataset__feature_views": -1}, None),
        (
            {"train__train_trunk": False, "train__num_gpus": 2, "train__gpu_ids": [0, 1]},
            "several processes",
        ),
    ],
)
def test_views_act_where_one_process_trains_a_head_alone(overrides, reason):
    found = inactive(**overrides).get("dataset.feature_views", "")
    assert found.startswith(reason) if reason else not found


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"train.num_epochs": 1},
        {"train.train_trunk": False},
        {"train.train_trunk": False, "dataset.feature_views": 0},
        {"train.train_trunk": False, "dataset.feature_views": -1},
        {"train.train_trunk": False, "dataset.feature_views": -1, "train.num_epochs": 1},
    ],
    ids=str,
)
def test_first_size_acts_where_training_pictures_are_smaller_at_first(tmp_path, overrides):
    spec = train_spec(make_splits(tmp_path), tmp_path / "run", train__num_epochs=3)
    spec |= {"model.input_height": 64, "model.input_width": 64} | overrides
    inputs = []
    for first_size in (1.0, 0.5):
        parsed = parse_spec(spec | {"dataset.first_size": first_size}, "train")
        torch.manual_seed(6)
        data, module = build_parts(parsed, torch.device("cpu"), share=Rank())
        load_features(data, module, use_bf16=False)
        inputs.append([next(iter(data.train_batches(epoch)))[0] for epoch in (0, 1)])
    changes = any(a.shape != b.shape or not torch.equal(a, b) for a, b in zip(*inputs, strict=True))
    found = inactive_keys(parse_spec(spec, "train"))
    assert ("dataset.first_size" not in found) == changes


def test_a_head_on_pictures_as_they_are_puts_augmentation_to_rest():
    found = inactive(train__train_trunk=False, dataset__feature_views=0)
    resting = {name for name, reason in found.items() if "as they are" in reason}
    assert len(resting) == 13
    assert {"dataset.prob", "dataset.gaussian_blur.sigma", "dataset.random_rotation"} <= resting
    assert not any(
        "as they are" in reason for reason in inactive(dataset__feature_views=0).values()
    )


def test_greyscale_pictures_have_no_colour_to_change():
    found = inactive(model__input_channels=1)
    assert {name for name in found if name.startswith("dataset.")} == {
        "dataset.color_augmentation.saturation",
        "dataset.color_augmentation.hue",
        "dataset.feature_views",
    }


def test_random_batches_leave_the_number_per_class_to_rest():
    assert "dataset.num_instance" not in inactive(train__loss__name="arcface")
    found = inactive(train__loss__name="arcface", dataset__sampling="random")
    assert found["dataset.num_instance"] == "dataset.sampling is random"


# What is built from a spec, read back from the live objects: the judge of the declarations above.
SITUATIONS = {
    "defaults": {},
    "sgd past a milestone": {"train.optim.name": "SGD", "train.optim.steps": [2]},
    "no warm-up": {"train.optim.warmup_factor": 1.0},
    "frozen trunk": {"train.train_trunk": False, "train.optim.name": "SGD"},
    "arcface, frozen embedder": {
        "train.loss.name": "arcface",
        "train.train_embedder": False,
        "train.optim.name": "SGD",
    },
    "contrastive": {
        "train.loss.name": "contrastive",
        "train.optim.gamma": 1.0,
        "train.optim.steps": [2],
    },
    "proxy anchor": {"train.loss.name": "proxy_anchor"},
    "nothing decays": {"train.optim.trunk.weight_decay": 0.0},
    "only a head with a norm learns": {"train.train_trunk": False, "model.backbone": "fan_tiny"},
    "only a linear head learns": {"train.train_trunk": False},
    "head epochs past a milestone": {
        "train.head_epochs": 5,
        "train.num_epochs": 2,
        "train.optim.steps": [3],
    },
    "head epochs before any": {
        "train.head_epochs": 3,
        "train.num_epochs": 2,
        "train.optim.steps": [3],
    },
    "cosine": {"train.optim.schedule": "cosine", "train.optim.steps": [2]},
    "one cycle": {"train.optim.schedule": "one_cycle", "train.optim.steps": [2]},
}
CHANGED = {
    "train.loss.memory_size": 64,
    "train.loss.label_smoothing": 0.2,
    "train.optim.layer_decay": 0.5,
    "train.optim.decay_norms": False,
    "train.optim.warmup_share": 0.4,
    "train.optim.gamma": 0.7,
    "train.optim.steps": [1],
    "train.optim.warmup_factor": 0.6,
    "train.optim.warmup_iters": 23,
    "train.optim.warmup_method": "constant",
    "train.optim.triplet_loss_margin": 0.7,
    "train.optim.miner_function_margin": 0.7,
    "train.smooth_loss": False,
    "train.loss.base_lr": 0.3,
    "train.loss.contrastive.neg_margin": 0.7,
    "train.loss.arcface.scale": 30.0,
    "train.loss.proxy_anchor.alpha": 30.0,
} | {
    f"train.optim.{part}.{name}": value
    for part in ("trunk", "embedder")
    for name, value in (
        ("base_lr", 0.01),
        ("bias_lr_factor", 3.0),
        ("momentum", 0.5),
        ("weight_decay", 0.01),
        ("weight_decay_bias", 0.01),
    )
}


def built(overrides):
    """Each parameter's settings, schedule over every step of the run, loss and miner."""
    from torch import nn

    from trainer.losses import build_loss, read_loss, without_memory
    from trainer.optim import build_optimizer, build_schedule

    spec = parse_spec(overrides, "train", is_complete=False)
    trunk = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    trunk.group_matcher = lambda coarse: {"stem": "^0", "blocks": "^1"}
    has_linear_head = spec.model.backbone != "fan_tiny"
    embedder = nn.Linear(4, 4) if has_linear_head else nn.Sequential(nn.LayerNorm(4))
    trunk.requires_grad_(spec.train.train_trunk)
    embedder.requires_grad_(spec.train.train_embedder)
    loss, miner = build_loss(spec, num_classes=3, embedding_size=4)
    optimizer = build_optimizer(spec, trunk, embedder, loss)
    names = {id(p): n for part in (trunk, embedder, loss) for n, p in part.named_parameters()}
    settings = sorted(
        (names[id(p)], [group[k] for k in ("lr", "weight_decay", "momentum") if k in group])
        for group in optimizer.param_groups
        for p in group["params"]
    )
    rates = []
    for epochs in (spec.train.head_epochs, spec.train.num_epochs):
        schedule = build_schedule(dataclasses.replace(spec.train, num_epochs=epochs), 9)
        rates += [schedule.factor(step) for step in range(9 * epochs)]
    miner = miner or without_memory(loss)[1]
    return str((settings, rates, read_loss(loss), getattr(miner, "epsilon", None)))


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_key_is_inactive_exactly_when_changing_it_changes_nothing_built(situation):
    base = SITUATIONS[situation]
    found = inactive_keys(parse_spec(base, "train", is_complete=False))
    reference = built(base)
    for name, value in CHANGED.items():
        changes = built(base | {name: value}) != reference
        assert changes == (name not in found), name
