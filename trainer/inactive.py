"""Finds the spec keys without effect under a given spec, with the reason."""

from __future__ import annotations

from collections.abc import Iterator

from trainer.config.dataset import AUGMENTATION
from trainer.config.loss import LOSSES, MINED_LOSSES, SOFTMAX_LOSSES, WEIGHTED_LOSSES
from trainer.config.model import has_linear_head
from trainer.config.root import Spec
from trainer.config.tree import leaves
from trainer.features import trains_on_features

_GROUP_KEYS = ("base_lr", "bias_lr_factor", "momentum", "weight_decay", "weight_decay_bias")


def inactive_keys(spec: Spec) -> dict[str, str]:
    """Return the keys of a train spec that change nothing in what is built or trained, and why.

    A key is listed when no other legal value of it, alone, would change anything. Only what follows
    from the spec is judged, never what depends on data or device.
    """
    found: dict[str, str] = {}
    for rule in _RULES:
        for path, reason in rule(spec):
            found.setdefault(path, reason)
    return found


def _frozen(spec: Spec) -> Iterator[tuple[str, str]]:
    has_class_vectors = spec.train.loss.name in WEIGHTED_LOSSES
    for part, learns in (
        ("trunk", spec.train.train_trunk),
        ("embedder", spec.train.train_embedder),
    ):
        for name in () if learns else _GROUP_KEYS:
            # The class vectors of a loss share the embedder's momentum.
            if (part, name) == ("embedder", "momentum") and has_class_vectors:
                continue
            yield (
                f"train.optim.{part}.{name}",
                f"the {part} does not learn (train.train_{part} is false)",
            )


def _trunk(spec: Spec) -> Iterator[tuple[str, str]]:
    if not spec.train.train_trunk:
        for name in ("optim.layer_decay", "batch_norm"):
            yield f"train.{name}", "the trunk does not learn (train.train_trunk is false)"


def _norms(spec: Spec) -> Iterator[tuple[str, str]]:
    train, optim = spec.train, spec.train.optim
    decayed = train.train_trunk and optim.trunk.weight_decay > 0
    has_norm = not has_linear_head(spec.model.backbone)
    if train.train_embedder and has_norm and optim.embedder.weight_decay > 0:
        decayed = True
    if not decayed:
        yield "train.optim.decay_norms", "no part with norms learns under a weight decay above 0"


def _momentum(spec: Spec) -> Iterator[tuple[str, str]]:
    name = spec.train.optim.name
    if name != "SGD":
        for part in ("trunk", "embedder"):
            yield f"train.optim.{part}.momentum", f"{name} has no such momentum; SGD has"


def _schedule(spec: Spec) -> Iterator[tuple[str, str]]:
    course = spec.train.optim.schedule
    if course != "one_cycle":
        yield "train.optim.warmup_share", f"only one_cycle has it; train.optim.schedule is {course}"
    if course != "steps":
        for name in ("gamma", "steps"):
            yield f"train.optim.{name}", f"train.optim.schedule is {course}, without milestones"
    else:
        yield from _milestones(spec)
    if course == "one_cycle":
        for name in ("warmup_factor", "warmup_iters", "warmup_method"):
            yield f"train.optim.{name}", "one_cycle rises over train.optim.warmup_share"
    else:
        yield from _warmup(spec)


def _milestones(spec: Spec) -> Iterator[tuple[str, str]]:
    # Head epochs have the same schedule, over a length of their own.
    optim, epochs = spec.train.optim, max(spec.train.num_epochs, spec.train.head_epochs)
    if not optim.steps:
        yield "train.optim.gamma", "there is no milestone in train.optim.steps"
    elif optim.steps[0] >= epochs:
        reason = f"the first milestone ({optim.steps[0]}) is not before the last epoch ({epochs})"
        yield "train.optim.gamma", reason
    elif optim.gamma == 1.0:
        yield "train.optim.steps", "train.optim.gamma is 1, so milestones change no rate"


def _warmup(spec: Spec) -> Iterator[tuple[str, str]]:
    optim = spec.train.optim
    if optim.warmup_factor == 1.0:
        for name in ("warmup_iters", "warmup_method"):
            yield f"train.optim.{name}", "train.optim.warmup_factor is 1, so there is no warm-up"
    elif optim.warmup_iters == 1:
        yield "train.optim.warmup_method", "a warm-up of one step has one level only"


def _losses(spec: Spec) -> Iterator[tuple[str, str]]:
    used = spec.train.loss.name
    if used != "triplet":
        for path in ("train.optim.triplet_loss_margin", "train.smooth_loss"):
            yield path, f"only the triplet loss has it; train.loss.name is {used}"
    for others, paths, reason in _OF_SOME_LOSSES:
        if used not in others:
            for path in paths:
                yield path, f"the {used} loss {reason}"
    for other in LOSSES:
        prefix = f"train.loss.{other}."
        for path in leaves():
            if other != used and path.startswith(prefix):
                yield path, f"train.loss.name is {used}"


_OF_SOME_LOSSES = (
    (MINED_LOSSES, ("train.optim.miner_function_margin",), "uses no miner"),
    (
        MINED_LOSSES,
        ("train.loss.memory_size",),
        "compares with class vectors, not pairs",
    ),
    (SOFTMAX_LOSSES, ("train.loss.label_smoothing",), "is not a cross entropy over classes"),
    (WEIGHTED_LOSSES, ("train.loss.base_lr", "train.loss.start"), "has no weights of its own"),
)
"""Losses, keys that only they have, and what the others lack."""


def _sampling(spec: Spec) -> Iterator[tuple[str, str]]:
    if spec.dataset.sampling == "random":
        yield "dataset.num_instance", "dataset.sampling is random"


def _head(spec: Spec) -> Iterator[tuple[str, str]]:
    backbone = spec.model.backbone
    if not has_linear_head(backbone):
        yield "model.feat_dim", f"the embedder of {backbone} keeps the trunk's feature size"


def _features(spec: Spec) -> Iterator[tuple[str, str]]:
    train = spec.train
    if train.train_trunk:
        yield "dataset.feature_views", "the trunk learns (train.train_trunk is true)"
    elif train.num_gpus * train.num_nodes > 1:
        yield "dataset.feature_views", "several processes train on pictures, not on features"
    elif spec.dataset.feature_views == 0:
        for path in leaves():
            if path.startswith("dataset.") and path.split(".")[1] in AUGMENTATION:
                yield path, "the head learns from pictures as they are (dataset.feature_views is 0)"


def _growth(spec: Spec) -> Iterator[tuple[str, str]]:
    if trains_on_features(spec):
        yield "dataset.first_size", "the head learns from features of pictures of the whole size"
    elif spec.train.num_epochs == 1:
        yield "dataset.first_size", "the only epoch (train.num_epochs is 1) is the last one"


def _augmentation(spec: Spec) -> Iterator[tuple[str, str]]:
    blur, color = spec.dataset.gaussian_blur, spec.dataset.color_augmentation
    if not blur.enabled:
        for name in ("kernel", "sigma"):
            yield f"dataset.gaussian_blur.{name}", "dataset.gaussian_blur.enabled is false"
    elif set(blur.kernel) == {1}:
        yield "dataset.gaussian_blur.sigma", "a kernel of one pixel does not blur"
    if not color.enabled:
        for name in ("brightness", "contrast", "saturation", "hue"):
            path = f"dataset.color_augmentation.{name}"
            yield path, "dataset.color_augmentation.enabled is false"
    elif spec.model.input_channels == 1:
        for name in ("saturation", "hue"):
            yield f"dataset.color_augmentation.{name}", "greyscale pictures have no colour"


_RULES = (
    _frozen,
    _trunk,
    _norms,
    _momentum,
    _schedule,
    _losses,
    _sampling,
    _head,
    _features,
    _growth,
    _augmentation,
)
