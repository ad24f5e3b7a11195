"""FAN-Hybrid trunks (tiny, small, base, large) on timm parts.

Zhou et al., "Understanding The Robustness in Vision Transformers", ICML 2022, arXiv:2204.12451.
Parts: ConvNeXt stem (arXiv:2201.03545), Fourier positions and class attention of XCiT and CaiT
(arXiv:2106.09681, arXiv:2103.17239). Parameter names are those of the published weight files.

Shapes: N images, T tokens, C channels, K heads, D channels of a head.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import sqrt
from types import MappingProxyType
from typing import Any

import torch
from timm.layers.norm import LayerNorm2d
from timm.models.convnext import ConvNeXtStage
from timm.models.xcit import LPI, ClassAttentionBlock, PositionalEncodingFourier
from torch import Tensor, nn
from torch.nn import functional

_STEM_WIDTHS = (128, 256)
_CLASS_ATTENTION_BLOCKS = 2


class _Norm(nn.LayerNorm):
    """LayerNorm with the epsilon of all of the trunk but one place."""

    def __init__(self, dim: int, **factory: Any) -> None:
        super().__init__(dim, eps=1e-6, **factory)


@dataclass(frozen=True, slots=True, kw_only=True)
class FanSize:
    """What sets one FAN-Hybrid apart from the others."""

    width: int
    depth: int
    heads: int
    stem_depths: tuple[int, int] = (3, 3)


FAN_SIZES: Mapping[str, FanSize] = MappingProxyType(
    {
        "tiny": FanSize(width=192, depth=8, heads=8),
        "small": FanSize(width=384, depth=10, heads=8),
        "base": FanSize(width=448, depth=16, heads=8),
        "large": FanSize(width=480, depth=22, heads=10, stem_depths=(3, 5)),
    }
)


class ConvStem(nn.Module):
    """Two ConvNeXt stages, stride 8 in all, images to 256 channels."""

    def __init__(self, in_channels: int, depths: tuple[int, int]) -> None:
        super().__init__()
        first, last = _STEM_WIDTHS
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, first, kernel_size=4, stride=4), LayerNorm2d(first, eps=1e-6)
        )
        stage = partial(ConvNeXtStage, conv_mlp=True, ls_init_value=1e-6, norm_layer=LayerNorm2d)
        self.stages = nn.Sequential(
            stage(first, first, stride=1, depth=depths[0]),
            stage(first, last, stride=2, depth=depths[1]),
        )

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """Map N x in_channels x H x W to N x 256 x H/8 x W/8."""
        out: Tensor = self.stages(self.stem(images_NCHW))
        return out


class HybridPatchEmbed(nn.Module):
    """Convolutional stem and a 2 x 2 projection: one token per 16 x 16 pixels."""

    def __init__(self, in_channels: int, size: FanSize) -> None:
        super().__init__()
        self.backbone = ConvStem(in_channels, size.stem_depths)
        self.proj = nn.Conv2d(_STEM_WIDTHS[-1], size.width, kernel_size=2, stride=2)

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """Map images to N x width x H/16 x W/16."""
        out: Tensor = self.proj(self.backbone(images_NCHW))
        return out


class TokenMixing(nn.Module):
    """Multi-head self-attention over tokens; keys and values share one layer, as in the files."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x_NTC: Tensor) -> Tensor:
        """Mix N x T x C over T; shape kept."""
        n, t, c = x_NTC.shape
        q_NKTD = self.q(x_NTC).reshape(n, t, self.heads, -1).transpose(1, 2)
        kv = self.kv(x_NTC).reshape(n, t, 2, self.heads, c // self.heads)
        k_NKTD, v_NKTD = kv.permute(2, 0, 3, 1, 4).unbind(0)
        # The default scale is the square root of a head's width, as the model has it.
        mixed_NKTD = functional.scaled_dot_product_attention(q_NKTD, k_NKTD, v_NKTD)
        out: Tensor = self.proj(mixed_NKTD.transpose(1, 2).reshape(n, t, c))
        return out


class TokenConvMlp(nn.Module):
    """Linear to 4C, plus a weighted depthwise convolution of itself on the grid, linear back."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        hidden = 4 * dim
        self.fc1 = nn.Linear(dim, hidden)
        self.dwconv = LPI(hidden)
        self.gamma = nn.Parameter(torch.ones(hidden))
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x_NTC: Tensor, grid: tuple[int, int]) -> Tensor:
        """Map N x T x C to the same shape; T = rows x columns of `grid`."""
        u_NTH = self.fc1(x_NTC)
        out: Tensor = self.fc2(u_NTH + self.gamma * self.dwconv(u_NTH, *grid))
        return out


class ChannelProcessing(nn.Module):
    """One gate per image and channel, from attention over tokens, on a convolutional MLP's output.

    The softmax runs over the tokens, so the output depends on the image size.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.q = nn.Linear(dim, dim)
        self.mlp_v = TokenConvMlp(dim)
        # Torch's default epsilon of 1e-5, unlike every other norm of the trunk.
        self.norm_v = nn.LayerNorm(dim)

    def forward(self, x_NTC: Tensor, grid: tuple[int, int]) -> Tensor:
        """Map N x T x C to the same shape; T = rows x columns of `grid`."""
        n, t, c = x_NTC.shape
        value_NTC = self.norm_v(self.mlp_v(x_NTC, grid))
        query_NTKD = self.q(x_NTC).softmax(dim=1).reshape(n, t, self.heads, -1)
        key_NTK = x_NTC.softmax(dim=1).reshape(n, t, self.heads, -1).mean(dim=3)
        gate_NKD = torch.einsum("ntkd,ntk->nkd", query_NTKD, key_NTK).sigmoid()
        gate_N1C = (self.temperature[:, 0] * gate_NKD).reshape(n, 1, c)
        out: Tensor = gate_N1C * value_NTC
        return out


class FanBlock(nn.Module):
    """Token mixing, then channel processing, each behind a norm and a layer scale."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = _Norm(dim)
        self.attn = TokenMixing(dim, heads)
        self.gamma1 = nn.Parameter(torch.ones(dim))
        self.norm2 = _Norm(dim)
        self.mlp = ChannelProcessing(dim, heads)
        self.gamma2 = nn.Parameter(torch.ones(dim))

    def forward(self, x_NTC: Tensor, grid: tuple[int, int]) -> Tensor:
        """Map N x T x C to the same shape; T = rows x columns of `grid`."""
        x_NTC = x_NTC + self.gamma1 * self.attn(self.norm1(x_NTC))
        out: Tensor = x_NTC + self.gamma2 * self.mlp(self.norm2(x_NTC), grid)
        return out


class FanHybrid(nn.Module):
    """FAN-Hybrid without classifier: the class token after the final norm.

    Sides of the image should be multiples of 16; nothing in the weights depends on the size.
    """

    def __init__(self, size: FanSize, *, in_channels: int = 3) -> None:
        super().__init__()
        dim = size.width
        self.num_features = dim
        self.patch_embed = HybridPatchEmbed(in_channels, size)
        self.pos_embed = PositionalEncodingFourier(dim=dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.blocks = nn.ModuleList(FanBlock(dim, size.heads) for _ in range(size.depth))
        self.cls_attn_blocks = nn.ModuleList(
            ClassAttentionBlock(
                dim, size.heads, 4.0, qkv_bias=True, norm_layer=_Norm, eta=1.0, tokens_norm=True
            )
            for _ in range(_CLASS_ATTENTION_BLOCKS)
        )
        self.norm = _Norm(dim)
        self._initialise()

    def group_matcher(self, *, coarse: bool = False) -> dict[str, object]:  # noqa: ARG002 - timm's
        """Say in timm's form which parameters belong to which layer."""
        return {
            "stem": r"^cls_token|pos_embed|patch_embed",
            "blocks": r"^blocks\.(\d+)",
            "cls_attn_blocks": [(r"^cls_attn_blocks\.(\d+)", None), (r"^norm", (99999,))],
        }

    def _initialise(self) -> None:
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        for module in self.patch_embed.backbone.modules():
            if isinstance(module, nn.Conv2d):
                _fill_convolution(module, std=0.02, truncated=True)
        for module in self.blocks.modules():
            if isinstance(module, nn.Conv2d):
                _fill_convolution(module, std=sqrt(2 / 9), truncated=False)

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """Map N x in_channels x H x W to N x num_features, not normalised."""
        x_NCHW = self.patch_embed(images_NCHW)
        n, _, rows, columns = x_NCHW.shape
        x_NCHW = x_NCHW + self.pos_embed(n, rows, columns)
        x_NTC = x_NCHW.flatten(2).transpose(1, 2)
        for block in self.blocks:
            x_NTC = block(x_NTC, (rows, columns))
        x_NTC = torch.cat([self.cls_token.expand(n, -1, -1), x_NTC], dim=1)
        for block in self.cls_attn_blocks:
            x_NTC = block(x_NTC)
        # LayerNorm works token by token, so norming the class token alone is the same.
        out: Tensor = self.norm(x_NTC[:, 0])
        return out


def _fill_convolution(module: nn.Conv2d, *, std: float, truncated: bool) -> None:
    fill = nn.init.trunc_normal_ if truncated else nn.init.normal_
    fill(module.weight, std=std)
    if module.bias is not None:
        nn.init.zeros_(module.bias)
