"""Rules between keys: what must hold, what an action requires, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from trainer.config.fields import KeyInfo
from trainer.config.growing import STEP, grows, picture_sizes
from trainer.config.loss import MINED_LOSSES, WEIGHTED_LOSSES
from trainer.config.model import input_multiple, pools_no_map
from trainer.config.root import Action, Spec
from trainer.config.tree import keys

_QUERY_AND_GALLERY = ("dataset.val_dataset.reference", "dataset.val_dataset.query")

MANDATORY: Mapping[Action, tuple[tuple[str, ...], ...]] = {
    "train": (("dataset.train_dataset",), *((path,) for path in _QUERY_AND_GALLERY)),
    "evaluate": (
        ("evaluate.checkpoint", "evaluate.trt_engine"),
        *((path,) for path in _QUERY_AND_GALLERY),
    ),
    "inference": (
        ("inference.checkpoint", "inference.trt_engine"),
        ("dataset.val_dataset.reference",),
        ("inference.input_path",),
    ),
    "export": (("export.checkpoint",),),
    "gen_trt_engine": (("gen_trt_engine.onnx_file",), ("gen_trt_engine.trt_engine",)),
}
"""Keys that must be given for an action; of several in one group, one is enough."""

_INT8 = "gen_trt_engine.tensorrt.calibration."


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A published key whose use is refused, and why."""

    path: str
    action: Action | None
    """The action that refuses it; every action when None."""
    only: str | int | bool
    """The one value that is not refused."""
    reason: str

    @property
    def shown(self) -> str:
        """The legal value as a spec file spells it."""
        return json.dumps(self.only)


_ONE_DEVICE = "the neighbours are searched on one device; several would give the same result"

REFUSED: tuple[Refusal, ...] = (
    Refusal(
        path="encryption_key",
        action=None,
        only="",
        reason="checkpoints and exported files are never encrypted here",
    ),
    Refusal(
        path="wandb.sync_tensorboard",
        action="train",
        only=False,
        reason="no TensorBoard files are written that could be sent",
    ),
    *(
        Refusal(path=f"{action}.{name}", action=action, only=1, reason=_ONE_DEVICE)
        for action in ("evaluate", "inference")
        for name in ("num_gpus", "num_nodes")
    ),
)
"""Published keys that are refused with a reason instead of being ignored."""


def value_at(spec: Spec, path: str) -> Any:
    """Return the value of a spec under a dotted path."""
    value: Any = spec
    for name in path.split("."):
        value = getattr(value, name)
    return value


def missing(spec: Spec, action: Action) -> Iterator[str]:
    """Yield a line for every value that the action needs and the spec lacks."""
    groups = MANDATORY[action]
    if action == "gen_trt_engine" and spec.gen_trt_engine.tensorrt.data_type == "INT8":
        groups += ((_INT8 + "cal_image_dir",), (_INT8 + "cal_cache_file",))
    for group in groups:
        if not any(value_at(spec, path) for path in group):
            info: KeyInfo = keys()[group[0]].info
            other = "".join(f" or {path}" for path in group[1:])
            yield f"{group[0]}{other}: must be given for {action}: {info.description.rstrip('.')}"


def refused(spec: Spec, action: Action) -> Iterator[str]:
    """Yield a line for every refused key that is in use."""
    for refusal in REFUSED:
        value = value_at(spec, refusal.path)
        if refusal.action in {None, action} and value != refusal.only:
            # The value itself stays out of the line: it may be a key.
            yield f"{refusal.path}: must be {refusal.shown}: {refusal.reason}"


def _batch(spec: Spec) -> Iterator[str]:
    size, instances = spec.train.batch_size, spec.dataset.num_instance
    if spec.dataset.sampling != "random" and size % instances:
        yield (
            f"train.batch_size: must be a multiple of dataset.num_instance ({instances}),"
            f" got {size}; {(size // instances + 1) * instances} would do"
        )


def _sampling(spec: Spec) -> Iterator[str]:
    loss = spec.train.loss.name
    if spec.dataset.sampling == "random" and loss in MINED_LOSSES:
        yield (
            f"dataset.sampling: must be classes for the {loss} loss, which needs pairs of one class"
            f" in a batch; random is for {', '.join(WEIGHTED_LOSSES)}"
        )


def _head(spec: Spec) -> Iterator[str]:
    train = spec.train
    if train.head_epochs and not (train.train_embedder or train.loss.name in WEIGHTED_LOSSES):
        yield (
            "train.head_epochs: must be 0 where train.train_embedder is false and the"
            f" {train.loss.name} loss has no class vectors: nothing of the head learns"
        )


def _given_head(spec: Spec) -> Iterator[str]:
    if spec.train.head_checkpoint and spec.train.loss.start != "random":
        yield (
            "train.loss.start: must be random where train.head_checkpoint gives the class vectors,"
            f" got {spec.train.loss.start}"
        )


def _memory(spec: Spec) -> Iterator[str]:
    train, size = spec.train, spec.train.loss.memory_size
    step = train.batch_size * train.num_gpus * train.num_nodes
    if train.loss.name in MINED_LOSSES and 0 < size < step:
        yield f"train.loss.memory_size: must be 0 or hold a whole step ({step}), got {size}"


def _learning(spec: Spec) -> Iterator[str]:
    train = spec.train
    if not (train.train_trunk or train.train_embedder or train.loss.name in WEIGHTED_LOSSES):
        yield "train.train_trunk: must be true if train.train_embedder is false: nothing learns"


def _milestones(spec: Spec) -> Iterator[str]:
    steps = spec.train.optim.steps
    if any(step < 1 for step in steps) or any(a >= b for a, b in pairwise(steps)):
        yield f"train.optim.steps: must rise from 1 or more, got {list(steps)}"


def _devices(section: str) -> Callable[[Spec], Iterator[str]]:
    def check(spec: Spec) -> Iterator[str]:
        ids, count = value_at(spec, f"{section}.gpu_ids"), value_at(spec, f"{section}.num_gpus")
        if len(ids) != count:
            yield (
                f"{section}.gpu_ids: must hold as many indices as {section}.num_gpus ({count}),"
                f" got {list(ids)}; name them, or leave both out for one GPU"
            )
        elif len(set(ids)) != len(ids) or any(index < 0 for index in ids):
            yield f"{section}.gpu_ids: must be distinct indices from 0 on, got {list(ids)}"

    return check


def _picture_size(spec: Spec) -> Iterator[str]:
    model = spec.model
    multiple = input_multiple(model.backbone)
    for name in ("input_width", "input_height"):
        size = getattr(model, name)
        if size % multiple:
            yield f"model.{name}: must be a multiple of {multiple} for {model.backbone}, got {size}"
    if model.pooling == "gem" and pools_no_map(model.backbone):
        yield f"model.pooling: must be default for {model.backbone}, which has no map to pool"
    if model.input_channels == 2:
        yield "model.input_channels: must be 1 or 3, got 2"


def _pixels(spec: Spec) -> Iterator[str]:
    std = spec.dataset.pixel_std
    if any(value <= 0 for value in std):
        yield f"dataset.pixel_std: every member must be > 0, got {list(std)}"
    value_range = spec.dataset.value_range
    if value_range is not None and not value_range[0] < value_range[1]:
        yield f"dataset.value_range: must be black < white, got {list(value_range)}"


def _crop_scale(spec: Spec) -> Iterator[str]:
    scale = spec.dataset.crop_scale
    if scale.least > scale.greatest:
        yield (
            "dataset.crop_scale.least: must be at most dataset.crop_scale.greatest"
            f" ({scale.greatest:g}), got {scale.least:g}"
        )


def _growth(spec: Spec) -> Iterator[str]:
    first, backbone = spec.dataset.first_size, spec.model.backbone
    if grows(spec) and STEP % input_multiple(backbone):
        yield (
            f"dataset.first_size: must be 1 for {backbone}, which takes pictures of one size only,"
            f" got {first:g}"
        )


def _blur(spec: Spec) -> Iterator[str]:
    blur = spec.dataset.gaussian_blur
    largest = min(min(size) for size in picture_sizes(spec))
    if any(size % 2 == 0 or not 1 <= size <= largest for size in blur.kernel):
        yield (
            "dataset.gaussian_blur.kernel: must be odd and no larger than the picture"
            f" ({largest}), got {list(blur.kernel)}"
        )
    low, high = blur.sigma
    if not 0 < low <= high:
        yield f"dataset.gaussian_blur.sigma: must be 0 < least <= greatest, got {[low, high]}"


def _export(spec: Spec) -> Iterator[str]:
    if spec.export.batch_size == 0:
        yield "export.batch_size: must be -1 (open) or 1 and more, got 0"


def _engine(spec: Spec) -> Iterator[str]:
    engine = spec.gen_trt_engine
    if engine.batch_size == 0:
        yield "gen_trt_engine.batch_size: must be -1 (open) or 1 and more, got 0"
    build = engine.tensorrt
    sizes = (build.min_batch_size, build.opt_batch_size, build.max_batch_size)
    if list(sizes) != sorted(sizes):
        yield (
            "gen_trt_engine.tensorrt.opt_batch_size: must lie between min_batch_size and"
            f" max_batch_size, got {sizes[1]} between {sizes[0]} and {sizes[2]}"
        )
    if engine.gpu_id < 0:
        yield f"gen_trt_engine.gpu_id: must be >= 0, got {engine.gpu_id}"


_RELATIONS: Mapping[Action, tuple[Callable[[Spec], Iterator[str]], ...]] = {
    "train": (
        _batch,
        _sampling,
        _memory,
        _head,
        _given_head,
        _learning,
        _milestones,
        _devices("train"),
        _picture_size,
        _pixels,
        _crop_scale,
        _growth,
        _blur,
    ),
    "evaluate": (_devices("evaluate"), _picture_size, _pixels),
    "inference": (_devices("inference"), _picture_size, _pixels),
    "export": (_picture_size, _pixels, _export),
    "gen_trt_engine": (_pixels, _engine),
}


def broken(spec: Spec, action: Action) -> Iterator[str]:
    """Yield a line for every relation between keys that does not hold for the action."""
    for relation in _RELATIONS[action]:
        yield from relation(spec)


def warnings(spec: Spec, action: Action) -> Iterator[str]:
    """Yield a line for what is legal and still unlikely to be meant."""
    if action != "train":
        return
    model = spec.model
    if spec.train.batch_norm == "keep" and not (
        model.pretrained_trunk_path or model.pretrained_model_path
    ):
        yield (
            "train.batch_norm: keep without pretrained weights leaves every batch norm at mean 0"
            " and variance 1; give model.pretrained_trunk_path or set it to update"
        )
    classes = spec.train.batch_size // spec.dataset.num_instance
    if classes < 2 and spec.train.loss.name in MINED_LOSSES:
        yield (
            f"train.batch_size {spec.train.batch_size} with dataset.num_instance"
            f" {spec.dataset.num_instance} puts one class in every batch: no negatives, so the"
            f" {spec.train.loss.name} loss teaches nothing; 32 would hold 8 classes of 4"
        )
