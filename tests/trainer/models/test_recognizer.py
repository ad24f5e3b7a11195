"""The joined model: heads, order of weight files, and what is said about them."""

import dataclasses
import hashlib
import logging

import pytest
import torch

from trainer.config.model import ModelConfig
from trainer.config.root import Spec
from trainer.errors import CheckpointError, SpecError
from trainer.models.heads import LinearHead, ResidualHead
from trainer.models.layouts import aside_words
from trainer.models.recognizer import build_recognizer, has_pretrained_weights
from trainer.models.trunk import create_trunk
from trainer.spec import parse_spec


def spec(**model):
    chosen = {"backbone": "timm/test_resnet", "input_width": 48, "input_height": 32, "feat_dim": 7}
    return Spec(model=ModelConfig(**{**chosen, **model}))


def on_meta(**model):
    with torch.device("meta"):
        return build_recognizer(spec(**model), load_pretrained=False)


@pytest.mark.parametrize(
    ("backbone", "head", "size", "keys"),
    [
        ("resnet_50", LinearHead, 7, 322),
        ("resnet_101", LinearHead, 7, 628),
        ("timm/resnet18", LinearHead, 7, 124),
        ("fan_tiny", ResidualHead, 192, 353 + 20),
        ("nvdinov2_vit_large_legacy", ResidualHead, 1024, 342 + 20),
    ],
)
def test_each_backbone_gets_its_published_head(backbone, head, size, keys):
    model = on_meta(backbone=backbone, input_width=112, input_height=112)
    assert isinstance(model.embedder, head)
    assert model.embedding_size == size
    assert len(model.state_dict()) == keys
    assert {key.split(".")[0] for key in model.state_dict()} == {"trunk", "embedder"}


def test_height_and_width_are_not_swapped():
    model = on_meta(backbone="nvdinov2_vit_large_legacy", input_width=56, input_height=28)
    assert model.trunk.patch_embed.grid_size == (2, 4)


def test_channels_reach_the_trunk():
    assert build_recognizer(spec(input_channels=1))(torch.ones(2, 1, 32, 48)).shape == (2, 7)


def test_embeddings_are_raw():
    torch.manual_seed(0)
    model = build_recognizer(spec()).eval()
    images = torch.randn(2, 3, 32, 48)
    embeddings = model(images)
    assert embeddings.shape == (2, 7)
    expected = model.trunk(images) @ model.embedder.net[0].weight.T + model.embedder.net[0].bias
    assert torch.allclose(embeddings, expected, atol=1e-6)
    assert not torch.allclose(embeddings.norm(dim=1), torch.ones(2))


def test_gradient_reaches_every_parameter():
    model = build_recognizer(spec())
    for parameter in model.parameters():
        # A ResNet starts with the last norm of each block at 0, which stops the gradient there.
        parameter.data.uniform_(0.1, 0.3)
    model(torch.randn(4, 3, 32, 48)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


def test_the_same_seed_gives_the_same_model():
    states = []
    for _ in range(2):
        torch.manual_seed(11)
        states.append(build_recognizer(spec()).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.fixture
def files(tmp_path):
    """Three models of constant weights: 1 in a trunk file, 2 in a head file, 3 in a whole file."""
    paths = {}
    for value, name in ((1, "trunk"), (2, "embedder"), (3, "model")):
        model = build_recognizer(spec())
        for parameter in model.parameters():
            parameter.data.fill_(value)
        part = model if name == "model" else getattr(model, name)
        paths[name] = tmp_path / f"{name}.pth"
        torch.save({"state_dict": part.state_dict()}, paths[name])
    return paths


def values(model, part):
    return {parameter.flatten()[0].item() for parameter in getattr(model, part).parameters()}


@pytest.mark.parametrize(
    ("named", "trunk", "embedder"),
    [
        (("trunk",), {1.0}, None),
        (("embedder",), None, {2.0}),
        (("trunk", "embedder"), {1.0}, {2.0}),
        (("model",), {3.0}, {3.0}),
        # The whole model's file comes last and replaces both.
        (("trunk", "embedder", "model"), {3.0}, {3.0}),
    ],
)
def test_files_are_loaded_in_the_published_order(files, named, trunk, embedder):
    chosen = spec(**{f"pretrained_{name}_path": str(files[name]) for name in named})
    model = build_recognizer(chosen)
    assert has_pretrained_weights(chosen)
    assert trunk is None or values(model, "trunk") == trunk
    assert embedder is None or values(model, "embedder") == embedder


def test_a_trunk_is_taken_from_a_whole_models_file(files):
    model = build_recognizer(spec(pretrained_trunk_path=str(files["model"])))
    assert values(model, "trunk") == {3.0}
    assert values(model, "embedder") != {3.0}


def test_one_line_says_what_was_loaded(files, caplog):
    with caplog.at_level(logging.INFO):
        build_recognizer(spec(pretrained_trunk_path=str(files["trunk"])))
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert str(files["trunk"]) in record.message
    keys = len(create_trunk("timm/test_resnet", image_size=(32, 48)).state_dict())
    assert f"{keys} weights loaded" in record.message
    assert "left aside" not in record.message


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ((), ""),
        (("fc.weight", "fc.bias"), ", 2 left aside: those of the classifier"),
        (("trunk.head.fc.weight",), ", 1 left aside: those of the classifier"),
        (("mask_token", "fc.bias"), ", 2 left aside: mask_token, fc.bias"),
        (tuple("abcdef"), ", 6 left aside: a, b, c, d, ..."),
    ],
)
def test_one_line_says_what_was_left_aside(keys, words):
    assert aside_words(keys).startswith(words)
    assert bool(aside_words(keys)) == bool(keys)


@pytest.mark.parametrize(
    ("backbone", "hint"),
    [("timm/resnet18", "timm://resnet18"), ("resnet_50", "timm://resnet50"), ("fan_tiny", None)],
)
def test_random_weights_are_one_warning_with_the_way_out(caplog, backbone, hint):
    build_recognizer(spec(backbone=backbone))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"{backbone} starts from RANDOM weights" in record.message
    assert ("timm://" in record.message) == (hint is not None)
    assert hint is None or hint in record.message
    assert not has_pretrained_weights(spec(backbone=backbone))


def test_a_head_file_alone_leaves_the_trunk_random_and_warns(files, caplog):
    build_recognizer(spec(pretrained_embedder_path=str(files["embedder"])))
    assert "RANDOM" in caplog.text


def test_nothing_is_read_nor_said_when_a_checkpoint_follows(caplog):
    build_recognizer(spec(pretrained_model_path="/nowhere.pth"), load_pretrained=False)
    assert caplog.text == ""


def test_a_file_that_does_not_exist_is_an_error_and_names_it():
    with pytest.raises(CheckpointError, match=r"/nowhere\.pth does not exist"):
        build_recognizer(spec(pretrained_trunk_path="/nowhere.pth"))


def test_a_file_that_does_not_fit_names_the_spec_key(files):
    chosen = spec(backbone="timm/resnet18", pretrained_trunk_path=str(files["trunk"]))
    with pytest.raises(CheckpointError, match=r"^model\.pretrained_trunk_path: .* timm/resnet18: "):
        build_recognizer(chosen)


def test_a_file_that_was_exchanged_is_refused(files):
    chosen = parse_spec(
        {
            "model.backbone": "timm/test_resnet",
            "model.pretrained_trunk_path": str(files["trunk"]),
        },
        "train",
        is_complete=False,
    )
    model = build_recognizer(chosen)
    assert model.weights == {
        "address": str(files["trunk"]), "licence": None,
        "sha256": hashlib.sha256(files["trunk"].read_bytes()).hexdigest(),
    }  # fmt: skip
    files["trunk"].write_bytes(files["model"].read_bytes())
    with pytest.raises(CheckpointError, match="must be the file that the spec was made with"):
        build_recognizer(chosen)


def test_hub_names_are_for_trunks_only():
    with pytest.raises(
        SpecError, match="pretrained_model_path: must be a file, and timm://resnet18 names"
    ):
        build_recognizer(spec(pretrained_model_path="timm://resnet18"))


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch, tmp_path):
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match="timm://resnet18 could not be fetched") as caught:
        build_recognizer(spec(backbone="timm/resnet18", pretrained_trunk_path="timm://resnet18"))
    assert "\n" not in str(caught.value)


def test_a_hub_name_without_published_weights_is_one_line():
    chosen = spec(backbone="timm/resnet18", pretrained_trunk_path="timm://no_such_model")
    with pytest.raises(SpecError, match="no_such_model is not a model of timm"):
        build_recognizer(chosen)


def test_the_spec_is_left_as_it_was():
    chosen = spec()
    before = dataclasses.asdict(chosen)
    build_recognizer(chosen)
    assert dataclasses.asdict(chosen) == before
