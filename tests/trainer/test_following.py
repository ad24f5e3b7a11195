"""What a spec takes from its trunk's weights, and what it keeps when it is written and read."""

import json

import pytest
import yaml

from trainer.config.files import spec_text
from trainer.errors import CheckpointError, SpecError
from trainer.following import FOLLOWING, differences, start_weights
from trainer.models.weight_sources import installed_file
from trainer.spec import flatten, parse_spec, spec_to_dict

PUBLISHED = {
    "model.backbone": "resnet_50", "model.input_height": 224, "model.input_width": 224,
    "dataset.pixel_mean": [0.485, 0.456, 0.406], "dataset.pixel_std": [0.226, 0.226, 0.226],
    "dataset.interpolation": "bilinear", "dataset.crop_share": 0.0,
}  # fmt: skip
LITE1 = {
    "model.backbone": "timm/tf_efficientnet_lite1", "model.input_height": 240,
    "model.input_width": 240, "dataset.pixel_mean": [0.5, 0.5, 0.5],
    "dataset.pixel_std": [0.5, 0.5, 0.5], "dataset.interpolation": "bicubic",
    "dataset.crop_share": 0.882,
}  # fmt: skip
TRUNK = "model.pretrained_trunk_path"

pytestmark = pytest.mark.skipif(
    installed_file("lite1") is None, reason="hpo-recognition[weights] is not installed"
)


def read(action="train", **given):
    nested = {key.replace("__", "."): value for key, value in given.items()}
    return parse_spec(nested, action, is_complete=False)


def seen(spec):
    flat = flatten(spec_to_dict(spec))
    return {key: flat[key] for key in FOLLOWING}


def through_a_file(spec, **changes):
    """Write a spec as YAML, read it back with overrides."""
    nested = yaml.safe_load(spec_text(spec_to_dict(spec)))
    return parse_spec(
        {**flatten(nested), **{k.replace("__", "."): v for k, v in changes.items()}},
        "train",
        is_complete=False,
    )


def test_without_weights_all_is_as_published():
    assert seen(read()) == PUBLISHED
    assert start_weights(read()) is None
    assert seen(read(**{TRUNK: "none"})) == PUBLISHED
    assert read(**{TRUNK: "none"}).model.pretrained_trunk_path is None


def test_weights_bring_their_model_and_preprocessing():
    spec = read(**{TRUNK: "lite1"})
    assert seen(spec) == LITE1
    assert spec.model.pretrained_trunk_path == "lite1"
    assert start_weights(spec)["licence"] == "Apache-2.0"
    assert len(start_weights(spec)["sha256"]) == 64
    assert list(differences(spec)) == []


@pytest.mark.parametrize("action", ["evaluate", "inference", "export", "gen_trt_engine"])
def test_every_action_sees_pictures_as_the_weights_do(action):
    assert seen(read(action, **{TRUNK: "lite1"})) == LITE1


def test_what_was_set_wins_and_is_told_in_one_line():
    spec = read(
        **{TRUNK: "lite1"}, dataset__pixel_mean=[0.485, 0.456, 0.406], dataset__crop_share=0,
        model__input_width=64, model__input_height=64,
    )  # fmt: skip
    assert seen(spec) == LITE1 | {
        "dataset.pixel_mean": [0.485, 0.456, 0.406], "dataset.crop_share": 0.0,
        "model.input_width": 64, "model.input_height": 64,
    }  # fmt: skip
    (line,) = differences(spec)
    assert line == (
        "model.pretrained_trunk_path lite1: the weights were trained with other preprocessing than "
        "is set: model.input_height is 64, theirs 240; model.input_width is 64, theirs 240; "
        "dataset.pixel_mean is [0.485, 0.456, 0.406], theirs 0.5; dataset.crop_share is 0.0, "
        "theirs 0.882"
    )


def test_a_value_equal_to_the_default_counts_as_set():
    """A template that spells every default out is taken at its word."""
    assert seen(read(**{TRUNK: "lite1"}, dataset__interpolation="bilinear")) == LITE1 | {
        "dataset.interpolation": "bilinear"
    }


@pytest.mark.parametrize("given", [{}, {TRUNK: "lite1"}, {TRUNK: "lite1", "dataset.crop_share": 1}])
def test_a_written_spec_reads_back_as_it_was(given):
    spec = read(**given)
    assert through_a_file(spec) == spec
    assert through_a_file(through_a_file(spec)) == spec


def test_a_written_spec_is_not_resolved_again(monkeypatch):
    spec = read(**{TRUNK: "lite1"})
    monkeypatch.delattr("trainer.models.weight_sources.resolve")
    assert through_a_file(spec) == spec


def test_other_weights_over_a_written_spec_bring_their_own():
    plain = read(dataset__crop_share=0.7)
    over = through_a_file(plain, **{TRUNK: "lite1"})
    assert seen(over) == LITE1 | {"dataset.crop_share": 0.7}
    other = through_a_file(over, **{TRUNK: "lite0"}, model__input_height=64)
    assert seen(other) == LITE1 | {
        "model.backbone": "timm/tf_efficientnet_lite0", "model.input_height": 64,
        "model.input_width": 224, "dataset.crop_share": 0.7,
    }  # fmt: skip
    assert other.model.weights.address == "lite0"
    back = through_a_file(other, **{TRUNK: "none"})
    assert seen(back) == PUBLISHED | {"model.input_height": 64, "dataset.crop_share": 0.7}
    assert back.model.weights.address is None


def test_a_key_taken_out_of_a_written_spec_comes_from_the_weights_again():
    flat = flatten(spec_to_dict(read(**{TRUNK: "lite1"})))
    del flat["dataset.pixel_std"]
    assert seen(parse_spec(flat, "train", is_complete=False)) == LITE1


@pytest.mark.parametrize("backbone", ["resnet_50", "timm/resnet18", "timm/efficientnet_lite1"])
def test_another_model_beside_the_weights_is_one_line(backbone):
    with pytest.raises(SpecError) as caught:
        read(**{TRUNK: "lite1"}, model__backbone=backbone)
    assert str(caught.value) == (
        "model.backbone: must be timm/tf_efficientnet_lite1 beside model.pretrained_trunk_path "
        f"lite1, got {backbone}; leave one of the two out"
    )
    with pytest.raises(SpecError, match=f"got {backbone}; leave one"):
        through_a_file(read(**{TRUNK: "lite1"}), model__backbone=backbone)


@pytest.mark.parametrize(
    ("backbone", "address"),
    [
        ("timm/tf_efficientnet_lite1", "lite1"),
        ("timm/tf_efficientnet_lite1.in1k", "lite1"),
        ("resnet_50", "timm://resnet50.tv_in1k"),
        ("timm/resnet50.a1_in1k", "timm://resnet50.tv_in1k"),
    ],
)
def test_the_same_model_under_another_name_is_kept(backbone, address):
    spec = read("export", **{TRUNK: address}, model__backbone=backbone)
    assert spec.model.backbone == backbone


def test_a_file_brings_its_digest_alone(tmp_path):
    path = tmp_path / "mine.pth"
    path.write_bytes(b"abc")
    spec = read(**{TRUNK: str(path)}, model__backbone="timm/resnet18")
    assert seen(spec) == PUBLISHED | {"model.backbone": "timm/resnet18"}
    assert spec.model.weights.sha256.startswith("ba7816bf")
    assert spec.model.weights.trained_with is None
    path.unlink()
    assert through_a_file(spec) == spec  # a checkpoint may replace all weights


def test_a_missing_file_is_said_where_it_is_needed(tmp_path):
    given = {
        TRUNK: str(tmp_path / "no.pth"), "dataset.train_dataset": "t",
        "dataset.val_dataset": {"reference": "r", "query": "q"},
    }  # fmt: skip
    with pytest.raises(CheckpointError, match=r"no\.pth does not exist"):
        parse_spec(given, "train")
    resumed = {**given, "train.resume_training_checkpoint_path": "last.ckpt"}
    assert parse_spec(resumed, "train").model.weights.address == given[TRUNK]
    assert read("evaluate", **{TRUNK: given[TRUNK]}).model.weights.sha256 is None


@pytest.mark.parametrize("name", ["follows", "trained_with"])
@pytest.mark.parametrize("text", ["no json", "[1]", '{"a": 1}', '{"dataset.crop_share": "x"}'])
def test_an_edited_record_is_one_line(name, text):
    flat = flatten(spec_to_dict(read(**{TRUNK: "lite1"})))
    with pytest.raises(SpecError, match=f"^model.weights.{name}: is written by the program") as got:
        parse_spec({**flat, f"model.weights.{name}": text}, "train", is_complete=False)
    assert "\n" not in str(got.value)


def test_the_record_is_readable():
    weights = read(**{TRUNK: "lite1"}).model.weights
    assert json.loads(weights.trained_with) == LITE1
    assert json.loads(weights.follows) == LITE1
