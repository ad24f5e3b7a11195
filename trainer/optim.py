"""Builds the optimizer, its parameter groups and the learning-rate schedule of a spec."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from trainer.errors import SpecError
from trainer.models.pooling import gem_parameters

if TYPE_CHECKING:
    from trainer.config.optim import GroupConfig, OptimConfig
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
            return _eased(_ONE_CYCLE_START, 1.0, step / top)
        top, last = max(top, 0.0), self.total_steps - 1.0
        return _eased(1.0, _ONE_CYCLE_END, (step - top) / (last - top) if last > top else 0.0)

    def _warmup(self, step: int) -> float:
        if step >= self.warmup_iters:
            return 1.0
        return _WARMUPS[self.warmup_method](self.warmup_factor, step / self.warmup_iters)


_ONE_CYCLE_START = 1 / 25
_ONE_CYCLE_END = _ONE_CYCLE_START / 1e4


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
    spec: Spec, trunk: nn.Module, embedder: nn.Module, loss: nn.Module
) -> torch.optim.Optimizer:
    """Build the one optimizer of a run.

    Its groups, each with a `name`: `trunk`, `trunk_bias`, `embedder`, `embedder_bias` and `loss`
    (class vectors of the loss, without weight decay). Without `decay_norms` weights of one
    dimension form `trunk_norm` and `embedder_norm`. With a `layer_decay` below 1 each layer of the
    trunk has groups of its own, `trunk.0` being the first, with `layer` and `lr_scale` (its rate as
    a share of the top layer's). Parameters that do not require a gradient are left out, empty
    groups too.

    Raises:
        SpecError: the trunk's layers have no known order.
    """
    optim = spec.train.optim
    decays = optim.layer_decay < 1.0 and spec.train.train_trunk
    layers = _layers(trunk, spec.model.backbone) if decays else {}
    groups = [
        *_part_groups("trunk", trunk, optim, layers),
        *_part_groups("embedder", embedder, optim, {}),
        {"name": "loss", "params": list(loss.parameters()), "lr": spec.train.loss.base_lr}
        | {"weight_decay": 0.0, "momentum": optim.embedder.momentum},
    ]
    groups = [group for group in groups if group["params"]]
    if optim.name not in MOMENTUM_OPTIMIZERS:
        for group in groups:
            del group["momentum"]
    return _OPTIMIZERS[optim.name](groups)


def top_groups(optimizer: torch.optim.Optimizer) -> dict[str, dict[str, Any]]:
    """Return the groups by name; of a trunk in layers, those of the top layer, as `trunk` etc."""
    return {group["name"].partition(".")[0]: group for group in optimizer.param_groups}


def _layers(trunk: nn.Module, backbone: str) -> Mapping[str, int]:
    """Return the layer of each parameter of a trunk, from 0 at the input, as timm groups them."""
    from timm.models import group_parameters

    matcher = getattr(trunk, "group_matcher", None)
    if matcher is None:
        raise SpecError(
            f"train.optim.layer_decay: must be 1 for {backbone}, whose layers have no known order"
        )
    layers: dict[str, int] = group_parameters(trunk, matcher(coarse=False), reverse=True)
    pooled = gem_parameters(trunk)  # belong to the top layer, and make none of their own
    return {name: layer for name, layer in layers.items() if name not in pooled}


def _part_groups(
    name: str, part: nn.Module, optim: OptimConfig, layers: Mapping[str, int]
) -> Iterable[dict[str, Any]]:
    """Yield the groups of trunk or embedder, layers from the input on."""
    config: GroupConfig = getattr(optim, name)
    top = max(layers.values(), default=0)
    found: dict[tuple[int, str], list[nn.Parameter]] = {}
    for key, parameter in part.named_parameters():
        if parameter.requires_grad:
            kind = _kind(key, parameter, decays_norms=optim.decay_norms)
            found.setdefault((layers.get(key, top), kind), []).append(parameter)
    rates = {"": config.base_lr, "_norm": config.base_lr}
    rates["_bias"] = config.base_lr * config.bias_lr_factor
    decays = {"": config.weight_decay, "_norm": 0.0, "_bias": config.weight_decay_bias}
    for layer, kind in sorted(found):
        scale = optim.layer_decay ** (top - layer)
        yield {
            "name": f"{name}{kind}.{layer}" if layers else f"{name}{kind}",
            "params": found[layer, kind],
            "lr": rates[kind] * scale,
            "weight_decay": decays[kind],
            "momentum": config.momentum,
            **({"layer": layer, "lr_scale": scale} if layers else {}),
        }


def _kind(key: str, parameter: nn.Parameter, *, decays_norms: bool) -> str:
    if key.endswith("bias"):
        return "_bias"
    return "" if decays_norms or parameter.ndim > 1 else "_norm"


_OPTIMIZERS: dict[str, Callable[[Groups], torch.optim.Optimizer]] = {
    "Adam": partial(torch.optim.Adam, fused=True),
    "SGD": partial(torch.optim.SGD, lr=0.0, fused=True),
    "Adamax": partial(torch.optim.Adamax, foreach=True),
    "AdamW": partial(torch.optim.AdamW, fused=True),
}
