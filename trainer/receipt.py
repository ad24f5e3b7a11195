"""Reads back the values that the live objects of a run use, by spec key.

Nothing here is copied from the spec: a value that did not reach its object shows.
"""

from __future__ import annotations

import dataclasses
import os
import platform
import resource
import sys
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from trainer.config.dataset import AUGMENTATION
from trainer.config.model import LINEAR_HEAD_BACKBONES, timm_name
from trainer.config.shape import flatten
from trainer.data.framing import for_channels
from trainer.devices import memory_limit_mib, wants_bf16
from trainer.features.data import FeatureData
from trainer.following import start_weights
from trainer.losses import read_loss, without_memory
from trainer.models.fan import FAN_SIZES, FanHybrid
from trainer.models.heads import ResidualHead
from trainer.models.pooling import gem_parameters
from trainer.models.trunk import batch_norms
from trainer.models.vit import SWIGLU_WIDTH
from trainer.optim import MOMENTUM_OPTIMIZERS, top_groups

if TYPE_CHECKING:
    from torch import nn

    from trainer.config.root import Spec
    from trainer.data.batches import RecognitionData
    from trainer.module import RecognitionModule


class Loop(Protocol):
    """What a receipt reads of the loop of a run; Lightning's trainer has it."""

    @property
    def precision(self) -> str: ...  # noqa: D102 - `bf16-mixed` or `32-true`
    @property
    def max_epochs(self) -> int | None: ...  # noqa: D102 - of this loop, without those before it
    @property
    def accumulate_grad_batches(self) -> int: ...  # noqa: D102
    @property
    def num_devices(self) -> int: ...  # noqa: D102
    @property
    def num_nodes(self) -> int: ...  # noqa: D102


def build_receipt(
    module: RecognitionModule,
    trainer: Loop,
    data: RecognitionData | FeatureData,
    spec: Spec,
    *,
    first_epoch: int,
) -> dict[str, Any]:
    """Read the live objects of a run back.

    Args:
        module: the module in training.
        trainer: what loops over the epochs of this run.
        data: the images (or features) and what draws them.
        spec: read for spelling alone: where a live value has several names (`auto`, a trunk's two
            names), the one that was asked for is used if it is one of them.
        first_epoch: epochs that a resumed run already had.

    Returns:
        `applied`: spec key -> value, for every key that can be read from an object (keys that do
        nothing under this spec, such as Adam's momentum, are absent); beside it facts about
        machine, model and optimizer.
    """
    parameters = sum(p.numel() for p in module.model.trunk.parameters())
    return {
        "applied": {
            **_applied_rates(module.optimizer),
            **_applied_schedule(module),
            **_applied_batch_norm(module),
            **read_loss(module.loss),
            **_applied_miner(module),
            **_applied_head(module),
            **_applied_model(module, spec),
            **_applied_batch(module, data, first_epoch=first_epoch),
            **_applied_augmentation(data),
            **_applied_preprocessing(data, spec),
            **_applied_matching(module),
            **_applied_trainer(module, trainer, spec, first_epoch=first_epoch),
            **_applied_switches(),
        },
        "features": data.facts if isinstance(data, FeatureData) else None,
        "weights": module.model.weights or start_weights(spec),
        "head_from": module.progress.head_from or None,
        "trunk_class": type(module.model.trunk).__name__,
        "trunk_parameters": parameters,
        "loss_class": type(without_memory(module.loss)[0]).__name__,
        "miner_class": None if _miner(module) is None else type(_miner(module)).__name__,
        "optimizer_class": type(module.optimizer).__name__,
        "groups": [_group_facts(group) for group in module.optimizer.param_groups],
        "steps_per_epoch": module.schedule.steps_per_epoch,
        "precision": str(trainer.precision),
        "tf32": tensor_float_parts(next(module.model.parameters()).device),
        "device": device_name(next(module.model.parameters()).device),
        "peak_memory_mib": peak_memory_mib(next(module.model.parameters()).device),
        "memory_limit_mib": memory_limit_mib(next(module.model.parameters()).device),
        "threads": threads_on(next(module.model.parameters()).device),
        "visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "torch_version": str(torch.__version__),
    }


def threads_on(device: torch.device) -> int | None:
    """Return how many threads compute, which sums depend on; None on a GPU, where they do not."""
    return torch.get_num_threads() if device.type == "cpu" else None


def tensor_float_parts(device: torch.device) -> list[str] | None:
    """Return which float32 operations of a GPU are rounded to TF32; None on a CPU."""
    if device.type != "cuda":
        return None
    parts = {
        "convolutions": torch.backends.cudnn.allow_tf32,
        "products": torch.backends.cuda.matmul.allow_tf32,
    }
    return [name for name, is_rounded in parts.items() if is_rounded]


def device_name(device: torch.device) -> str:
    """Return the GPU's name, or the processor's."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return platform.processor() or platform.machine() or "cpu"


def peak_memory_mib(device: torch.device) -> float:
    """Return the peak of GPU memory in this run, or of the process on a CPU, in MiB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    per_mib = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / per_mib


def _group_facts(group: dict[str, Any]) -> dict[str, Any]:
    kept = ("name", "initial_lr", "weight_decay", "momentum", "betas", "lr_scale")
    facts = {key: group[key] for key in kept if key in group}
    if "betas" in facts:
        facts["betas"] = list(facts["betas"])
    return facts | {"parameters": sum(p.numel() for p in group["params"])}


def _applied_rates(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    groups = top_groups(optimizer)
    applied: dict[str, Any] = {"train.optim.name": type(optimizer).__name__}
    for part in ("trunk", "embedder"):
        prefix = f"train.optim.{part}"
        weights, biases = groups.get(part), groups.get(f"{part}_bias")
        applied[f"train.train_{part}"] = weights is not None or biases is not None
        if weights is not None:
            applied[f"{prefix}.base_lr"] = _base_rate(weights)
            applied[f"{prefix}.weight_decay"] = weights["weight_decay"]
            if applied["train.optim.name"] in MOMENTUM_OPTIMIZERS:
                applied[f"{prefix}.momentum"] = weights["momentum"]
        if biases is not None:
            applied[f"{prefix}.weight_decay_bias"] = biases["weight_decay"]
        if weights is not None and biases is not None:
            applied[f"{prefix}.bias_lr_factor"] = _plain(_base_rate(biases) / _base_rate(weights))
    if "loss" in groups:
        applied["train.loss.base_lr"] = groups["loss"]["initial_lr"]
        if "momentum" in groups["loss"]:  # class vectors share the embedder's
            applied.setdefault("train.optim.embedder.momentum", groups["loss"]["momentum"])
    return applied | _applied_layers(optimizer.param_groups) | _applied_norms(optimizer)


def _base_rate(group: dict[str, Any]) -> float:
    """The rate that the top layer of the group's part has."""
    rate: float = group["initial_lr"]
    return _plain(rate / group["lr_scale"]) if "lr_scale" in group else rate


def _plain(number: float) -> float:
    """Drop the last binary places, which divisions leave."""
    return float(f"{number:.12g}")


def _applied_layers(groups: list[dict[str, Any]]) -> dict[str, Any]:
    own = [group for group in groups if group["name"].partition(".")[0] == "trunk"]
    if own and "layer" not in own[0]:
        return {"train.optim.layer_decay": 1.0}
    if len(own) < 2:  # a decay over one layer cannot be read back
        return {}
    steps = own[-1]["layer"] - own[0]["layer"]
    ratio = own[0]["initial_lr"] / own[-1]["initial_lr"]
    return {"train.optim.layer_decay": _plain(ratio ** (1 / steps))}


def _applied_norms(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Whether weights of one dimension stand apart from those that decay."""
    names = top_groups(optimizer)
    if any(name.endswith("_norm") for name in names):
        return {"train.optim.decay_norms": False}
    weights = [g for name, g in names.items() if name in {"trunk", "embedder"}]
    has_scales = any(p.ndim <= 1 for group in weights for p in group["params"])
    return {"train.optim.decay_norms": True} if has_scales else {}


def _applied_batch_norm(module: RecognitionModule) -> dict[str, Any]:
    trunk = module.model.trunk
    if not any(p.requires_grad for p in trunk.parameters()):
        return {}
    norms = batch_norms(trunk)
    is_kept = bool(norms) and not any(norm.training for norm in norms)
    return {"train.batch_norm": "keep" if is_kept else "update"}


def _applied_schedule(module: RecognitionModule) -> dict[str, Any]:
    schedule = module.schedule
    applied: dict[str, Any] = {"train.optim.schedule": schedule.course}
    if schedule.course == "one_cycle":
        return applied | {"train.optim.warmup_share": schedule.warmup_share}
    for name in ("warmup_iters", "warmup_factor", "warmup_method"):
        applied[f"train.optim.{name}"] = getattr(schedule, name)
    if schedule.course == "steps":
        applied["train.optim.gamma"] = schedule.gamma
        applied["train.optim.steps"] = list(schedule.milestones)
    return applied


def _miner(module: RecognitionModule) -> nn.Module | None:
    return module.miner or without_memory(module.loss)[1]


def _applied_miner(module: RecognitionModule) -> dict[str, Any]:
    miner = _miner(module)
    if miner is None:
        return {}
    epsilon = getattr(miner, "epsilon")  # noqa: B009 - nn.Module types it as a tensor
    return {"train.optim.miner_function_margin": float(epsilon)}


def _applied_head(module: RecognitionModule) -> dict[str, Any]:
    applied: dict[str, Any] = {"train.head_epochs": module.progress.head_epochs}
    if any(True for _ in module.loss.parameters()):
        applied["train.loss.start"] = module.progress.class_start
    return applied


def _applied_model(module: RecognitionModule, spec: Spec) -> dict[str, Any]:
    names, asked = trunk_names(module.model.trunk), spec.model.backbone
    applied: dict[str, Any] = {"model.backbone": asked if asked in names else names[0]}
    applied["model.pooling"] = "gem" if gem_parameters(module.model.trunk) else "default"
    if not isinstance(module.model.embedder, ResidualHead):  # its size is the trunk's
        applied["model.feat_dim"] = module.model.embedding_size
    return applied


def trunk_names(trunk: nn.Module) -> list[str]:
    """Return every spec name that a live trunk answers to, at least one."""
    if isinstance(trunk, FanHybrid):
        built = (trunk.num_features, len(trunk.blocks))
        return [f"fan_{k}" for k, size in FAN_SIZES.items() if (size.width, size.depth) == built]
    if any(getattr(part, "out_features", 0) == SWIGLU_WIDTH for part in trunk.modules()):
        return ["nvdinov2_vit_large_legacy"]
    config = getattr(trunk, "pretrained_cfg", None) or {}
    arch, tag = str(config.get("architecture") or type(trunk).__name__), config.get("tag")
    names = [f"timm/{arch}", f"timm/{arch}.{tag}"] if tag else [f"timm/{arch}"]
    return [*names, *(name for name in LINEAR_HEAD_BACKBONES if timm_name(name) == arch)]


def _applied_augmentation(data: RecognitionData | FeatureData) -> dict[str, Any]:
    """Read what the object that changes training pictures, or their features, were made with."""
    if isinstance(data, FeatureData):
        return data.applied_augmentation
    held = dataclasses.asdict(data.augmentation)
    changes = flatten({"dataset": {name: held[name] for name in ("first_size", *AUGMENTATION)}})
    return {key: list(v) if isinstance(v, tuple) else v for key, v in changes.items()}


def _applied_preprocessing(data: RecognitionData | FeatureData, spec: Spec) -> dict[str, Any]:
    """Read how pictures of every split are, or were, brought to the network."""
    if isinstance(data, FeatureData):
        return data.applied_preprocessing
    cut, channels = data.framing.cut, spec.model.input_channels
    white = data.framing.value_range
    applied = {}
    for name, live_C11 in (("pixel_mean", data.mean_C11), ("pixel_std", data.std_C11)):
        live, asked = live_C11.flatten().tolist(), getattr(spec.dataset, name)
        is_asked = np.allclose(live, for_channels(asked, channels), rtol=1e-6)
        applied[f"dataset.{name}"] = list(asked) if is_asked else live
    return applied | {
        "dataset.interpolation": data.framing.interpolation,
        "dataset.crop_share": 0.0 if cut is None else cut.share,
        **({"dataset.value_range": list(white)} if white else {}),
    }


def _applied_matching(module: RecognitionModule) -> dict[str, Any]:
    facts = module.match_facts
    if facts is None:
        return {}
    return {"dataset.matching": facts.matching, "dataset.flip_average": facts.num_views == 2}


def _applied_batch(
    module: RecognitionModule, data: RecognitionData | FeatureData, *, first_epoch: int
) -> dict[str, Any]:
    facts, sampling = module.batch_facts, {"dataset.sampling": data.sampling}
    if facts is None:
        return sampling
    num, *shape = facts.shape
    channels, height, width = data.input_shape if isinstance(data, FeatureData) else shape
    if not isinstance(data, FeatureData) and (height, width) == data.size_in(first_epoch):
        height, width = data.picture_sizes[-1]  # what the pictures grow to
    applied: dict[str, Any] = {
        "train.batch_size": num,
        "model.input_channels": channels,
        "model.input_height": height,
        "model.input_width": width,
    }
    least, greatest = facts.images_per_class
    if least == greatest and data.sampling == "classes":
        applied["dataset.num_instance"] = least
    return applied | sampling


def _applied_trainer(
    module: RecognitionModule, trainer: Loop, spec: Spec, *, first_epoch: int
) -> dict[str, Any]:
    mean = module.running_mean
    device = next(module.model.parameters()).device
    precision = {"bf16-mixed": "bf16", "32-true": "fp32"}[str(trainer.precision)]
    if spec.train.precision == "auto" and wants_bf16("auto", device) == (precision == "bf16"):
        precision = "auto"
    return {
        "train.num_epochs": first_epoch + (trainer.max_epochs or 0),
        "train.accumulate_grad_batches": trainer.accumulate_grad_batches,
        "train.clip_grad_norm": module.clip_norm,
        "train.ema_decay": 0.0 if mean is None else mean.decay,
        "train.precision": precision,
        "train.compile": module.is_compiled,
        "train.num_gpus": trainer.num_devices,
        "train.num_nodes": trainer.num_nodes,
        "train.seed": torch.initial_seed(),
    }


def _applied_switches() -> dict[str, Any]:
    return {
        "train.cudnn.benchmark": torch.backends.cudnn.benchmark,
        "train.cudnn.deterministic": torch.backends.cudnn.deterministic,
    }
