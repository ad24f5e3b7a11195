"""What a search starts from where its user chose nothing."""

import pytest

from trainer.models.weight_sources import installed_file
from trainer.session import TRAINER
from trainer.start import FROZEN_RECIPE, FROZEN_SEARCHED, RANGES, RECIPE, SEARCHED, choose_start

needs_weights = pytest.mark.skipif(
    installed_file("lite0") is None, reason="the extra `weights` is not installed"
)


def choose(given=None, *, gpus=0, budget_s=None):
    return choose_start(given or {}, gpus=gpus, budget_s=budget_s)


@needs_weights
def test_installed_weights_and_the_recipe_are_chosen_and_said():
    start = choose()
    assert start["spec"]["model.pretrained_trunk_path"] == "lite0"
    assert start["spec"]["model.input_height"] == start["spec"]["model.input_width"] == 160
    assert start["spec"].items() >= RECIPE.items()
    assert start["search"] == SEARCHED
    told = " ".join(start["reasons"])
    assert "lite0" in told
    assert "--weights none" in told
    assert "160 px" in told


@needs_weights
def test_on_a_gpu_pictures_have_the_size_of_the_weights():
    assert "model.input_height" not in choose(gpus=1)["spec"]


@needs_weights
@pytest.mark.parametrize(
    ("budget_s", "epochs"),
    [(None, 6), (600.0, 6), (2400.0, 6), (2401.0, 10), (7200.0, 10), (36000.0, 15)],
)
def test_longer_budgets_train_longer_trials(budget_s, epochs):
    assert choose(budget_s=budget_s)["spec"]["train.num_epochs"] == epochs


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
    assert choose(given) == {"spec": {}, "search": (), "ranges": {}, "reasons": ()}


def test_from_nothing_a_cpu_gets_a_small_network_and_is_told_so():
    start = choose({"model.pretrained_trunk_path": "none"})
    assert start["spec"]["model.backbone"] == "timm/resnet18"
    assert start["search"] == ()
    assert "as asked" in start["reasons"][0]
    assert choose({"model.pretrained_trunk_path": "none"}, gpus=2)["spec"] == {}


@pytest.mark.parametrize(
    ("recipe", "names"), [(RECIPE, SEARCHED), (FROZEN_RECIPE, FROZEN_SEARCHED)]
)
def test_ranges_hold_the_recipes_values_inside(recipe, names):
    ranged = [name for name in names if name in RANGES and name in recipe]
    assert len(ranged) >= 4
    for name in ranged:
        low, high, _ = RANGES[name]
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
