"""Chooses what a search starts from where its user chose nothing: weights, picture size, recipe.

The recipe is that of docs/adr/0014-pretrained-first.md: head first, then the whole network from the
trained head, with the batch-norm statistics of the weights. It holds for pretrained weights alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainer.config.shape import flatten
from trainer.models.weight_sources import INSTALLED, NOTHING, installed_file, resolve

WEIGHTS = "model.pretrained_trunk_path"
WHOLE_MODEL = "model.pretrained_model_path"
BACKBONE = "model.backbone"
SIZE = ("model.input_height", "model.input_width")
LOSS = "train.loss.name"

RECIPE: Mapping[str, Any] = {
    "model.feat_dim": 256,
    "train.batch_norm": "keep",
    "train.head_epochs": 20,
    "train.loss.name": "normalized_softmax",
    "train.loss.normalized_softmax.temperature": 0.1,
    "train.loss.base_lr": 5e-4,
    "train.optim.name": "AdamW",
    "train.optim.schedule": "one_cycle",
    "train.optim.warmup_share": 0.2,
    "train.optim.trunk.base_lr": 5e-4,
    "train.optim.trunk.weight_decay": 0.02,
    "train.optim.embedder.base_lr": 5e-4,
    "train.optim.embedder.weight_decay": 0.02,
    "dataset.sampling": "random",
    "dataset.crop_scale.least": 0.4,
    "dataset.re_prob": 0.0,
    "dataset.gaussian_blur.enabled": False,
    "dataset.color_augmentation.enabled": False,
}
"""Values of a spec that starts from pretrained weights, where the user set none."""

SEARCHED = (
    "train.optim.trunk.base_lr",
    "train.optim.trunk.weight_decay",
    "train.optim.embedder.base_lr",
    "train.optim.layer_decay",
    "train.loss.normalized_softmax.temperature",
    "train.loss.label_smoothing",
    "dataset.crop_scale.least",
)
"""What is worth searching from there."""

RANGES: Mapping[str, tuple[float, float, bool]] = {
    "train.optim.trunk.base_lr": (3e-5, 3e-3, True),
    "train.optim.embedder.base_lr": (1e-4, 1e-2, True),
    "train.optim.embedder.weight_decay": (1e-4, 0.2, True),
    "train.loss.base_lr": (1e-4, 1e-1, True),
    "model.feat_dim": (64, 512, True),
    "train.optim.trunk.weight_decay": (1e-4, 0.2, True),
    "train.loss.normalized_softmax.temperature": (0.03, 0.3, True),
}
"""Name -> (low, high, whether on a logarithmic scale)."""

FROZEN = "train.train_trunk"
OF_TRUNK = ("train.batch_norm", "train.head_epochs", "train.optim.trunk.", "dataset.crop_scale.")
"""Beginnings of the recipe's keys that have no part where the trunk does not learn."""
FROZEN_RECIPE: Mapping[str, Any] = {
    **{key: value for key, value in RECIPE.items() if not key.startswith(OF_TRUNK)},
    "train.optim.embedder.base_lr": 1e-3,
    "train.loss.base_lr": 1e-2,
    # A head learns more from features of the pictures as they are than from augmented ones.
    "dataset.feature_views": 0,
}
FROZEN_SEARCHED = (
    "train.optim.embedder.base_lr",
    "train.optim.embedder.weight_decay",
    "train.loss.base_lr",
    "train.loss.normalized_softmax.temperature",
    "train.loss.label_smoothing",
    "model.feat_dim",
)

SMALL_MACHINE_SIZE = 160
"""Picture side on a machine without a GPU: half the cost of 224 px, at a small loss."""
FROM_NOTHING = {BACKBONE: "timm/resnet18", "model.input_height": 112, "model.input_width": 112}
"""What a machine without a GPU trains from random weights."""
EPOCHS = ((2400.0, 6), (10800.0, 10), (float("inf"), 15))
"""Seconds of a search's budget, up to which a trial trains so many epochs."""


def choose_start(given: Mapping[str, Any], *, gpus: int, budget_s: float | None) -> dict[str, Any]:
    """Choose the keys that nobody set.

    Args:
        given: what the user set, nested or dotted.
        gpus: GPUs of the machine.
        budget_s: seconds that the search may take; None where it is limited otherwise.

    Returns:
        `spec` (dotted key -> value), `search` (names worth searching, in place of the schema's
        list; empty leaves that), `ranges` (name -> low, high, log) and `reasons` (one line each).
    """
    told = flatten(given)
    if told.get(WHOLE_MODEL) or (BACKBONE in told and not told.get(WEIGHTS)):
        return {"spec": {}, "search": (), "ranges": {}, "reasons": ()}
    weights = told.get(WEIGHTS) or _first_installed()
    if weights in (None, NOTHING):
        return _from_nothing(told, gpus=gpus)
    is_frozen = told.get(FROZEN) is False
    recipe, names = (FROZEN_RECIPE, FROZEN_SEARCHED) if is_frozen else (RECIPE, SEARCHED)
    chosen = dict(recipe) | {WEIGHTS: weights, "train.num_epochs": _epochs(budget_s)}
    if not gpus:
        chosen |= dict.fromkeys(SIZE, SMALL_MACHINE_SIZE)
    loss = told.get(LOSS, RECIPE[LOSS])
    spec = {
        key: value
        for key, value in chosen.items()
        if key not in told and (loss == RECIPE[LOSS] or not _belongs_to_loss(key))
    }
    searched = tuple(n for n in names if loss == RECIPE[LOSS] or not _belongs_to_loss(n))
    return {
        "spec": spec,
        "search": searched,
        "ranges": {name: RANGES[name] for name in searched if name in RANGES},
        "reasons": _reasons(weights, told, spec),
    }


def _first_installed() -> str | None:
    """The short name of weights that an installed package ships."""
    return next((name for name in INSTALLED if installed_file(name) is not None), None)


def _from_nothing(told: Mapping[str, Any], *, gpus: int) -> dict[str, Any]:
    """Random weights: as asked, or because there are no others; a small network on a CPU."""
    spec = {} if gpus else {key: value for key, value in FROM_NOTHING.items() if key not in told}
    why = (
        "random weights, as asked: expect far less than from pretrained ones"
        if told.get(WEIGHTS) == NOTHING
        else "random weights, as none are installed: pip install 'hpo-recognition[weights]' brings "
        "some, --weights names others"
    )
    return {"spec": spec, "search": (), "ranges": {}, "reasons": (why,)}


def _epochs(budget_s: float | None) -> int:
    """Length of a trial: the more time, the longer."""
    return next(epochs for limit, epochs in EPOCHS if (budget_s or 0.0) <= limit)


def _belongs_to_loss(key: str) -> bool:
    return key == LOSS or key.startswith((f"train.loss.{RECIPE[LOSS]}.", "dataset.sampling"))


def _reasons(weights: str, told: Mapping[str, Any], spec: Mapping[str, Any]) -> tuple[str, ...]:
    """What was chosen and why, and how to choose otherwise."""
    source = resolve(weights, fetch=False)
    model = source.timm_model or told.get(BACKBONE, "the file's model")
    licence = f", {source.licence}" if source.licence else ""
    lines = []
    if WEIGHTS in spec:
        lines.append(
            f"starts from {weights} ({model}, pretrained{licence}): installed here; --weights "
            "names others, --weights none trains from nothing"
        )
    if SIZE[0] in spec:
        lines.append(
            f"{spec[SIZE[0]]} px, as there is no GPU; --set model.input_height=224 "
            "model.input_width=224 takes twice as long an epoch"
        )
    if "train.head_epochs" in spec:
        lines.append(
            f"trains the head alone for {spec['train.head_epochs']} epochs on cached features, "
            "then the whole network; any key can be set otherwise (--set)"
        )
    return tuple(lines)
