"""Builds the loss and the miner of a spec from pytorch-metric-learning.

Every loss here normalises the embeddings itself (its default distance does), so a model hands over
raw embeddings, and search compares them at unit length: what is trained is what is searched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from trainer.config.loss import MINED_LOSSES, SOFTMAX_LOSSES, LossConfig
from trainer.errors import SpecError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trainer.config.root import Spec
    from trainer.config.train import TrainConfig


def build_loss(
    spec: Spec, num_classes: int, embedding_size: int
) -> tuple[nn.Module, nn.Module | None]:
    """Build the loss that `train.loss.name` asks for, and its miner.

    Args:
        spec: the whole spec; `train.loss`, `train.optim.triplet_loss_margin`, `train.smooth_loss`
            and `train.optim.miner_function_margin` are read.
        num_classes: classes in training, for losses that learn a vector per class.
        embedding_size: length of an embedding.

    Returns:
        The loss, called as `loss(emb_ND, labels_N, pairs)`, and the miner that selects the pairs,
        called as `miner(emb_ND, labels_N)`; None for losses that compare with class vectors, and
        for those with a memory, which mine in it themselves.

    Raises:
        SpecError: for an unknown name.
    """
    from pytorch_metric_learning.miners import MultiSimilarityMiner

    name = spec.train.loss.name
    if name not in _BUILDERS:
        raise SpecError(f"train.loss.name: must be one of {', '.join(_BUILDERS)}, got {name!r}")
    if name in _CLASS_VECTOR_BUILDERS:
        loss = _CLASS_VECTOR_BUILDERS[name](
            spec.train.loss, {"num_classes": num_classes, "embedding_size": embedding_size}
        )
        return _smoothed(loss, spec.train.loss), None
    loss = _PAIR_BUILDERS[name](spec.train)
    miner = MultiSimilarityMiner(epsilon=spec.train.optim.miner_function_margin)
    if not spec.train.loss.memory_size:
        return loss, miner
    from trainer.batch_memory import BatchMemory

    return BatchMemory(loss, embedding_size, spec.train.loss.memory_size, miner=miner), None


def _smoothed(loss: nn.Module, config: LossConfig) -> nn.Module:
    """Let the cross entropy of a loss that has one spread the labels."""
    from torch.nn import CrossEntropyLoss

    if config.name in SOFTMAX_LOSSES and config.label_smoothing > 0:
        loss.cross_entropy = CrossEntropyLoss(
            reduction="none", label_smoothing=config.label_smoothing
        )
    return loss


def start_from_means(loss: nn.Module, emb_ND: Tensor, labels_N: Tensor) -> None:
    """Turn each class vector to the mean direction of its class's embeddings; lengths stay.

    Of several vectors per class each takes every so-manieth embedding.

    Args:
        loss: one that learns class vectors.
        emb_ND: of any length; every class has one or more.
        labels_N: their classes.
    """
    from torch.nn.functional import normalize

    held: Any = loss.proxies if hasattr(loss, "proxies") else loss.W
    vectors_VD = held.data if hasattr(loss, "proxies") else held.data.T
    unit_ND, num_classes = normalize(emb_ND), int(labels_N.max()) + 1
    per_class = len(vectors_VD) // num_classes
    for label in range(num_classes):
        own_MD = unit_ND[labels_N == label]
        for number in range(per_class):
            share_MD = own_MD[number % len(own_MD) :: per_class]
            vector_D = vectors_VD[label * per_class + number]
            vector_D.copy_(normalize(share_MD.mean(0), dim=0) * vector_D.norm())


def without_memory(loss: nn.Module) -> tuple[nn.Module, nn.Module | None]:
    """Return a loss without its memory, and the memory's miner; the loss itself if it has none."""
    if not hasattr(loss, "memory_size"):
        return loss, None
    return getattr(loss, "loss"), getattr(loss, "miner")  # noqa: B009 - nn.Module types them loosely


def read_loss(loss: nn.Module) -> dict[str, Any]:
    """Read a live loss back into spec keys below `train`: what it will really compute with."""
    names = {builder: name for name, builder in _loss_classes().items()}
    inner, _ = without_memory(loss)
    name = names[type(inner)]
    applied: dict[str, Any] = {"train.loss.name": name}
    for key, (attribute, convert) in _READERS[name].items():
        applied[key] = convert(getattr(inner, attribute))
    if name in MINED_LOSSES:
        applied["train.loss.memory_size"] = int(getattr(loss, "memory_size", 0))
    if name in SOFTMAX_LOSSES:
        entropy: Any = inner.cross_entropy
        applied["train.loss.label_smoothing"] = float(entropy.label_smoothing)
    return applied


def _loss_classes() -> dict[str, type[nn.Module]]:
    from pytorch_metric_learning import losses

    return {
        "triplet": losses.TripletMarginLoss,
        "contrastive": losses.ContrastiveLoss,
        "multi_similarity": losses.MultiSimilarityLoss,
        "ntxent": losses.NTXentLoss,
        "arcface": losses.ArcFaceLoss,
        "subcenter_arcface": losses.SubCenterArcFaceLoss,
        "proxy_anchor": losses.ProxyAnchorLoss,
        "normalized_softmax": losses.NormalizedSoftmaxLoss,
    }


def _triplet(train: TrainConfig) -> nn.Module:
    return _loss_classes()["triplet"](
        margin=train.optim.triplet_loss_margin, smooth_loss=train.smooth_loss
    )


def _contrastive(train: TrainConfig) -> nn.Module:
    own = train.loss.contrastive
    return _loss_classes()["contrastive"](pos_margin=own.pos_margin, neg_margin=own.neg_margin)


def _multi_similarity(train: TrainConfig) -> nn.Module:
    own = train.loss.multi_similarity
    return _loss_classes()["multi_similarity"](alpha=own.alpha, beta=own.beta, base=own.base)


def _ntxent(train: TrainConfig) -> nn.Module:
    return _loss_classes()["ntxent"](temperature=train.loss.ntxent.temperature)


def _arcface(config: LossConfig, sizes: dict[str, int]) -> nn.Module:
    own = config.arcface
    return _loss_classes()["arcface"](margin=own.margin, scale=own.scale, **sizes)


def _subcenter_arcface(config: LossConfig, sizes: dict[str, int]) -> nn.Module:
    own = config.subcenter_arcface
    return _loss_classes()["subcenter_arcface"](
        margin=own.margin, scale=own.scale, sub_centers=own.sub_centers, **sizes
    )


def _proxy_anchor(config: LossConfig, sizes: dict[str, int]) -> nn.Module:
    own = config.proxy_anchor
    return _loss_classes()["proxy_anchor"](margin=own.margin, alpha=own.alpha, **sizes)


def _normalized_softmax(config: LossConfig, sizes: dict[str, int]) -> nn.Module:
    own = config.normalized_softmax
    return _loss_classes()["normalized_softmax"](temperature=own.temperature, **sizes)


_PAIR_BUILDERS: dict[str, Callable[[TrainConfig], nn.Module]] = {
    "triplet": _triplet,
    "contrastive": _contrastive,
    "multi_similarity": _multi_similarity,
    "ntxent": _ntxent,
}

_CLASS_VECTOR_BUILDERS: dict[str, Callable[[LossConfig, dict[str, int]], nn.Module]] = {
    "arcface": _arcface,
    "subcenter_arcface": _subcenter_arcface,
    "proxy_anchor": _proxy_anchor,
    "normalized_softmax": _normalized_softmax,
}

_BUILDERS = (*_PAIR_BUILDERS, *_CLASS_VECTOR_BUILDERS)


def _degrees(radians: float) -> float:
    import math

    return float(f"{math.degrees(float(radians)):.12g}")


_READERS: dict[str, dict[str, tuple[str, Callable[[Any], Any]]]] = {
    "triplet": {
        "train.optim.triplet_loss_margin": ("margin", float),
        "train.smooth_loss": ("smooth_loss", bool),
    },
    "contrastive": {
        "train.loss.contrastive.pos_margin": ("pos_margin", float),
        "train.loss.contrastive.neg_margin": ("neg_margin", float),
    },
    "multi_similarity": {
        "train.loss.multi_similarity.alpha": ("alpha", float),
        "train.loss.multi_similarity.beta": ("beta", float),
        "train.loss.multi_similarity.base": ("base", float),
    },
    "ntxent": {"train.loss.ntxent.temperature": ("temperature", float)},
    "arcface": {
        "train.loss.arcface.margin": ("margin", _degrees),
        "train.loss.arcface.scale": ("scale", float),
    },
    "subcenter_arcface": {
        "train.loss.subcenter_arcface.margin": ("margin", _degrees),
        "train.loss.subcenter_arcface.scale": ("scale", float),
        "train.loss.subcenter_arcface.sub_centers": ("sub_centers", int),
    },
    "proxy_anchor": {
        "train.loss.proxy_anchor.margin": ("margin", float),
        "train.loss.proxy_anchor.alpha": ("alpha", float),
    },
    "normalized_softmax": {"train.loss.normalized_softmax.temperature": ("temperature", float)},
}
