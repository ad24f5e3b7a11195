"""Losses and miner over masks of all pairs, in place of lists of chosen ones.

A list's length is known only when the device has made it, so a step that picks pairs (`nonzero`,
indexing by a mask) makes the CPU wait for the GPU in the middle of every step. Masks have known
shapes, and nothing waits. The values and gradients are those of pytorch-metric-learning 2.9, whose
modules (`trainer.losses` builds them) keep the margins and class vectors.
Legend: N pictures of a batch, R references (the batch itself, or the memory of earlier ones), D
dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import relu, softplus

from trainer.losses import without_memory
from trainer.stacked_losses import log_one_plus_sum, stack_losses

if TYPE_CHECKING:
    from torch import Tensor, nn

MOST_TRIPLETS = 1 << 27
"""N x R x R of the triplet loss, 512 MiB for each of its tensors; larger ones go by lists."""


@dataclass(frozen=True, slots=True)
class _Pairs:
    """The pairs that a loss compares, (N, R) each."""

    is_own: Tensor
    """Pairs of one class, without pairs of a picture with itself."""
    is_other: Tensor
    """Pairs of two classes."""

    def are_enough(self) -> Tensor:
        """0 where neither kind has a second pair, for which the library gives no loss; else 1."""
        return ((self.is_own.sum() > 1) | (self.is_other.sum() > 1)).float()


class MaskedLoss:
    """A loss with its miner, computed without waiting for the device.

        masked = MaskedLoss("triplet", loss, miner, embedding_size=256)
        value = masked(emb_ND, labels_N)

    Args:
        name: `train.loss.name`.
        loss: the live module, on its device.
        miner: as `trainer.losses.build_loss` returns it beside the loss.
        embedding_size: D.
    """

    def __init__(
        self, name: str, loss: nn.Module, miner: nn.Module | None, embedding_size: int
    ) -> None:
        self._name, self._loss, self._miner = name, loss, miner
        inner, memory_miner = without_memory(loss)
        self._inner: Any = inner
        self._pair_miner = miner or memory_miner
        self._stacked = stack_losses(name, [loss], [embedding_size])

    def __call__(self, emb_ND: Tensor, labels_N: Tensor) -> Tensor:
        """Return the loss of a batch; a memory takes the batch in."""
        if self._stacked is not None:
            return self._stacked(emb_ND[None], labels_N[None])[0]
        num_references = int(getattr(self._loss, "memory_size", len(labels_N)))
        if self._name == "triplet" and len(labels_N) * num_references**2 > MOST_TRIPLETS:
            listed = None if self._miner is None else self._miner(emb_ND, labels_N)
            value: Tensor = self._loss(emb_ND, labels_N, listed)
            return value
        reference_RD, is_same_NR, is_self_NR = self._references(emb_ND, labels_N)
        pairs = self._mined(emb_ND, reference_RD, is_same_NR, is_self_NR)
        compute = _PAIR_LOSSES[self._name]
        return compute(self._inner, self._inner.distance(emb_ND, reference_RD), pairs)

    def _references(self, emb_ND: Tensor, labels_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the batch is compared with, and the pairs of one class and of one picture."""
        reference_RD, labels_R = emb_ND, labels_N
        own_N = torch.arange(len(labels_N), device=labels_N.device)
        if self._loss is not self._inner:
            memory: Any = self._loss
            reference_RD, labels_R, own_N = memory.take_in(emb_ND, labels_N)
        places_R = torch.arange(len(labels_R), device=labels_N.device)
        return reference_RD, labels_N[:, None] == labels_R, own_N[:, None] == places_R

    @torch.no_grad()
    def _mined(
        self, emb_ND: Tensor, reference_RD: Tensor, is_same_NR: Tensor, is_self_NR: Tensor
    ) -> _Pairs:
        """Keep pairs that are within epsilon of the hardest of the other kind (Wang et al. 2019).

        In a memory a picture's own entry counts as one of its class until the pairs are chosen, as
        the library has it.
        """
        miner: Any = self._pair_miner
        in_memory = reference_RD is not emb_ND
        is_own_NR = is_same_NR if in_memory else is_same_NR & ~is_self_NR
        cosine_NR = miner.distance(emb_ND, reference_RD)
        infinity = float("inf")
        least_own_N1 = cosine_NR.masked_fill(~is_own_NR, infinity).amin(dim=1, keepdim=True)
        most_other_N1 = cosine_NR.masked_fill(is_same_NR, -infinity).amax(dim=1, keepdim=True)
        return _Pairs(
            is_own_NR & (cosine_NR - miner.epsilon < most_other_N1) & ~is_self_NR,
            ~is_same_NR & (cosine_NR + miner.epsilon > least_own_N1),
        )


def _mean_above_zero(losses: Tensor, is_kept: Tensor) -> Tensor:
    """Return the mean of the kept losses that are above 0, or 0 without any."""
    counts = is_kept & (losses > 0)
    return torch.where(counts, losses, 0.0).sum() / counts.sum().clamp(min=1)


def _triplet(loss: Any, distance_NR: Tensor, pairs: _Pairs) -> Tensor:
    gap_NRR = distance_NR[:, :, None] - distance_NR[:, None, :] + loss.margin
    losses_NRR = softplus(gap_NRR) if loss.smooth_loss else relu(gap_NRR)
    return _mean_above_zero(losses_NRR, pairs.is_own[:, :, None] & pairs.is_other[:, None, :])


def _contrastive(loss: Any, distance_NR: Tensor, pairs: _Pairs) -> Tensor:
    near = _mean_above_zero(relu(distance_NR - loss.pos_margin), pairs.is_own)
    far = _mean_above_zero(relu(loss.neg_margin - distance_NR), pairs.is_other)
    return (near + far) * pairs.are_enough()


def _multi_similarity(loss: Any, cosine_NR: Tensor, pairs: _Pairs) -> Tensor:
    beyond_NR = cosine_NR - loss.base

    def softened(values_NR: Tensor, kept_NR: Tensor) -> Tensor:
        return log_one_plus_sum(values_NR.T[None], kept_NR.T[None])[0]

    own_N: Tensor = softened(-loss.alpha * beyond_NR, pairs.is_own) / loss.alpha
    other_N: Tensor = softened(loss.beta * beyond_NR, pairs.is_other) / loss.beta
    return (own_N + other_N).mean() * pairs.are_enough()


def _ntxent(loss: Any, cosine_NR: Tensor, pairs: _Pairs) -> Tensor:
    logits_NR = cosine_NR / loss.temperature
    lowest = torch.finfo(logits_NR.dtype).min
    others_N1 = logits_NR.masked_fill(~pairs.is_other, lowest).logsumexp(dim=1, keepdim=True)
    # -log of the share of the own pair; the library bounds it by the least number above 0.
    most = -math.log(torch.finfo(logits_NR.dtype).tiny)
    losses_NR = softplus(others_N1 - logits_NR).clamp(max=most)
    total = torch.where(pairs.is_own, losses_NR, 0.0).sum()
    has_others = pairs.is_other.any().float()
    mean: Tensor = total / pairs.is_own.sum().clamp(min=1)
    return mean * has_others * pairs.are_enough()


_PAIR_LOSSES: dict[str, Callable[[Any, Tensor, _Pairs], Tensor]] = {
    "triplet": _triplet,
    "contrastive": _contrastive,
    "multi_similarity": _multi_similarity,
    "ntxent": _ntxent,
}
