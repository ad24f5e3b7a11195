"""Builds the optimizer, its parameter groups and the learning-rate schedule of a spec."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from trainer.errors import SpecError

if TYPE_CHECKING:
    from trainer.config.optim import GroupConfig
    from trainer.config.root import Spec
    from trainer.config.train import TrainConfig

Groups = list[dict[str, Any]]

MOMENTUM_OPTIMIZERS = ("SGD",)
"""Optimizers that use `train.optim.*.momentum`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The factor on every learning rate, as a function of optimizer steps.

    Example: `Schedule(warmup_iters=10, warmup_factor=0.01, warmup_method="linear", gamma=0.1,
    milestones=(2,), steps_per_epoch=100, total_steps=300)` gives 0.01 at step 0, 0.505 at step 5, 1
    at step 10 and 0.1 from step 200 on.
    """

    warmup_iters: int
    warmup_factor: float
    warmup_method: str
    gamma: float
    milestones: tuple[int, ...]
    """Epochs after which the rates are multiplied by `gamma`."""
    steps_per_epoch: int
    total_steps: int
    """Of the whole run."""
    course: str = "steps"
    warmup_share: float = 0.2
    """Share of the run in which `one_cycle` rises."""

    def factor(self, step: int) -> float:
        """Return the factor for the optimizer step with this number, counted from 0."""
        return _COURSES[self.course](self, step)

    def _milestones(self, step: int) -> float:
        passed = sum(step >= milestone * self.steps_per_epoch for milestone in self.milestones)
        return self._warmup(step) * self.gamma**passed

    def _cosine(self, step: int) -> float:
        return self._warmup(step) * _eased(1.0, 0.0, step / self.total_steps)

    def _one_cycle(self, step: int) -> float:
        """As `OneCycleLR` of torch with its defaults: the last step is the lowest."""
        top = self.warmup_share * self.total_steps - 1.0
        if step < top:
            return _eased(ONE_CYCLE_START, 1.0, step / top)
        top, last = max(top, 0.0), self.total_steps - 1.0
        return _eased(1.0, ONE_CYCLE_END, (step - top) / (last - top) if last > top else 0.0)

    def _warmup(self, step: int) -> float:
        if step >= self.warmup_iters:
            return 1.0
        return _WARMUPS[self.warmup_method](self.warmup_factor, step / self.warmup_iters)


ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = ONE_CYCLE_START / 1e4


def _eased(start: float, end: float, share: float) -> float:
    """Go from start to end along half a cosine."""
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * min(share, 1.0)))


def _linear(start: float, share: float) -> float:
    return start * (1.0 - share) + share


def _constant(start: float, share: float) -> float:  # noqa: ARG001 - one signature for all
    return start


_WARMUPS: dict[str, Callable[[float, float], float]] = {"linear": _linear, "constant": _constant}

_COURSES: dict[str, Callable[[Schedule, int], float]] = {
    "steps": Schedule._milestones,
    "cosine": Schedule._cosine,
    "one_cycle": Schedule._one_cycle,
}


def build_schedule(train: TrainConfig, steps_per_epoch: int) -> Schedule:
    """Return the schedule of `train.optim` for this many optimizer steps per epoch."""
    optim = train.optim
    return Schedule(
        warmup_iters=optim.warmup_iters,
        warmup_factor=optim.warmup_factor,
        warmup_method=optim.warmup_method,
        gamma=optim.gamma,
        milestones=tuple(optim.steps),
        steps_per_epoch=steps_per_epoch,
        total_steps=train.num_epochs * steps_per_epoch,
        course=optim.schedule,
        warmup_share=optim.warmup_share,
    )


def schedule_optimizer(optimizer: torch.optim.Optimizer, schedule: Schedule) -> LambdaLR:
    """Attach the schedule to the optimizer; one call of `step()` per optimizer step."""
    return LambdaLR(optimizer, schedule.factor)


def build_optimizer(
    spec: Spec, trunk: nn.Module, embedder: nn.Module, loss: nn.Module, *, fused: bool = True
) -> torch.optim.Optimizer:
    """Build the one optimizer of a run.

    Its groups, each with a `name`: `trunk`, `trunk_bias`, `embedder`, `embedder_bias` and `loss`
    (class vectors of the loss, without weight decay). Parameters that do not require a gradient are
    left out, empty groups too.

    Raises:
        SpecError: for an unknown optimizer, or when nothing is left to train.
    """
    optim = spec.train.optim
    if optim.name not in _OPTIMIZERS:
        raise SpecError(
            f"train.optim.name: must be one of {', '.join(_OPTIMIZERS)}, got {optim.name!r}"
        )
    groups = [
        *_part_groups("trunk", trunk, optim.trunk),
        *_part_groups("embedder", embedder, optim.embedder),
        {"name": "loss", "params": list(loss.parameters()), "lr": spec.train.loss.base_lr}
        | {"weight_decay": 0.0, "momentum": optim.embedder.momentum},
    ]
    groups = [group for group in groups if group["params"]]
    if not groups:
        raise SpecError(
            "train.train_trunk, train.train_embedder: one of them must be true, "
            "there is nothing to train"
        )
    if optim.name not in MOMENTUM_OPTIMIZERS:
        for group in groups:
            del group["momentum"]
    return _OPTIMIZERS[optim.name](groups, fused)


def _part_groups(name: str, part: nn.Module, config: GroupConfig) -> Iterable[dict[str, Any]]:
    trained = [(key, p) for key, p in part.named_parameters() if p.requires_grad]
    yield {
        "name": name,
        "params": [p for key, p in trained if not _is_bias(key)],
        "lr": config.base_lr,
        "weight_decay": config.weight_decay,
        "momentum": config.momentum,
    }
    yield {
        "name": f"{name}_bias",
        "params": [p for key, p in trained if _is_bias(key)],
        "lr": config.base_lr * config.bias_lr_factor,
        "weight_decay": config.weight_decay_bias,
        "momentum": config.momentum,
    }


def _is_bias(parameter_name: str) -> bool:
    return parameter_name.rsplit(".", 1)[-1].endswith("bias")


def _sgd(groups: Groups, fused: bool) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=0.0, fused=fused)


def _adam(groups: Groups, fused: bool) -> torch.optim.Optimizer:
    return torch.optim.Adam(groups, fused=fused)


def _adamw(groups: Groups, fused: bool) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, fused=fused)


def _adamax(groups: Groups, fused: bool) -> torch.optim.Optimizer:  # noqa: ARG001 - no such form
    return torch.optim.Adamax(groups, foreach=True)


_OPTIMIZERS: dict[str, Callable[[Groups, bool], torch.optim.Optimizer]] = {
    "Adam": _adam,
    "SGD": _sgd,
    "Adamax": _adamax,
    "AdamW": _adamw,
}
