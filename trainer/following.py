"""Fills the spec keys that belong to the trunk's weights, and records which the user left out.

Model, pixel statistics, interpolation, crop and input size come from the weights where the user set
nothing; what was set wins. All of it is written into `model.weights`, so that a spec that was
resolved and written to disk reads back as it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from trainer.config.model import timm_name
from trainer.config.tree import keys
from trainer.config.values import ValueProblem, read_value
from trainer.errors import SpecError

if TYPE_CHECKING:
    from trainer.config.root import Spec
    from trainer.models.weight_sources import WeightSource

TRUNK = "model.pretrained_trunk_path"
BACKBONE = "model.backbone"
RECORD = "model.weights"
_STATED = ("pixel_mean", "pixel_std", "interpolation", "crop_share")
FOLLOWING = (
    BACKBONE,
    "model.input_height",
    "model.input_width",
    *(f"dataset.{name}" for name in _STATED),
)
"""Keys that come from the weights where nobody set them."""

Values = dict[str, Any]


def follow_weights(
    values: Mapping[str, Any], *, is_training: bool, is_complete: bool = True
) -> Values:
    """Return the values of a spec with those of its weights filled in.

    Args:
        values: dotted key -> value as read; absent keys were not set.
        is_training: whether the weights will be loaded: then they must be there, and get their
            digest.
        is_complete: whether files must be on this machine.

    Raises:
        SpecError: the weights are none that are known, or belong to another model than is set.
        CheckpointError: they are missing, or cannot be fetched.
    """
    from trainer.models.weight_sources import NOTHING

    filled = dict(values)
    if filled.get(TRUNK) == NOTHING:
        del filled[TRUNK]
    address = filled.get(TRUNK)
    followed = _read_record(filled, "follows")
    following = [k for k in FOLLOWING if k not in filled or filled[k] == followed.get(k, _NO_VALUE)]
    fetch = is_training and not filled.get(_RESUMED)
    if not _is_resolved(filled, following, needs_digest=fetch and is_complete):
        for key in following:
            filled.pop(key, None)
        source = _find(address, fetch=fetch, may_be_elsewhere=not is_complete)
        filled = _resolved(filled, source)
    _check_backbone(filled)
    kept = {key: filled.get(key, keys()[key].default) for key in following}
    if kept:
        filled[f"{RECORD}.follows"] = _as_text(kept)
    else:
        filled.pop(f"{RECORD}.follows", None)
    return filled


_NO_VALUE = object()
_RESUMED = "train.resume_training_checkpoint_path"
"""A checkpoint replaces all weights: their file is not read then."""


def _is_resolved(values: Values, following: list[str], *, needs_digest: bool) -> bool:
    """Whether the spec has been through this before, for the same address."""
    address = values.get(TRUNK)
    if address != values.get(f"{RECORD}.address") or not all(key in values for key in following):
        return False
    return not (address and needs_digest) or f"{RECORD}.sha256" in values


def _find(address: str | None, *, fetch: bool, may_be_elsewhere: bool) -> WeightSource | None:
    if not address:
        return None
    from trainer.models.weight_sources import resolve

    return resolve(address, fetch=fetch, may_be_elsewhere=may_be_elsewhere)


def _resolved(values: Values, source: WeightSource | None) -> Values:
    """Fill in what weights bring, and record what they are."""
    filled = {key: value for key, value in values.items() if not key.startswith(f"{RECORD}.")}
    if source is None:
        return filled
    own = dict(_brought(source))
    record = {
        "address": source.address,
        "sha256": source.sha256,
        "licence": source.licence,
        "trained_with": _as_text(own) if own else None,
    }
    told = {f"{RECORD}.{name}": value for name, value in record.items() if value is not None}
    return {**own, **filled, **told}


def _brought(source: WeightSource) -> Iterator[tuple[str, Any]]:
    """Yield the spec keys that weights know a value of."""
    if source.backbone:
        yield BACKBONE, source.backbone
    own = source.preprocessing
    if own is not None:
        yield "model.input_height", own.height
        yield "model.input_width", own.width
        yield "dataset.pixel_mean", own.mean
        yield "dataset.pixel_std", own.std
        yield "dataset.interpolation", own.interpolation
        yield "dataset.crop_share", own.crop_share


def _check_backbone(values: Values) -> None:
    wanted, own = values.get(BACKBONE), _read_record(values, "trained_with").get(BACKBONE)
    if wanted and own and _architecture(wanted) != _architecture(own):
        raise SpecError(
            f"{BACKBONE}: must be {own} beside {TRUNK} {values[TRUNK]}, got {wanted}; leave one "
            "of the two out"
        )


def _architecture(backbone: str) -> str:
    """Return timm's name of a backbone, without the name of weights."""
    return (timm_name(backbone) or backbone).partition(".")[0]


def differences(spec: Spec) -> Iterator[str]:
    """Yield a line when a spec sees pictures otherwise than its weights did in their training."""
    weights = spec.model.weights
    own = json.loads(weights.trained_with or "{}")
    unlike = []
    for key, value in own.items():
        section, _, name = key.partition(".")
        now = getattr(getattr(spec, section), name)
        now = list(now) if isinstance(now, tuple) else now
        if key != BACKBONE and now != value and not _is_near(key, now, value):
            unlike.append(f"{key} is {_shown(now)}, theirs {_shown(value)}")
    if unlike:
        yield (
            f"{TRUNK} {weights.address}: the weights were trained with other preprocessing than is "
            f"set: {'; '.join(unlike)}"
        )


def _is_near(key: str, now: Any, own: Any) -> bool:
    """Whether a picture's side is at least a third of that of the weights: a matter of cost."""
    return key.startswith("model.input_") and bool(3 * now >= own)


def _shown(value: Any) -> str:
    if isinstance(value, list) and len(set(value)) == 1:
        value = value[0]
    return json.dumps(value)


def _read_record(values: Mapping[str, Any], name: str) -> Values:
    """Read a key of `model.weights` that holds spec keys and their values.

    Raises:
        SpecError: it was edited into something else.
    """
    path = f"{RECORD}.{name}"
    text = values.get(path)
    if not text:
        return {}
    try:
        return {key: read_value(keys()[key].info, value) for key, value in json.loads(text).items()}
    except (ValueError, AttributeError, KeyError, ValueProblem) as e:
        raise SpecError(
            f"{path}: is written by the program and must stay as it was; remove {RECORD}, and it "
            "is found anew"
        ) from e


def start_weights(spec: Spec) -> dict[str, str | None] | None:
    """Return address, digest and licence of the trunk's weights as resolved; None without any."""
    weights = spec.model.weights
    if not weights.address:
        return None
    return {
        "address": weights.address,
        "sha256": weights.sha256,
        "licence": weights.licence,
    }


def _as_text(values: Mapping[str, Any]) -> str:
    return json.dumps(values)
