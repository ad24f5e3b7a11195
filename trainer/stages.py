"""The stages that a search from pretrained weights can have: heads first, then whole networks.

Heads are trained on cached features in seconds each, many together; they show which loss, margins,
feature length and rates suit the pictures. Whole networks then begin with the best heads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainer.config.loss import SOFTMAX_LOSSES
from trainer.portfolio import first_trials

HEADS, FULL = "heads", "full"
LOSS = "train.loss.name"

HEAD_SPEC: Mapping[str, Any] = {
    "train.train_trunk": False,
    "train.head_epochs": 0,
    "train.num_epochs": 20,
    "train.validation_interval": 5,
    "dataset.feature_views": 0,
}
"""What makes a trial one of a head on cached features."""
HEAD_RECIPE: Mapping[str, Any] = {"train.optim.embedder.base_lr": 1e-3, "train.loss.base_lr": 1e-2}
"""Rates of a head alone, where the user set none."""
WITH_PARENT: Mapping[str, Any] = {"train.head_epochs": 0, "train.loss.start": "random"}
"""A whole network that begins with a trained head prepares none of its own."""

LOSSES = ("normalized_softmax", "arcface", "proxy_anchor")
"""Losses with class vectors, which take batches of random pictures."""
LOSS_RANGES: Mapping[str, tuple[float, float, bool]] = {
    "train.loss.normalized_softmax.temperature": (0.03, 0.3, True),
    "train.loss.arcface.margin": (2.0, 40.0, False),
    "train.loss.arcface.scale": (8.0, 64.0, True),
    "train.loss.proxy_anchor.margin": (0.01, 0.5, True),
    "train.loss.proxy_anchor.alpha": (8.0, 64.0, True),
    "train.loss.label_smoothing": (0.0, 0.2, False),
}
RANGES: Mapping[str, tuple[float, float, bool]] = {
    **LOSS_RANGES,
    "train.loss.base_lr": (1e-3, 1e-1, True),
    "train.optim.embedder.base_lr": (1e-4, 1e-2, True),
    "train.optim.embedder.weight_decay": (1e-4, 0.2, True),
    "model.feat_dim": (64, 512, True),
}
"""Name -> (low, high, whether on a logarithmic scale)."""
MOST_HEADS = 48
BATCH = 16
"""Heads that are trained together, as one or two stacks."""
SHARE = 0.15
"""Of the budget, for heads: no batch begins once so much is gone for them."""


def offer_stages(
    told: Mapping[str, Any],
    searched: Sequence[str],
    ranges: Mapping[str, tuple[float, float, bool]],
    default_loss: str,
) -> list[dict[str, Any]]:
    """Return the stages of a search, as `trainer.start.choose_start` answers with them.

    Args:
        told: what the user set, by dotted name.
        searched: what is worth searching where every trial is trained in full.
        ranges: of these.
        default_loss: what is trained with where the user named no loss.
    """
    losses = (told[LOSS],) if LOSS in told else LOSSES
    own = [name for name in LOSS_RANGES if _belongs(name, losses)]
    names = [*([LOSS] if len(losses) > 1 else []), *own]
    carried = [*names, "model.feat_dim"]
    names += [name for name in RANGES if name not in LOSS_RANGES]
    names = [name for name in names if name not in told]
    options = {LOSS: sorted(losses, key=lambda loss: loss != default_loss)}
    last = [name for name in searched if name not in carried]
    return [
        {
            "name": HEADS,
            "spec": {
                **HEAD_SPEC,
                **{key: value for key, value in HEAD_RECIPE.items() if key not in told},
            },
            "search": tuple(names),
            "ranges": {name: RANGES[name] for name in names if name in RANGES},
            "options": {name: values for name, values in options.items() if name in names},
            "first_trials": first_trials(HEADS),
            "trials": MOST_HEADS,
            "batch": BATCH,
            "share": SHARE,
            "carries": tuple(carried),
            "with_parent": dict(WITH_PARENT),
            "reason": (
                f"stages: the default recipe first, then up to {MOST_HEADS} heads on cached "
                f"features, {BATCH} together (which count as one trial), until {SHARE:.0%} of the "
                "budget is gone for them, then whole networks from the best heads; --stages none "
                "trains every trial in full"
            ),
        },
        {
            "name": FULL,
            "search": tuple(last),
            "ranges": {name: ranges[name] for name in last if name in ranges},
        },
    ]


def _belongs(name: str, losses: Sequence[str]) -> bool:
    """Whether a key of the loss has a part under one of some losses."""
    if name == "train.loss.label_smoothing":
        return any(loss in SOFTMAX_LOSSES for loss in losses)
    return name.split(".")[2] in losses
