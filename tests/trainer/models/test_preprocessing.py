"""Facts of pretrained weights, against timm's own reading of them."""

import pytest
from timm.data import resolve_data_config

from trainer.models.preprocessing import preprocessing_facts, read_preprocessing

OWN = {
    "input_size": (3, 288, 320),
    "crop_pct": 0.95,
    "interpolation": "bilinear",
    "mean": (0.5, 0.4, 0.3),
    "std": (0.1, 0.2, 0.3),
}


@pytest.mark.parametrize("own", [OWN, {"url": ""}, {"crop_pct": 1.0, "input_size": (3, 64, 64)}])
def test_they_are_what_timm_resolves(own):
    theirs = resolve_data_config(pretrained_cfg=dict(own))
    facts = preprocessing_facts(own)
    assert tuple(facts["mean"]) == tuple(theirs["mean"])
    assert tuple(facts["std"]) == tuple(theirs["std"])
    assert facts["interpolation"] == theirs["interpolation"]
    assert facts["crop_share"] == theirs["crop_pct"]
    assert (facts["height"], facts["width"]) == tuple(theirs["input_size"][1:])


def test_a_way_that_keeps_the_whole_picture_squashes():
    assert preprocessing_facts(OWN | {"crop_mode": "squash"})["crop_share"] == 0.0


def test_the_typed_form_of_facts_that_went_through_json():
    read = read_preprocessing(preprocessing_facts(OWN) | {"mean": [1, 0, 0], "height": 288.0})
    assert (read.mean, read.std) == ((1.0, 0.0, 0.0), (0.1, 0.2, 0.3))
    assert (read.height, read.width, read.crop_share) == (288, 320, 0.95)
