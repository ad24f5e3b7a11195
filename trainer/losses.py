"""Builds the loss and the miner of a spec from pytorch-metric-learning.

Every loss here normalises the embeddings itself (its default distance does), so a model hands over
raw embeddings, and search compares them at unit length: what is trained is what is searched.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from trainer.config.loss import MINED_LOSSES, SOFTMAX_LOSSES, WEIGHTED_LOSSES
from trainer.config.relations import value_at
from trainer.config.tree import keys, leaves

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trainer.config.root import Spec


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
    """
    from pytorch_metric_learning.miners import MultiSimilarityMiner
    from torch.nn import CrossEntropyLoss

    name, config = spec.train.loss.name, spec.train.loss
    arguments = {argument: value_at(spec, path) for path, argument in _arguments(name).items()}
    if name in WEIGHTED_LOSSES:
        arguments |= {"num_classes": num_classes, "embedding_size": embedding_size}
    loss = _loss_classes()[name](**arguments)
    if name in SOFTMAX_LOSSES and config.label_smoothing > 0:
        loss.cross_entropy = CrossEntropyLoss(
            reduction="none", label_smoothing=config.label_smoothing
        )
    if name in WEIGHTED_LOSSES:
        return loss, None
    miner = MultiSimilarityMiner(epsilon=spec.train.optim.miner_function_margin)
    if not config.memory_size:
        return loss, miner
    from trainer.batch_memory import BatchMemory

    return BatchMemory(loss, embedding_size, config.memory_size, miner=miner), None


def _arguments(name: str) -> dict[str, str]:
    """Spec keys of a loss -> the argument that each is of its class, and the attribute then."""
    own = {key.path: key.name for key in leaves().values() if key.parent == f"train.loss.{name}"}
    return own or {"train.optim.triplet_loss_margin": "margin", "train.smooth_loss": "smooth_loss"}


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
    for path, attribute in _arguments(name).items():
        value = getattr(inner, attribute)
        is_in_radians = attribute == "margin" and name.endswith("arcface")
        convert = _degrees if is_in_radians else type(keys()[path].default)
        applied[path] = convert(value)
    if name in MINED_LOSSES:
        applied["train.loss.memory_size"] = int(getattr(loss, "memory_size", 0))
    if name in SOFTMAX_LOSSES:
        entropy: Any = inner.cross_entropy
        applied["train.loss.label_smoothing"] = float(entropy.label_smoothing)
    return applied


def _loss_classes() -> dict[str, type[nn.Module]]:
    from pytorch_metric_learning import losses

    from trainer import angular_losses

    return {
        "triplet": losses.TripletMarginLoss,
        "contrastive": losses.ContrastiveLoss,
        "multi_similarity": losses.MultiSimilarityLoss,
        "ntxent": losses.NTXentLoss,
        "arcface": angular_losses.ArcFaceLoss,
        "subcenter_arcface": angular_losses.SubCenterArcFaceLoss,
        "proxy_anchor": losses.ProxyAnchorLoss,
        "normalized_softmax": losses.NormalizedSoftmaxLoss,
    }


def _degrees(radians: float) -> float:
    return float(f"{math.degrees(float(radians)):.12g}")
