"""How pictures were prepared for a network's weights, as timm states it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """What pictures went through when the weights were trained."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    crop_share: float
    """As `dataset.crop_share`: 0 squashes."""
    height: int
    width: int


def preprocessing_facts(own: Mapping[str, Any]) -> dict[str, Any]:
    """Read a pretrained configuration of timm as its `resolve_data_config` does."""
    _, height, width = own.get("input_size") or (3, 224, 224)
    share = own.get("crop_pct") or 0.875
    return {
        "mean": list(own.get("mean") or (0.485, 0.456, 0.406)),
        "std": list(own.get("std") or (0.229, 0.224, 0.225)),
        "interpolation": own.get("interpolation") or "bicubic",
        # timm's two other ways keep the whole picture.
        "crop_share": share if (own.get("crop_mode") or "center") == "center" else 0.0,
        "height": height,
        "width": width,
    }


def read_preprocessing(facts: Mapping[str, Any]) -> Preprocessing:
    """Return facts as the typed form."""
    return Preprocessing(
        mean=tuple(float(value) for value in facts["mean"]),
        std=tuple(float(value) for value in facts["std"]),
        interpolation=str(facts["interpolation"]),
        crop_share=float(facts["crop_share"]),
        height=int(facts["height"]),
        width=int(facts["width"]),
    )
