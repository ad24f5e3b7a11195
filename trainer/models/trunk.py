"""Trunks by name: images in, one un-normalised feature vector per image out.

Nothing here is downloaded; `trainer.models.weight_sources` finds the files of weights.
"""

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import timm
import torch
from timm.layers.norm import RmsNorm
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainer.config.growing import STEP
from trainer.config.model import (
    LINEAR_HEAD_BACKBONES,
    TIMM_PREFIX,
    input_multiple,
    timm_name,
)
from trainer.errors import SpecError, first_line
from trainer.models.fan import FAN_SIZES, FanHybrid
from trainer.models.pooling import use_gem
from trainer.models.vit import build_nvdinov2_vit_large

_LAYER_NORMS = (nn.LayerNorm, nn.RMSNorm, RmsNorm)

Builder = Callable[[tuple[int, int], int], nn.Module]


def _resnet(arch: str, _image_size: tuple[int, int], in_channels: int) -> nn.Module:
    model: nn.Module = timm.create_model(
        arch, pretrained=False, num_classes=0, in_chans=in_channels
    )
    return model


def _fan(size: str, _image_size: tuple[int, int], in_channels: int) -> nn.Module:
    return FanHybrid(FAN_SIZES[size], in_channels=in_channels)


TRUNKS: Mapping[str, Builder] = MappingProxyType(
    {
        **{name: functools.partial(_resnet, timm_name(name)) for name in LINEAR_HEAD_BACKBONES},
        **{f"fan_{size}": functools.partial(_fan, size) for size in FAN_SIZES},
        "nvdinov2_vit_large_legacy": build_nvdinov2_vit_large,
    }
)
"""How the published trunks are built."""


def create_trunk(
    name: str, *, image_size: tuple[int, int], in_channels: int = 3, pooling: str = "default"
) -> nn.Module:
    """Build a trunk with random weights.

    Args:
        name: One of `TRUNKS`, or `timm/<model>` for any model timm registers.
        image_size: (height, width) in pixels.
        in_channels: Channels of the image tensor.
        pooling: `default`, or `gem` in place of the trunk's average over its map.

    Returns:
        A module from N x in_channels x height x width to N x `num_features`, not normalised.

    Raises:
        SpecError: The name is unknown, or the model cannot take that size or pooling.
    """
    trunk = _create(name, image_size, in_channels)
    if pooling == "gem":
        use_gem(trunk, name)
    return trunk


def _create(name: str, image_size: tuple[int, int], in_channels: int) -> nn.Module:
    _check_image_size(name, image_size, input_multiple(name))
    if name in TRUNKS:
        return TRUNKS[name](image_size, in_channels)
    if name.startswith(TIMM_PREFIX):
        return create_timm_trunk(
            name.removeprefix(TIMM_PREFIX), image_size=image_size, in_channels=in_channels
        )
    raise SpecError(_unknown(name))


def _check_image_size(name: str, image_size: tuple[int, int], multiple: int) -> None:
    """Refuse sides that are no positive multiple of `multiple`, naming the nearest legal pair."""
    if all(side > 0 and side % multiple == 0 for side in image_size):
        return
    nearest = [max(multiple, round(side / multiple) * multiple) for side in image_size]
    height, width = image_size
    raise SpecError(
        f"model.input_height, model.input_width: {name} needs multiples of {multiple}, got "
        f"{height} x {width}; the nearest legal size is {nearest[0]} x {nearest[1]}"
    )


def _unknown(name: str) -> str:
    known = [*TRUNKS, TIMM_PREFIX + "<model>"]
    close = difflib.get_close_matches(name, TRUNKS, n=1)
    if not close and timm.is_model(name):
        close = [TIMM_PREFIX + name]
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"model.backbone: must be one of {', '.join(known)}, got {name!r}{hint}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimmFacts:
    """What is known of one of timm's models only once it is built."""

    takes_size: bool
    """Whether it is built for pictures of one size, and takes no others."""
    takes_smaller: bool
    """Whether it runs on the sizes that growing pictures have, too."""
    num_features: int
    has_layer_norm: bool
    has_batch_norm: bool
    has_layers: bool
    """Whether the order of its layers is known."""


def create_timm_trunk(
    model: str, *, image_size: tuple[int, int], in_channels: int, weights: Path | None = None
) -> nn.Module:
    """Build timm's `model` without classifier, from a published weight file if one is given.

    timm brings the file into its own form, and to the image size and channels that are asked.

    Raises:
        SpecError: timm has no such model, or it gives no feature vector at that size.
    """
    facts = timm_facts(model, image_size, in_channels)
    size: dict[str, Any] = {"img_size": image_size} if facts.takes_size else {}
    overlay = None
    if weights is not None:
        # Models with a reader of their own have it for the files of their authors.
        overlay = {"file": str(weights), "custom_load": weights.suffix == ".npz"}
    trunk: nn.Module = timm.create_model(
        model,
        pretrained=weights is not None,
        pretrained_cfg_overlay=overlay,
        num_classes=0,
        in_chans=in_channels,
        **size,
    )
    # Models with a pre-classifier convolution return more channels than they call features.
    setattr(trunk, "num_features", facts.num_features)  # noqa: B010  nn.Module types it as a tensor
    return trunk


@functools.lru_cache(maxsize=64)
def timm_facts(model: str, image_size: tuple[int, int], in_channels: int) -> TimmFacts:
    """Build and run `model` without memory (meta device) to learn what it takes and returns.

    Raises:
        SpecError: as `create_timm_trunk`.
    """
    where = f"model.backbone: {TIMM_PREFIX}{model}"
    if not timm.is_model(model):
        close = difflib.get_close_matches(model, timm.list_models(), n=3)
        hint = f"; nearest names: {', '.join(close)}" if close else ""
        raise SpecError(f"{where} is not a model of timm {timm.__version__}{hint}")
    with torch.random.fork_rng(devices=[]), torch.device("meta"), torch.no_grad():
        probe = timm.create_model(model, pretrained=False, num_classes=0, in_chans=in_channels)
        takes_size = any(
            "img_size" in inspect.signature(cls).parameters for cls in type(probe).__mro__
        )
        patch = getattr(getattr(probe, "patch_embed", None), "patch_size", None)
        if takes_size and isinstance(patch, tuple):
            _check_image_size(TIMM_PREFIX + model, image_size, max(patch))
        try:
            if takes_size:
                probe = timm.create_model(
                    model, num_classes=0, in_chans=in_channels, img_size=image_size
                )
            out = probe.eval()(torch.empty(2, in_channels, *image_size))
            takes_smaller = not takes_size and _runs(probe, in_channels, image_size)
        except Exception as e:
            height, width = image_size
            raise SpecError(f"{where} does not run at {height} x {width}: {first_line(e)}") from e
    if not isinstance(out, torch.Tensor) or out.ndim != 2:
        raise SpecError(f"{where} does not return one feature vector per picture; choose another")
    return TimmFacts(
        takes_size=takes_size,
        takes_smaller=takes_smaller,
        num_features=int(out.shape[1]),
        has_layer_norm=any(isinstance(layer, _LAYER_NORMS) for layer in probe.modules()),
        has_batch_norm=bool(batch_norms(probe)),
        has_layers=hasattr(probe, "group_matcher"),
    )


def batch_norms(trunk: nn.Module) -> list[nn.Module]:
    """Return the layers of a trunk that keep statistics over batches."""
    return [part for part in trunk.modules() if isinstance(part, _BatchNorm)]


def _runs(probe: nn.Module, in_channels: int, image_size: tuple[int, int]) -> bool:
    """Whether a model runs on about half of its sides, in odd multiples of the step of growth.

    Those that join maps of several sizes, as HRNet and DLA do, need all multiples of 32.
    """
    half = [min(side, max(3, side // (4 * STEP) * 2 + 1) * STEP) for side in image_size]
    try:
        probe(torch.empty(2, in_channels, *half))
    except Exception:  # noqa: BLE001 - a network raises what it likes
        return False
    return True
