"""FAN-Hybrid recomputed slowly from a description of the network, on its state_dict alone."""

import math

import pytest
import torch
from torch.nn import functional

from trainer.models.fan import FAN_SIZES, ChannelProcessing, FanHybrid, FanSize

SMALL = FanSize(width=24, depth=2, heads=4)
TOLERANCE = {"rtol": 1e-10, "atol": 1e-10}


def redrawn(module):
    """Double precision, every weight random: layer scales and norms too, or errors would hide.

    Spreads keep activations near 1, so that a wrong epsilon shows.
    """
    generator = torch.Generator().manual_seed(7)
    module = module.double()
    for value in module.state_dict().values():
        if value.dtype == torch.int64:
            continue
        spread = 1 / math.sqrt(value[0].numel()) if value.ndim > 1 else 0.2
        value.normal_(0, spread, generator=generator)
    for name, value in module.state_dict().items():
        is_scale = name.endswith(("running_var", "gamma", "gamma1", "gamma2", "temperature"))
        if is_scale or (value.ndim == 1 and name.endswith(".weight")):
            value.abs_().add_(0.8)
    return module


def linear(state, name, x):
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def layer_norm(state, name, x, eps=1e-6):
    """Over the last axis, with the population variance."""
    centred = x - x.mean(-1, keepdim=True)
    variance = centred.square().mean(-1, keepdim=True)
    return centred / (variance + eps).sqrt() * state[f"{name}.weight"] + state[f"{name}.bias"]


def gelu(x):
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def convolution(state, name, x, **options):
    return functional.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], **options)


def slow_channel_processing(state, name, x, grid, heads):
    """One image, tokens x channels; sums written out channel by channel."""
    tokens, channels = x.shape
    width = channels // heads
    u = linear(state, f"{name}.mlp_v.fc1", x)
    image = u.T.reshape(1, -1, *grid)
    d = convolution(state, f"{name}.mlp_v.dwconv.conv1", image, padding=1, groups=image.shape[1])
    d = gelu(d)
    bn = f"{name}.mlp_v.dwconv.bn"
    scale = state[f"{bn}.weight"] / (state[f"{bn}.running_var"] + 1e-5).sqrt()
    d = (d - state[f"{bn}.running_mean"][:, None, None]) * scale[:, None, None]
    d = d + state[f"{bn}.bias"][:, None, None]
    d = convolution(state, f"{name}.mlp_v.dwconv.conv2", d, padding=1, groups=d.shape[1])
    u = u + state[f"{name}.mlp_v.gamma"] * d.reshape(-1, tokens).T
    value = layer_norm(state, f"{name}.norm_v", linear(state, f"{name}.mlp_v.fc2", u), eps=1e-5)

    query = linear(state, f"{name}.q", x)
    out = torch.empty_like(x)
    for h in range(heads):
        columns = range(h * width, (h + 1) * width)
        keys = [torch.exp(x[:, c]) / torch.exp(x[:, c]).sum() for c in columns]
        key = sum(keys) / width
        for c in columns:
            weights = torch.exp(query[:, c]) / torch.exp(query[:, c]).sum()
            total = sum(weights[n] * key[n] for n in range(tokens))
            gate = state[f"{name}.temperature"][h, 0, 0] / (1 + torch.exp(-total))
            out[:, c] = gate * value[:, c]
    return out


def slow_attention(query, key, value, heads):
    """One image; query x channels, by head and by query, softmax over the keys."""
    width = query.shape[1] // heads
    rows = []
    for q in query:
        parts = []
        for h in range(heads):
            part = slice(h * width, (h + 1) * width)
            weights = torch.softmax(key[:, part] @ q[part] / math.sqrt(width), dim=0)
            parts.append(weights @ value[:, part])
        rows.append(torch.cat(parts))
    return torch.stack(rows)


def slow_class_attention(state, name, x, heads):
    """Class token first; the other tokens are doubled at the end."""
    normed = layer_norm(state, f"{name}.norm1", x)
    query = linear(state, f"{name}.attn.q", normed[:1])
    key = linear(state, f"{name}.attn.k", normed)
    value = linear(state, f"{name}.attn.v", normed)
    token = linear(state, f"{name}.attn.proj", slow_attention(query, key, value, heads))
    x = x + state[f"{name}.gamma1"] * torch.cat([token, normed[1:]])
    x = layer_norm(state, f"{name}.norm2", x)
    hidden = gelu(linear(state, f"{name}.mlp.fc1", x[0]))
    token = x[0] + state[f"{name}.gamma2"] * linear(state, f"{name}.mlp.fc2", hidden)
    return torch.stack([token, *(2 * x[1:])])


def slow_stem(state, image):
    def channel_norm(name, x):
        return layer_norm(state, name, x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    root = "patch_embed.backbone"
    x = channel_norm(f"{root}.stem.1", convolution(state, f"{root}.stem.0", image, stride=4))
    for stage in (0, 1):
        name = f"{root}.stages.{stage}"
        if stage:
            x = channel_norm(f"{name}.downsample.0", x)
            x = convolution(state, f"{name}.downsample.1", x, stride=2)
        for block in (f"{name}.blocks.{i}" for i in range(3)):
            y = convolution(state, f"{block}.conv_dw", x, padding=3, groups=x.shape[1])
            y = gelu(convolution(state, f"{block}.mlp.fc1", channel_norm(f"{block}.norm", y)))
            y = convolution(state, f"{block}.mlp.fc2", y)
            x = x + state[f"{block}.gamma"][:, None, None] * y
    return convolution(state, "patch_embed.proj", x, stride=2)


def slow_positions(state, rows, columns):
    """64 channels: 32 of the row, then 32 of the column, sine and cosine in turn."""
    table = torch.empty(64, rows, columns, dtype=torch.float64)
    for r in range(rows):
        for c in range(columns):
            for half, index, count in ((0, r, rows), (32, c, columns)):
                angle = (index + 1) / (count + 1e-6) * 2 * math.pi
                for k in range(16):
                    phase = angle / 10000 ** (2 * k / 32)
                    table[half + 2 * k, r, c] = math.sin(phase)
                    table[half + 2 * k + 1, r, c] = math.cos(phase)
    weight = state["pos_embed.token_projection.weight"][:, :, 0, 0]
    bias = state["pos_embed.token_projection.bias"]
    return torch.einsum("oc,crk->ork", weight, table) + bias[:, None, None]


def slow_fan(trunk, image, size):
    state = trunk.state_dict()
    x = slow_stem(state, image[None])[0]
    grid = x.shape[1:]
    # Positions are drawn up in single precision, and compared at that by their own test.
    x = (x + trunk.pos_embed(1, *grid)[0]).flatten(1).T
    for name in (f"blocks.{i}" for i in range(size.depth)):
        normed = layer_norm(state, f"{name}.norm1", x)
        key, value = linear(state, f"{name}.attn.kv", normed).chunk(2, dim=1)
        query = linear(state, f"{name}.attn.q", normed)
        mixed = slow_attention(query, key, value, size.heads)
        x = x + state[f"{name}.gamma1"] * linear(state, f"{name}.attn.proj", mixed)
        normed = layer_norm(state, f"{name}.norm2", x)
        processed = slow_channel_processing(state, f"{name}.mlp", normed, grid, size.heads)
        x = x + state[f"{name}.gamma2"] * processed
    x = torch.cat([state["cls_token"][0], x])
    for name in ("cls_attn_blocks.0", "cls_attn_blocks.1"):
        x = slow_class_attention(state, name, x, size.heads)
    return layer_norm(state, "norm", x[0])


def test_channel_processing_equals_the_sums_written_out():
    module = redrawn(ChannelProcessing(12, 3)).eval()
    x = torch.randn(2, 6, 12, dtype=torch.float64)
    state = {f"m.{key}": value for key, value in module.state_dict().items()}
    expected = torch.stack([slow_channel_processing(state, "m", one, (2, 3), 3) for one in x])
    torch.testing.assert_close(module(x, (2, 3)), expected, **TOLERANCE)


def test_class_attention_equals_its_description_with_the_doubled_tokens():
    trunk = redrawn(FanHybrid(SMALL)).eval()
    x = torch.randn(1, 7, 24, dtype=torch.float64)
    expected = slow_class_attention(trunk.state_dict(), "cls_attn_blocks.0", x[0], SMALL.heads)
    torch.testing.assert_close(trunk.cls_attn_blocks[0](x)[0], expected, **TOLERANCE)


def test_positions_equal_the_sines_written_out():
    trunk = redrawn(FanHybrid(SMALL))
    expected = slow_positions(trunk.state_dict(), 3, 5)
    torch.testing.assert_close(trunk.pos_embed(1, 3, 5)[0], expected, rtol=1e-5, atol=2e-6)


def test_whole_network_equals_its_description_on_images_that_are_not_square():
    trunk = redrawn(FanHybrid(SMALL)).eval()
    images = torch.randn(2, 3, 32, 48, dtype=torch.float64)
    expected = torch.stack([slow_fan(trunk, image, SMALL) for image in images])
    torch.testing.assert_close(trunk(images), expected, **TOLERANCE)


def test_fan_tiny_equals_its_description():
    size = FAN_SIZES["tiny"]
    trunk = FanHybrid(size).double().eval()
    image = torch.randn(3, 32, 16, dtype=torch.float64)
    torch.testing.assert_close(trunk(image[None])[0], slow_fan(trunk, image, size), **TOLERANCE)


def test_one_epsilon_of_a_norm_shows_in_the_comparison():
    """The tolerance above is tight enough: the wrong epsilon in one norm moves the result more."""
    trunk = redrawn(FanHybrid(SMALL)).eval()
    images = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    before = trunk(images)
    trunk.blocks[0].mlp.norm_v.eps = 1e-6
    assert (trunk(images) - before).abs().max() > 1e-8


def test_batch_norm_sees_the_batch_in_training():
    module = redrawn(ChannelProcessing(12, 3)).train()
    seen = []
    module.mlp_v.dwconv.bn.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    bn = module.mlp_v.dwconv.bn
    before = bn.running_mean.clone()
    module(torch.randn(2, 6, 12, dtype=torch.float64), (2, 3))
    expected = 0.9 * before + 0.1 * seen[0].mean(dim=(0, 2, 3))
    torch.testing.assert_close(bn.running_mean, expected)
    assert bn.eps == 1e-5


def test_gradient_reaches_every_parameter():
    trunk = redrawn(FanHybrid(SMALL)).train()
    trunk(torch.randn(3, 3, 32, 48, dtype=torch.float64)).square().sum().backward()
    for name, parameter in trunk.named_parameters():
        # A softmax does not change when a constant is added to all it runs over: these two biases
        # have no influence on the output, by the architecture.
        if name.endswith(("mlp.q.bias", "attn.k.bias")):
            assert parameter.grad.abs().max() < 1e-10, name
        else:
            assert parameter.grad.abs().max() > 1e-10, name


@pytest.mark.parametrize(
    ("part", "std"),
    [
        ("blocks.3.attn.q.weight", 0.02),
        ("blocks.7.mlp.mlp_v.fc1.weight", 0.02),
        ("cls_attn_blocks.1.mlp.fc1.weight", 0.02),
        ("patch_embed.backbone.stem.0.weight", 0.02),
        ("patch_embed.backbone.stages.1.downsample.1.weight", 0.02),
        ("patch_embed.backbone.stages.0.blocks.2.mlp.fc1.weight", 0.02),
        ("blocks.0.mlp.mlp_v.dwconv.conv1.weight", math.sqrt(2 / 9)),
        # Torch's default: uniform between +-1/sqrt(256 * 4).
        ("patch_embed.proj.weight", 1 / math.sqrt(3 * 256 * 4)),
    ],
)
def test_initial_spread(part, std):
    torch.manual_seed(1)
    state = FanHybrid(FAN_SIZES["tiny"]).state_dict()
    assert state[part].std().item() == pytest.approx(std, rel=0.06)
    assert abs(state[part].mean().item()) < 0.05 * std + 0.002


def test_initial_constants():
    state = FanHybrid(FAN_SIZES["tiny"]).state_dict()
    ones = (".gamma1", ".gamma2", ".mlp_v.gamma", ".temperature", "norm1.weight", "norm.weight")
    for key, value in state.items():
        if "backbone.stages" in key and key.endswith(".gamma"):
            assert torch.all(value == 1e-6), key
        elif key.endswith(ones):
            assert torch.all(value == 1), key
        elif key.endswith(".bias") and not key.startswith(("patch_embed.proj", "pos_embed")):
            assert torch.all(value == 0), key


def test_keys_of_one_block_are_the_published_ones():
    with torch.device("meta"):
        keys = FanHybrid(FAN_SIZES["tiny"]).state_dict().keys()
    own = {key.removeprefix("blocks.0.") for key in keys if key.startswith("blocks.0.")}
    layers = {"norm1", "attn.q", "attn.kv", "attn.proj", "norm2", "mlp.q", "mlp.norm_v"}
    layers |= {f"mlp.mlp_v.{name}" for name in ("fc1", "fc2", "dwconv.conv1", "dwconv.conv2")}
    layers |= {"mlp.mlp_v.dwconv.bn"}
    expected = {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}
    expected |= {"gamma1", "gamma2", "mlp.temperature", "mlp.mlp_v.gamma"}
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    expected |= {f"mlp.mlp_v.dwconv.bn.{name}" for name in statistics}
    assert own == expected
    assert len(own) == 31
    assert sum(key.startswith("cls_attn_blocks.0.") for key in keys) == 18
    assert sum(key.startswith("patch_embed.backbone.stages.0.blocks.0.") for key in keys) == 9
