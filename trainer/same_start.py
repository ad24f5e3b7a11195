"""Checks whether the weights of two trainings can be averaged: one network, one start.

Weights that were trained on from the same pretrained ones lie in one basin, so that their mean is a
network too ("model soups", Wortsman et al. 2022, arXiv:2203.05482). From random weights it is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.config.root import Spec

_SEEN = ("pixel_mean", "pixel_std", "interpolation", "crop_share", "value_range", "flip_average")
"""Keys of `dataset` that decide what the network sees of a picture, and how it is asked."""
_TRUNK = ("pretrained_trunk_path", "pretrained_model_path")
_HEAD = ("pretrained_embedder_path", "pretrained_model_path")


def shares_start(spec: Spec, other: Spec) -> bool:
    """Whether two trainings have the same network and began with the same pretrained weights.

    Trunk and statistics of batch norm must both have learnt or neither: one's fit no mean with the
    other's. A head begins with a file's weights, another training's, or random ones by the seed.
    """
    if not any(getattr(spec.model, key) for key in _TRUNK):
        return False
    facts = (_seen, _trunk, _head)
    return spec.model == other.model and all(fact(spec) == fact(other) for fact in facts)


def _seen(spec: Spec) -> list[Any]:
    return [getattr(spec.dataset, key) for key in _SEEN]


def _trunk(spec: Spec) -> str:
    """What becomes of the trunk's statistics where it learns, and nothing where it does not."""
    return spec.train.batch_norm if spec.train.train_trunk else ""


def _head(spec: Spec) -> tuple[str | None, int | None]:
    """What the head began with: another training's checkpoint, or the seed that drew it."""
    has_file = any(getattr(spec.model, key) for key in _HEAD)
    is_drawn = not spec.train.head_checkpoint and not has_file
    return spec.train.head_checkpoint or None, spec.train.seed if is_drawn else None
