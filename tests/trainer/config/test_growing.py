"""Sizes of training pictures, against sums by hand."""

import dataclasses

import pytest

from trainer.config.growing import areas, picture_sizes
from trainer.errors import SpecError
from trainer.spec import parse_spec


def spec_of(first, num_epochs, height=224, width=224):
    return parse_spec(
        {
            "dataset": {"first_size": first},
            "train": {"num_epochs": num_epochs},
            "model": {"input_height": height, "input_width": width, "backbone": "timm/resnet18"},
        },
        "train",
        is_complete=False,
    )


def test_sides_grow_evenly_in_steps_of_sixteen_to_the_inputs_own():
    # 224 * (.5, .6, .7, .8, .9, 1) = 112, 134.4, 156.8, 179.2, 201.6, 224
    sizes = picture_sizes(spec_of(0.5, 6))
    assert [tall for tall, _ in sizes] == [112, 128, 160, 176, 208, 224]
    assert all(tall == wide for tall, wide in sizes)


def test_the_last_epoch_sees_the_input_whatever_its_sides_are():
    assert picture_sizes(spec_of(0.4, 3, height=104, width=333)) == (
        (48, 128),
        (80, 240),
        (104, 333),
    )
    assert picture_sizes(spec_of(0.4, 1, height=104, width=333)) == ((104, 333),)


@pytest.mark.parametrize("first", [0.1, 0.5, 1.0])
def test_small_inputs_stay_as_they_are(first):
    assert set(picture_sizes(spec_of(first, 4, height=32, width=24))) == {(32, 24)}


def test_without_growth_all_epochs_are_alike():
    assert picture_sizes(spec_of(1.0, 3, height=100, width=70)) == ((100, 70),) * 3


def test_pictures_that_features_are_computed_of_are_whole():
    """What is refused beside them goes by that: a kernel of 61 is too large for 32 px alone."""
    frozen = {"train.train_trunk": False, "dataset.first_size": 0.1, "train.num_epochs": 3}
    kernel = {"dataset.gaussian_blur.kernel": [61, 61], "model.input_height": 64}
    given = frozen | kernel | {"model.input_width": 64, "model.backbone": "timm/resnet18"}
    spec = parse_spec(given, "train", is_complete=False)
    assert picture_sizes(spec) == ((64, 64),) * 3
    with pytest.raises(SpecError, match=r"no larger than the picture \(32\)"):
        parse_spec(given | {"train.train_trunk": True}, "train", is_complete=False)


def test_the_areas_are_shares_of_the_last_one():
    pixels = [48 * 128, 80 * 240, 104 * 333]
    wanted = [each / (104 * 333) for each in pixels]
    assert areas(spec_of(0.4, 3, height=104, width=333)) == pytest.approx(wanted)
    assert areas(spec_of(1.0, 5)) == [1.0] * 5


def test_a_spec_without_epochs_left_has_one_size():
    spec = spec_of(0.5, 2)
    train = dataclasses.replace(spec.train, num_epochs=0)
    assert picture_sizes(dataclasses.replace(spec, train=train)) == ((224, 224),)
