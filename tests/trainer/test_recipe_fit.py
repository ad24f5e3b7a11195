"""What of a recipe does not go with the trunk, or with what the user has set."""

import pytest

from trainer.models.trunk_facts import TrunkFacts
from trainer.recipe_fit import overruling, refused, unfit_for

ALL = {"grows": True, "needs_small_steps": True, "has_batch_norm": True, "has_layers": True}
BLUR, COLOR = "dataset.gaussian_blur.enabled", "dataset.color_augmentation.enabled"
SWITCHES = {"dataset.feature_views": 0, BLUR: False, COLOR: False, "dataset.re_prob": 0.0}


@pytest.mark.parametrize(
    ("lacks", "unfit"),
    [
        ((), set()),
        (("needs_small_steps",), set()),
        (("grows", "has_layers"), {"dataset.first_size", "train.optim.layer_decay"}),
        (("has_batch_norm",), {"train.batch_norm"}),
    ],
)
def test_what_a_trunk_lacks_is_not_asked_of_it(lacks, unfit):
    assert unfit_for(TrunkFacts(**ALL | dict.fromkeys(lacks, False))) == unfit


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ({}, {}),
        ({COLOR: False, "dataset.color_augmentation.hue": 0.1}, {}),
        (
            {"dataset.color_augmentation.hue": 0.1, "train.train_trunk": False},
            {key: ["dataset.color_augmentation.hue"] for key in ("dataset.feature_views", COLOR)},
        ),
        (
            {"dataset.gaussian_blur.sigma": [0.2, 0.4], "dataset.color_augmentation.hue": 0.1},
            {BLUR: ["dataset.gaussian_blur.sigma"], COLOR: ["dataset.color_augmentation.hue"]},
        ),
    ],
)
def test_each_switch_that_would_stop_a_set_value_is_found(told, found):
    assert overruling(told, SWITCHES, {"train.num_epochs": 3}) == found


def test_only_keys_of_the_recipe_give_way():
    told = {"train.loss.name": "triplet", "train.optim.steps": [5, 3]}
    recipe = {"dataset.sampling": "random", "model.feat_dim": 64}
    assert refused(told, recipe) == {"dataset.sampling"}
    assert refused(told | {"dataset.sampling": "random"}, recipe) == set()
