"""The `train.optim` section: optimizer, learning-rate schedule and the triplet loss's margins."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.config.fields import choice, flag, integer, positive, real, section, sequence

_SCHEDULES = ("steps", "cosine", "one_cycle")
"""Courses of the learning rates; the first is the published one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupConfig:
    """Optimizer settings of one part of the model; its biases form a group of their own."""

    bias_lr_factor: float = real(
        1.0,
        "Learning rate of biases as a multiple of `base_lr`.",
        minimum=1.0,
        maximum=10.0,
        math_cond=">= 1",
        automl_enabled=True,
    )
    base_lr: float = positive(
        3.5e-4, "Learning rate after warm-up and before the first milestone.", automl_enabled=True
    )
    momentum: float = positive(
        0.9,
        "Momentum of SGD; the other optimizers do not use it.",
        valid_min=0.0,
        automl_enabled=True,
    )
    weight_decay: float = positive(
        5e-4,
        "Weight decay of everything but biases; 0 switches it off.",
        valid_min=0.0,
        automl_enabled=True,
    )
    weight_decay_bias: float = positive(
        5e-4, "Weight decay of biases; 0 switches it off.", valid_min=0.0, automl_enabled=True
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimConfig:
    """Optimizer, warm-up, milestones, triplet and miner margins."""

    name: str = choice(
        "Adam", ("Adam", "SGD", "Adamax", "AdamW"), "Optimizer of torch.optim that takes the steps."
    )
    steps: tuple[int, ...] = sequence(
        (40, 70), int, "Epochs after which every learning rate is multiplied by `gamma`."
    )
    schedule: str = choice(
        "steps",
        _SCHEDULES,
        "Course of the learning rates: falls at the milestones in `steps`, half a cosine from full"
        " to 0 over the run, or one cycle (a rise over `warmup_share` of the run, then a fall to"
        " nearly 0).",
        is_extension=True,
    )
    warmup_share: float = real(
        0.2,
        "Share of the run in which one_cycle rises from 1/25 of the rates to all of them.",
        minimum=0.0,
        maximum=0.5,
        valid_max=1.0,
        is_extension=True,
    )
    gamma: float = positive(
        0.1, "Factor on the learning rates at each milestone in `steps`.", automl_enabled=True
    )
    warmup_factor: float = positive(
        0.01, "Share of the learning rate that training starts with.", automl_enabled=True
    )
    warmup_iters: int = integer(
        10,
        "Length of the warm-up in optimizer steps.",
        minimum=1,
        maximum=10000,
        math_cond="> 0",
        automl_enabled=True,
    )
    warmup_method: str = choice(
        "linear",
        ("linear", "constant"),
        "Course of the warm-up: a straight rise, or one low level until its end.",
    )
    triplet_loss_margin: float = positive(
        0.3,
        "Distance by which a triplet's negative must be further than its positive to cost nothing.",
        maximum=2.0,
        automl_enabled=True,
    )
    layer_decay: float = real(
        1.0,
        "Rate of each layer of the trunk as a share of the rate of the layer above it; the top"
        " layer learns at trunk.base_lr.",
        minimum=0.3,
        maximum=1.0,
        math_cond="> 0.0",
        valid_min=0.0,
        is_extension=True,
    )
    decay_norms: bool = flag(
        True,
        "Whether weight decay also acts on weights of one dimension, which are scales"
        " of norms and of branches.",
        is_extension=True,
    )
    embedder: GroupConfig = section(GroupConfig, "Optimizer settings of the embedder.")
    trunk: GroupConfig = section(GroupConfig, "Optimizer settings of the trunk.")
    miner_function_margin: float = positive(
        0.1,
        "Width of the band around the hardest pairs that the miner keeps: larger keeps more pairs.",
        maximum=2.0,
        automl_enabled=True,
    )
