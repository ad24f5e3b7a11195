"""The `train.loss` section: the losses beside the published triplet loss.

Defaults are those of pytorch-metric-learning 2.9. The triplet loss keeps its published keys
`train.optim.triplet_loss_margin` and `train.smooth_loss`.
"""

from __future__ import annotations

from dataclasses import dataclass

from trainer.config.fields import choice, integer, positive, real, section

LOSSES = (
    "triplet",
    "contrastive",
    "multi_similarity",
    "arcface",
    "subcenter_arcface",
    "proxy_anchor",
    "normalized_softmax",
    "ntxent",
)

MINED_LOSSES = ("triplet", "contrastive", "multi_similarity", "ntxent")
"""Losses over pairs or triplets, which the miner selects; the others learn class vectors."""

WEIGHTED_LOSSES = ("arcface", "subcenter_arcface", "proxy_anchor", "normalized_softmax")
"""Losses that learn a vector per class, at the rate `train.loss.base_lr`."""

SOFTMAX_LOSSES = ("arcface", "subcenter_arcface", "normalized_softmax")
"""Those of them that are a cross entropy over all classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContrastiveConfig:
    """Pairs of one class closer than one distance, others further than another."""

    pos_margin: float = real(
        0.0,
        "Distance below which a pair of one class costs nothing.",
        minimum=0.0,
        maximum=2.0,
    )
    neg_margin: float = positive(
        1.0, "Distance beyond which a pair of two classes costs nothing.", maximum=2.0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiSimilarityConfig:
    """Soft weighting of all pairs by their similarity."""

    alpha: float = positive(2.0, "Weight of pairs of one class.", maximum=100.0)
    beta: float = positive(50.0, "Weight of pairs of two classes.", maximum=200.0)
    base: float = real(
        0.5, "Similarity around which pairs are weighted.", minimum=-1.0, maximum=1.0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ArcFaceConfig:
    """Classification by angle, with an angular margin."""

    margin: float = real(28.6, "Margin between classes in degrees.", minimum=0.0, maximum=90.0)
    scale: float = real(64.0, "Factor on cosines before the softmax.", minimum=1.0, maximum=256.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubCenterArcFaceConfig(ArcFaceConfig):
    """Angular classification with several vectors per class."""

    sub_centers: int = integer(3, "Vectors per class.", minimum=1, maximum=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyAnchorConfig:
    """One learnt proxy per class as the anchor of all its pairs."""

    margin: float = real(0.1, "Similarity margin around the proxies.", minimum=0.0, maximum=2.0)
    alpha: float = positive(32.0, "Sharpness of the weighting.", maximum=128.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalizedSoftmaxConfig:
    """Classification by cosine, divided by a temperature."""

    temperature: float = positive(0.05, "Divisor of cosines: lower is sharper.")


@dataclass(frozen=True, slots=True, kw_only=True)
class NTXentConfig:
    """Each pair of one class against all pairs of two classes, divided by a temperature."""

    temperature: float = positive(0.07, "Divisor of cosines: lower is sharper.")


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """Which loss, and the parameters of each."""

    name: str = choice("triplet", LOSSES, "Loss that shapes the embedding.")
    base_lr: float = positive(
        0.01,
        "Learning rate of the loss's own class vectors, for losses that have some.",
        maximum=10.0,
    )
    start: str = choice(
        "random",
        ("random", "class_means"),
        "What class vectors start from: random directions, or the mean embedding of each class's"
        " training pictures.",
    )
    label_smoothing: float = real(
        0.0,
        "Share of a picture's label that is spread over all classes, for arcface,"
        " subcenter_arcface and normalized_softmax.",
        minimum=0.0,
        maximum=0.3,
        valid_max=1.0,
    )
    memory_size: int = integer(
        0,
        "Embeddings of earlier batches that each batch is compared with too, for losses over pairs;"
        " 0 compares within the batch alone.",
        minimum=0,
        maximum=8192,
        valid_max=10_000_000,
    )
    contrastive: ContrastiveConfig = section(ContrastiveConfig, "Contrastive loss.")
    multi_similarity: MultiSimilarityConfig = section(
        MultiSimilarityConfig, "Multi-similarity loss."
    )
    arcface: ArcFaceConfig = section(ArcFaceConfig, "ArcFace loss.")
    subcenter_arcface: SubCenterArcFaceConfig = section(
        SubCenterArcFaceConfig, "ArcFace loss with sub-centres."
    )
    proxy_anchor: ProxyAnchorConfig = section(ProxyAnchorConfig, "Proxy anchor loss.")
    normalized_softmax: NormalizedSoftmaxConfig = section(
        NormalizedSoftmaxConfig, "Normalised softmax loss."
    )
    ntxent: NTXentConfig = section(NTXentConfig, "NT-Xent (InfoNCE) loss.")
