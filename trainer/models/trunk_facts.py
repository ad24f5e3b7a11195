"""What a recipe has to know of a trunk, without torch and timm where that is written down or kept.

    trunk_facts("timm/resnet18", (224, 224), 3).needs_small_steps

Of the published trunks and of the networks of installed weights it is written down. Any other one
is built once, in a process of its own, and the answer kept (`trainer.models.weight_facts`).
"""

from __future__ import annotations

from dataclasses import dataclass

from trainer.config.growing import STEP
from trainer.config.model import (
    BACKBONES,
    LINEAR_HEAD_BACKBONES,
    NO_BATCH_NORM_BACKBONES,
    input_multiple,
    timm_name,
)
from trainer.models.weight_facts import TRUNK, ask
from trainer.models.weight_sources import INSTALLED


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkFacts:
    """How a trunk may be trained."""

    grows: bool
    """Whether it takes pictures of every size that growing ones have (`dataset.first_size`)."""
    needs_small_steps: bool
    """Whether a pretrained trunk forgets what it knows at the rates that convolutions bear, as
    transformers do, and others that normalise each picture by itself (layer norm)."""
    has_batch_norm: bool
    """Whether it has statistics over batches that can be kept (`train.batch_norm`)."""
    has_layers: bool
    """Whether its layers have a known order (`train.optim.layer_decay`)."""


def trunk_facts(name: str, image_size: tuple[int, int], in_channels: int) -> TrunkFacts:
    """Find out how a trunk may be trained.

    Args:
        name: as `model.backbone`.
        image_size: (height, width) in pixels.
        in_channels: channels of a picture.

    Raises:
        SpecError: as `trainer.models.trunk.create_trunk`.
    """
    if name in BACKBONES:
        return TrunkFacts(
            grows=STEP % input_multiple(name) == 0,
            needs_small_steps=name not in LINEAR_HEAD_BACKBONES,
            has_batch_norm=name not in NO_BATCH_NORM_BACKBONES,
            has_layers=True,
        )
    arch = timm_name(name).partition(".")[0]
    if arch in {known.timm_model.partition(".")[0] for known in INSTALLED.values()}:
        return TrunkFacts(grows=True, needs_small_steps=False, has_batch_norm=True, has_layers=True)
    asked = " ".join(map(str, (name, *image_size, in_channels)))
    return TrunkFacts(**ask(TRUNK, asked))
