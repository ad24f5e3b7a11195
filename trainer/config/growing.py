"""The size of training pictures in each epoch: small at first where `dataset.first_size` says so.

Most of what a network learns early shows in small pictures, at a fraction of the cost; what the
last epochs see is what is matched later (Tan and Le 2021, arXiv 2104.00298; Touvron et al. 2019).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.features import trains_on_features

if TYPE_CHECKING:
    from trainer.config.root import Spec

STEP = 16
"""Sides grow in steps of so many pixels."""
LEAST = 32
"""Networks halve their maps five times."""


def picture_sizes(spec: Spec) -> tuple[tuple[int, int], ...]:
    """Return height and width of training pictures in each epoch; in the last, the input's own.

    The sides grow evenly from `dataset.first_size` times the input's, where they grow.
    """
    first, num_epochs = spec.dataset.first_size if grows(spec) else 1.0, spec.train.num_epochs
    whole = spec.model.input_height, spec.model.input_width
    steps = max(1, num_epochs - 1)
    shares = (first + (1.0 - first) * epoch / steps for epoch in range(num_epochs - 1))
    return (*((_side(whole[0], share), _side(whole[1], share)) for share in shares), whole)


def grows(spec: Spec) -> bool:
    """Whether there is an epoch of smaller pictures than the input's."""
    is_seen = spec.train.num_epochs > 1 and not trains_on_features(spec)
    return spec.dataset.first_size < 1.0 and is_seen


def _side(whole: int, share: float) -> int:
    return whole if share == 1.0 else min(whole, max(LEAST, round(whole * share / STEP) * STEP))


def areas(spec: Spec) -> list[float]:
    """Return the share of the input's pixels that a training picture has in each epoch."""
    sizes = picture_sizes(spec)
    return [tall * wide / (sizes[-1][0] * sizes[-1][1]) for tall, wide in sizes]
