"""The `model` section: trunk, embedding and input size, and the weights to start from."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.config.fields import choice, integer, optional_text, section
from trainer.config.weights import WeightsConfig

BACKBONES = (
    "resnet_50",
    "resnet_101",
    "fan_small",
    "fan_base",
    "fan_large",
    "fan_tiny",
    "nvdinov2_vit_large_legacy",
)
"""The published trunks; any timm model is spelt `timm/<name>`."""

TIMM_PREFIX = "timm/"

LINEAR_HEAD_BACKBONES = ("resnet_50", "resnet_101")
"""Published trunks with a linear embedder; the others keep their own feature size."""

NO_BATCH_NORM_BACKBONES = ("nvdinov2_vit_large_legacy",)
"""Published trunks without any batch norm."""

_INPUT_MULTIPLES = {
    **dict.fromkeys(("fan_tiny", "fan_small", "fan_base", "fan_large"), 16),
    "nvdinov2_vit_large_legacy": 14,
}


def input_multiple(backbone: str) -> int:
    """Return what width and height must be multiples of; timm's own models judge for themselves."""
    return _INPUT_MULTIPLES.get(backbone, 1)


def has_linear_head(backbone: str) -> bool:
    """Whether `model.feat_dim` decides the embedding's size under this backbone."""
    return backbone in LINEAR_HEAD_BACKBONES or backbone.startswith(TIMM_PREFIX)


def timm_name(backbone: str) -> str:
    """Return timm's name of a trunk, with that of its weights if given; empty for other trunks."""
    if backbone in LINEAR_HEAD_BACKBONES:
        return backbone.replace("_", "")
    return backbone.removeprefix(TIMM_PREFIX) if backbone.startswith(TIMM_PREFIX) else ""


def pools_no_map(backbone: str) -> bool:
    """Whether a published trunk has no map to pool; timm's own models judge for themselves."""
    return backbone in _INPUT_MULTIPLES


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Trunk, embedder and the size of the pictures they see."""

    backbone: str = choice(
        "resnet_50",
        BACKBONES,
        "Trunk that turns a picture into a feature: one of these, or timm/<name>.",
        pattern=r"^timm/[A-Za-z0-9_.\-]+$",
        pattern_hint="timm/<name> for any timm model",
    )
    pretrained_model_path: str | None = optional_text(
        "Weights for trunk and embedder together, loaded strictly before training starts.",
        holds="path",
    )
    pretrained_trunk_path: str | None = optional_text(
        "Weights for the trunk alone: a file, timm://MODEL, hf-hub:ORG/NAME, torchvision://WEIGHTS,"
        " local-dir:FOLDER, the name of installed weights (lite0, lite1, lite2), or none.",
        holds="weights",
    )
    pretrained_embedder_path: str | None = optional_text(
        "Weights for the embedder alone.", holds="path"
    )
    weights: WeightsConfig = section(
        WeightsConfig, "What the trunk's weights are; written by the program.", is_extension=True
    )
    input_width: int = integer(
        224, "Width in pixels that every picture is brought to.", valid_min=16, is_parent=True
    )
    input_height: int = integer(
        224, "Height in pixels that every picture is brought to.", valid_min=16, is_parent=True
    )
    input_channels: int = integer(
        3, "Colour channels fed to the trunk: 3, or 1 for greyscale.", valid_min=1, valid_max=3
    )
    feat_dim: int = integer(
        256,
        "Length of the embedding; trunks with the residual head keep their own feature length.",
        valid_min=1,
    )
    pooling: str = choice(
        "default",
        ("default", "gem"),
        "How a convolutional trunk's map becomes one feature: as the trunk does it, or by a"
        " generalised mean whose power learns (from 3).",
        is_extension=True,
    )
