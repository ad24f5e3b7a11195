"""The ViT-L/14 recomputed from its state_dict: SwiGLU with SiLU, layer scales, class token."""

import pytest
import torch
from torch.nn import functional

from trainer.models.trunk import create_trunk

SIZE = (28, 42)


@pytest.fixture(scope="module")
def vit():
    with torch.device("meta"):
        trunk = create_trunk("nvdinov2_vit_large_legacy", image_size=SIZE)
    # Filled here: timm's own draw of 300 million numbers takes many times longer.
    trunk = trunk.to_empty(device="cpu").eval()
    generator = torch.Generator().manual_seed(0)
    for name, value in trunk.state_dict().items():
        value.normal_(0, 0.03, generator=generator)
        if name.endswith(("norm1.weight", "norm2.weight", "ls1.gamma", "ls2.gamma", "norm.weight")):
            value.add_(1)
    return trunk


def slow_vit(state, images):
    def norm(name, x):
        return functional.layer_norm(
            x, (1024,), state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-6
        )

    def linear(name, x):
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    patches = functional.conv2d(
        images, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=14
    )
    tokens = patches.flatten(2).transpose(1, 2)
    n = tokens.shape[0]
    x = torch.cat([state["cls_token"].expand(n, -1, -1), tokens], dim=1) + state["pos_embed"]
    for name in (f"blocks.{i}" for i in range(24)):
        qkv = linear(f"{name}.attn.qkv", norm(f"{name}.norm1", x))
        q, k, v = (part.reshape(n, -1, 16, 64) for part in qkv.chunk(3, dim=-1))
        scores = torch.einsum("nqhd,nkhd->nhqk", q, k) / 8
        mixed = torch.einsum("nhqk,nkhd->nqhd", scores.softmax(-1), v).reshape(n, -1, 1024)
        x = x + state[f"{name}.ls1.gamma"] * linear(f"{name}.attn.proj", mixed)
        first, second = linear(f"{name}.mlp.fc1", norm(f"{name}.norm2", x)).split(2736, dim=-1)
        gated = first * torch.sigmoid(first) * second
        x = x + state[f"{name}.ls2.gamma"] * linear(f"{name}.mlp.fc2", gated)
    return norm("norm", x)[:, 0]


def test_forward_equals_the_description(vit):
    images = torch.randn(2, 3, *SIZE)
    with torch.no_grad():
        got, expected = vit(images), slow_vit(vit.state_dict(), images)
    assert got.shape == (2, 1024)
    # Float32 through 24 blocks of width 1024.
    torch.testing.assert_close(got, expected, rtol=2e-4, atol=2e-4)


def test_keys_of_one_block_are_the_published_ones(vit):
    own = {k.removeprefix("blocks.23.") for k in vit.state_dict() if k.startswith("blocks.23.")}
    layers = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    expected = {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}
    assert own == expected | {"ls1.gamma", "ls2.gamma"}
    assert vit.state_dict()["pos_embed"].shape == (1, 1 + 2 * 3, 1024)


def test_layer_scale_starts_at_the_published_value():
    from timm.models.vision_transformer import LayerScale

    with torch.device("meta"):
        trunk = create_trunk("nvdinov2_vit_large_legacy", image_size=SIZE)
    scales = [module for module in trunk.modules() if isinstance(module, LayerScale)]
    assert len(scales) == 48
    assert {scale.init_values for scale in scales} == {1e-5}
