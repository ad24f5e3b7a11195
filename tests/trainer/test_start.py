"""What a search starts from where its user chose nothing."""

import json

import pytest
import torch

from trainer.models.recognizer import build_recognizer
from trainer.models.trunk import batch_norms
from trainer.models.weight_sources import INSTALLED, installed_file
from trainer.module import RecognitionModule
from trainer.session import TRAINER
from trainer.spec import parse_spec
from trainer.start import (
    FROZEN_RANGES,
    FROZEN_RECIPE,
    FROZEN_SEARCHED,
    RANGES,
    RECIPE,
    SEARCHED,
    SMALL_STEP_RANGES,
    SMALL_STEPS,
    choose_start,
)

needs_weights = pytest.mark.skipif(
    installed_file("lite0") is None, reason="the extra `weights` is not installed"
)


@pytest.fixture(autouse=True)
def no_hub(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def choose(given=None, *, gpus=0, budget_s=None, screened=()):
    return choose_start(given or {}, gpus=gpus, budget_s=budget_s, screened=screened)


def row(weights, value, params):
    asked = {"num_queries": 70, "num_reference": 90}
    return {"weights": weights, "value": value, "params": params, **asked}


@needs_weights
def test_installed_weights_and_the_recipe_are_chosen_and_said():
    start = choose()
    assert start["spec"]["model.pretrained_trunk_path"] == "lite0"
    assert start["spec"]["model.input_height"] == start["spec"]["model.input_width"] == 224
    assert start["spec"].items() >= RECIPE.items()
    assert start["search"] == SEARCHED
    told = " ".join(start["reasons"])
    assert "lite0" in told
    assert "--weights none" in told
    assert "224 px" in told


@needs_weights
@pytest.mark.parametrize("weights", ["lite0", "none"])
@pytest.mark.parametrize(
    ("given", "told"),
    [({}, True), ({"dataset.prob": 0.0}, False), ({"dataset.prob": 0.5}, False)],
)
def test_mirrored_pictures_are_told_where_nobody_has_chosen_them(weights, given, told):
    reasons = choose({"model.pretrained_trunk_path": weights, **given})["reasons"]
    assert any("--set dataset.prob=0" in line for line in reasons) is told


@needs_weights
def test_a_trunk_that_learns_nothing_sees_pictures_as_they_are():
    reasons = choose({"model.pretrained_trunk_path": "lite0", "train.train_trunk": False})[
        "reasons"
    ]
    assert not any("mirrored" in line for line in reasons)


@needs_weights
def test_several_weights_at_hand_are_worth_screening():
    installed = [name for name in INSTALLED if installed_file(name)]
    short = choose(budget_s=240.0)
    assert short["candidates"] == []
    if len(installed) > 1:
        told = (
            f"the first of {len(installed)} at hand, as comparing them takes time (a budget of 20m"
        )
        assert told in short["reasons"][0]
    found = choose()["candidates"]
    assert [c["weights"] for c in found] == (installed if len(installed) > 1 else [])
    assert all(c["spec"]["model.input_width"] == 160 for c in found)


@needs_weights
@pytest.mark.parametrize(
    ("given", "budget_s"),
    [
        ({}, 1199.0),
        ({"model.pretrained_trunk_path": "lite0"}, None),
        ({"model.backbone": "x"}, None),
    ],
)
def test_nothing_is_screened_in_a_hurry_or_when_the_user_has_chosen(given, budget_s):
    assert choose(given, budget_s=budget_s)["candidates"] == []


@needs_weights
def test_the_best_screened_weights_are_taken_and_said():
    rows = [
        row("lite0", 0.538, 3_000_000),
        row("lite1", 0.55, 4_000_000),
        {"weights": "lite2", "error": "lite2: too large"},
    ]
    start = choose(screened=rows)
    assert start["spec"]["model.pretrained_trunk_path"] == "lite1"
    assert start["candidates"] == []
    assert (
        "features, 70 queries in 90 gallery pictures: lite0 0.538, lite1 0.550"
        in (start["reasons"][0])
    )
    assert "lite2 could not be compared" in start["reasons"][0]
    assert "hpo screen" in start["reasons"][0]


@needs_weights
def test_of_networks_within_a_point_of_the_best_the_smallest_is_taken():
    rows = [
        row("lite0", 0.53, 3_000_000),
        row("lite2", 0.56, 5_000_000),
        row("lite1", 0.552, 4_000_000),
    ]
    start = choose(screened=rows)
    assert start["spec"]["model.pretrained_trunk_path"] == "lite1"
    assert "the smallest of those" in start["reasons"][0]


@needs_weights
def test_on_a_gpu_pictures_have_the_size_of_the_weights():
    assert "model.input_height" not in choose(gpus=1)["spec"]


@needs_weights
@pytest.mark.parametrize(
    ("budget_s", "epochs", "time"),
    [
        (None, 6, "is not one of time"),
        (20.0, 6, "lasts 1 minute"),
        (600.0, 6, "lasts 10 minutes"),
        (2400.0, 6, "lasts 40 minutes"),
        (2401.0, 10, "lasts 40 minutes"),
        (7200.0, 10, "lasts 120 minutes"),
        (36000.0, 15, "lasts 600 minutes"),
    ],
)
def test_longer_budgets_train_longer_trials(budget_s, epochs, time):
    start = choose(budget_s=budget_s)
    assert start["spec"]["train.num_epochs"] == epochs
    (told,) = [line for line in start["reasons"] if line.startswith(f"{epochs} epochs a trial")]
    assert f"as the budget {time} (" in told
    set_by_user = choose({"train.num_epochs": 3}, budget_s=budget_s)["reasons"]
    assert not any("epochs a trial" in line for line in set_by_user)


@needs_weights
def test_what_was_set_is_left_alone_nested_or_dotted():
    start = choose(
        {"train": {"num_epochs": 3, "optim": {"trunk": {"base_lr": 1e-4}}}, "model.feat_dim": 64}
    )
    assert not {"train.num_epochs", "train.optim.trunk.base_lr", "model.feat_dim"} & set(
        start["spec"]
    )


@needs_weights
def test_another_loss_takes_the_keys_of_the_recipes_loss_away():
    start = choose({"train.loss.name": "triplet"})
    assert not [key for key in start["spec"] if "normalized_softmax" in key]
    assert "dataset.sampling" not in start["spec"]
    assert not [name for name in start["search"] if "normalized_softmax" in name]


@pytest.mark.parametrize(
    "given",
    [{"model.backbone": "timm/test_resnet"}, {"model.pretrained_model_path": "whole.pth"}],
)
def test_a_chosen_network_without_weights_is_left_as_it_is(given):
    nothing = {"spec": {}, "search": (), "ranges": {}, "reasons": (), "candidates": []}
    nothing |= {"stages": [], "staged": False}
    assert choose(given) == nothing


def test_from_nothing_a_cpu_gets_a_small_network_and_is_told_so():
    start = choose({"model.pretrained_trunk_path": "none"})
    assert start["spec"]["model.backbone"] == "timm/resnet18"
    assert start["search"] == ()
    assert "as asked" in start["reasons"][0]
    assert choose({"model.pretrained_trunk_path": "none"}, gpus=2)["spec"] == {}


@pytest.mark.parametrize(
    ("recipe", "names", "ranges"),
    [
        (RECIPE, SEARCHED, RANGES),
        (RECIPE | SMALL_STEPS, SEARCHED, SMALL_STEP_RANGES),
        (FROZEN_RECIPE, FROZEN_SEARCHED, FROZEN_RANGES),
    ],
)
def test_ranges_hold_the_recipes_values_inside(recipe, names, ranges):
    ranged = [name for name in names if name in ranges and name in recipe]
    assert len(ranged) >= 4
    for name in ranged:
        low, high, _ = ranges[name]
        assert low < recipe[name] < high


@needs_weights
def test_a_frozen_trunk_gets_a_recipe_for_its_head_alone():
    start = choose({"train.train_trunk": False})
    assert start["search"] == FROZEN_SEARCHED
    assert start["spec"]["dataset.feature_views"] == 0
    assert not [
        key for key in start["spec"] if key.startswith(("train.optim.trunk", "train.head_epochs"))
    ]
    spec = TRAINER.validate(start["spec"] | {"train.train_trunk": False})
    assert not set(start["search"]) & set(TRAINER.inactive(spec))


@needs_weights
def test_the_trainer_takes_the_spec_that_it_recommends():
    start = TRAINER.choose_start({}, gpus=0, budget_s=1200.0)
    spec = TRAINER.validate(start["spec"])
    assert spec["model"]["backbone"] == "timm/tf_efficientnet_lite0"
    assert spec["dataset"]["pixel_mean"] == [0.5, 0.5, 0.5]
    inactive = TRAINER.inactive(spec)
    assert not [name for name in start["search"] if name in inactive]


@needs_weights
@pytest.mark.parametrize(
    ("given", "grows"),
    [
        ({}, True),
        ({"model.input_height": 128, "model.input_width": 300}, True),
        ({"model.input_height": 64, "model.input_width": 300}, False),
        ({"dataset": {"first_size": 0.7}}, False),
        ({"train.train_trunk": False}, False),
    ],
)
def test_pictures_grow_where_they_are_large_and_nobody_said_otherwise(given, grows):
    start = choose(given)
    assert (start["spec"].get("dataset.first_size") == 0.5) is grows
    assert any("grow" in reason for reason in start["reasons"]) is grows


@pytest.mark.parametrize(("backbone", "grows"), [("test_vit", False), ("test_resnet", True)])
def test_a_network_that_takes_one_size_gets_pictures_of_that_size(tmp_path, backbone, grows):
    own = tmp_path / "own.pth"
    torch.save({}, own)
    given = {"model.pretrained_trunk_path": str(own), "model.backbone": f"timm/{backbone}"}
    given |= {"model.input_height": 160, "model.input_width": 160}
    assert ("dataset.first_size" in choose(given)["spec"]) is grows


@pytest.mark.parametrize(
    ("backbone", "keeps", "layers"),
    [
        ("timm/test_vit", False, True),
        ("timm/test_convnext", False, True),
        ("timm/pit_ti_224", False, False),
        ("timm/test_resnet", True, True),
    ],
)
def test_what_is_recommended_for_a_trunk_can_be_built_with_it(tmp_path, backbone, keeps, layers):
    own = tmp_path / "own.pth"
    torch.save({}, own)
    given = {"model.pretrained_trunk_path": str(own), "model.backbone": backbone}
    start = choose(given, gpus=1)
    lowest = {name: start["ranges"][name][0] for name in start["search"] if name in start["ranges"]}
    assert ("train.optim.layer_decay" in lowest) is layers
    side = {"model.input_height": 224, "model.input_width": 224}
    spec = parse_spec(given | side | start["spec"] | lowest, "train", is_complete=False)
    model = build_recognizer(spec, load_pretrained=False)
    module = RecognitionModule(spec, model, num_classes=3, num_batches=2)
    assert bool(module.frozen) is bool(batch_norms(model.trunk)) is keeps
    scales = {group.get("lr_scale") for group in module.optimizer.param_groups}
    assert (len(scales) > 2) is layers


@needs_weights
@pytest.mark.parametrize(
    ("given", "stays", "lives"),
    [
        ({"dataset.color_augmentation.brightness": 0.2}, "dataset.color_augmentation.enabled", 1),
        ({"dataset.gaussian_blur.sigma": [0.2, 0.4]}, "dataset.gaussian_blur.enabled", 1),
        ({"train.optim.warmup_iters": 200}, "train.optim.schedule", 1),
        ({"train.optim.steps": [3, 5], "train.optim.gamma": 0.3}, "train.optim.schedule", 1),
        ({"train.optim.triplet_loss_margin": 0.5}, "train.loss.name", 1),
        ({"train.smooth_loss": False}, "train.loss.name", 1),
        ({"train.loss.memory_size": 2048}, "train.loss.name", 1),
        ({"train.optim.miner_function_margin": 0.3}, "train.loss.name", 1),
        ({"dataset.num_instance": 8}, "dataset.sampling", 1),
        (
            {"train.train_trunk": False, "dataset.crop_scale.least": 0.5},
            "dataset.feature_views",
            1,
        ),
        # No value that is left at its default brings these to life.
        ({"train.loss.arcface.margin": 20.0}, "", 0),
        ({"train.optim.gamma": 0.3, "train.optim.schedule": "cosine"}, "", 0),
    ],
)
def test_a_value_that_was_set_decides_what_it_lives_under(given, stays, lives):
    start = choose(given)
    spec = TRAINER.validate(start["spec"] | given)  # what is left out takes what needs it along
    assert (not set(given) & set(TRAINER.inactive(spec))) is bool(lives)
    assert not stays or stays not in start["spec"]
    told = " ".join(start["reasons"])
    names = ", ".join(sorted(name for name in given if name != "train.train_trunk"))
    assert "True" not in told, "a spec spells it true"
    assert (f"{stays} stays " in told and f"as {names} would do nothing" in told) is bool(lives)


@needs_weights
def test_head_epochs_are_left_out_where_nothing_of_the_head_would_learn():
    given = {"train.loss.name": "triplet", "train.train_embedder": False}
    spec = choose(given)["spec"]
    assert "train.head_epochs" not in spec
    assert TRAINER.validate(spec | given)["train"]["head_epochs"] == 0


def test_on_a_gpu_a_network_is_judged_at_the_size_of_its_weights(tmp_path):
    """At 96 px pictures are too small to begin smaller; at 224, as without a GPU, they are not."""
    config = {"architecture": "test_resnet", "pretrained_cfg": {"input_size": [3, 96, 96]}}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    given = {"model.pretrained_trunk_path": f"local-dir:{tmp_path}"}
    assert "dataset.first_size" not in choose(given, gpus=1)["spec"]
    assert choose(given)["spec"]["dataset.first_size"] == 0.5


@pytest.mark.parametrize(
    ("backbone", "rate", "bounds"),
    [
        ("timm/test_vit", 3e-5, (3e-6, 3e-4, True)),
        ("timm/test_convnext", 3e-5, (3e-6, 3e-4, True)),
        ("timm/mobilevit_xxs", 3e-5, (3e-6, 3e-4, True)),
        ("fan_tiny", 3e-5, (3e-6, 3e-4, True)),
        ("nvdinov2_vit_large_legacy", 3e-5, (3e-6, 3e-4, True)),
        ("timm/test_resnet", 1e-3, (2e-4, 5e-3, True)),
        ("resnet_50", 1e-3, (2e-4, 5e-3, True)),
    ],
)
def test_a_trunk_with_layer_norm_learns_in_small_steps(tmp_path, backbone, rate, bounds):
    own = tmp_path / "own.pth"
    torch.save({}, own)
    start = choose({"model.pretrained_trunk_path": str(own), "model.backbone": backbone})
    assert start["spec"]["train.optim.trunk.base_lr"] == rate
    assert start["ranges"]["train.optim.trunk.base_lr"] == bounds
    told = any("learns at 3e-05" in reason for reason in start["reasons"])
    assert told is (rate == 3e-5)


def test_a_rate_of_the_users_own_stays_for_a_transformer(tmp_path):
    own = tmp_path / "own.pth"
    torch.save({}, own)
    given = {"model.pretrained_trunk_path": str(own), "model.backbone": "timm/test_vit"}
    start = choose(given | {"train.optim.trunk.base_lr": 2e-4})
    assert "train.optim.trunk.base_lr" not in start["spec"]
    assert not any("learns at" in reason for reason in start["reasons"])
