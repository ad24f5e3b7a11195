"""NVIDIA's ViT-L/14 (`nvdinov2_vit_large_legacy`): DINOv2's trunk with a SwiGLU MLP, by timm.

Not the public DINOv2 ViT-L/14, whose MLP is a plain GELU one: those weights do not fit.
Oquab et al., arXiv:2304.07193; SwiGLU: arXiv:2002.05202.
"""

import timm
from timm.layers.mlp import SwiGLUPacked
from torch import nn

SWIGLU_WIDTH = 5472
"""Outputs of the MLP's first layer: gate and value, 2736 each."""


def build_nvdinov2_vit_large(image_size: tuple[int, int], in_channels: int) -> nn.Module:
    """Build the trunk for images of (height, width), both multiples of 14; 1024 features.

    The position table has 1 + (height / 14) * (width / 14) entries and is part of the weights.
    """
    model: nn.Module = timm.create_model(
        "vit_large_patch14_dinov2",
        pretrained=False,
        num_classes=0,
        in_chans=in_channels,
        img_size=image_size,
        mlp_layer=SwiGLUPacked,
        # timm's block passes its own activation on; without this the gate would be GELU.
        act_layer=nn.SiLU,
        mlp_ratio=SWIGLU_WIDTH / 1024,
    )
    return model
