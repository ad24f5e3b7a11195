"""Losses with class vectors, of many heads at once: each computes what its own loss computes alone.

The formulas are those of pytorch-metric-learning 2.9 (`trainer.losses` builds the single ones).
Legend: H heads, B pictures of a batch, D dimensions (padded by zeros), C classes, S vectors of a
class, V = C x S.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import hardtanh, log_softmax, normalize
from torch.nn.utils.rnn import pad_sequence

from trainer.config.loss import WEIGHTED_LOSSES

StackedLoss = Callable[[Tensor, Tensor], Tensor]
"""From embeddings (H, B, D) and labels (H, B) to a loss per head (H,)."""


def padding(sizes: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Where the rows of parts of these sizes, one part after another, lie once each is padded.

    Returns:
        For each place the row that comes there, or the one after the last; for each row its place.
    """
    total = sum(sizes)
    rows = torch.split(torch.arange(total, device=device), list(sizes))
    row_of_P = pad_sequence(list(rows), batch_first=True, padding_value=total).flatten()
    return row_of_P, torch.nonzero(row_of_P < total).flatten()


def stack_losses(
    name: str, losses: Sequence[nn.Module], sizes: Sequence[int]
) -> StackedLoss | None:
    """Return the loss of several heads in one, or None for a loss that compares pairs.

    Args:
        name: `train.loss.name` of all of them; sub-centres must be equally many.
        losses: the live modules; gradients go to their own class vectors.
        sizes: lengths of their embeddings, which are padded to the longest.
    """
    if name not in WEIGHTED_LOSSES:
        return None
    device = _vectors_of(losses[0]).device

    def column(read: Callable[[Any], float]) -> Tensor:
        values = [read(loss) for loss in losses]
        return torch.tensor(values, dtype=torch.float32, device=device).view(-1, 1, 1)

    row_of_P, _ = padding(sizes, device)

    def cosines(emb_HBD: Tensor) -> Tensor:
        """Of every embedding with every class vector, (H, B, V)."""
        vectors = [_vectors_of(loss).t() for loss in losses]
        if len(set(sizes)) == 1:
            vectors_HDV = torch.stack(vectors)
        else:
            zeros_1V = vectors[0].new_zeros(1, vectors[0].shape[1])
            vectors_PV = torch.cat([*vectors, zeros_1V]).index_select(0, row_of_P)
            vectors_HDV = vectors_PV.view(len(losses), -1, vectors_PV.shape[1])
        return normalize(emb_HBD, dim=2) @ normalize(vectors_HDV, dim=1)

    return _BUILDERS[name](losses, column, cosines)


def _vectors_of(loss: Any) -> Tensor:
    """Class vectors of a single loss as (V, D)."""
    vectors: Tensor = loss.proxies if hasattr(loss, "proxies") else loss.W.t()
    return vectors


_Column = Callable[[Callable[[Any], float]], Tensor]
_Cosines = Callable[[Tensor], Tensor]


def _softmax(losses: Sequence[nn.Module], column: _Column, cosines: _Cosines) -> StackedLoss:
    temperature_H11 = column(lambda loss: loss.temperature)
    entropy = _cross_entropy(column)
    del losses

    def compute(emb_HBD: Tensor, labels_HB: Tensor) -> Tensor:
        return entropy(cosines(emb_HBD) / temperature_H11, labels_HB)

    return compute


def _arcface(losses: Sequence[nn.Module], column: _Column, cosines: _Cosines) -> StackedLoss:
    margin_H11, scale_H11 = column(lambda loss: loss.margin), column(lambda loss: loss.scale)
    entropy = _cross_entropy(column)
    per_class = int(getattr(losses[0], "sub_centers", 1))

    def compute(emb_HBD: Tensor, labels_HB: Tensor) -> Tensor:
        cos_HBC = cosines(emb_HBD)
        if per_class > 1:
            cos_HBC = cos_HBC.view(*cos_HBC.shape[:2], -1, per_class).max(dim=3).values
        target_HB1 = labels_HB.unsqueeze(2)
        own_HB1 = cos_HBC.gather(2, target_HB1)
        angle_HB1 = torch.acos(within_bounds(own_HB1))
        # Beyond pi - margin the cosine would rise again.
        with_margin_HB1 = torch.where(
            angle_HB1 <= math.pi - margin_H11,
            torch.cos(angle_HB1 + margin_H11),
            torch.cos(angle_HB1) - margin_H11 * torch.sin(margin_H11),
        )
        logits_HBC = cos_HBC.scatter_add(2, target_HB1, with_margin_HB1 - own_HB1)
        return entropy(logits_HBC * scale_H11, labels_HB)

    return compute


def _proxy_anchor(losses: Sequence[nn.Module], column: _Column, cosines: _Cosines) -> StackedLoss:
    margin_H11, alpha_H11 = column(lambda loss: loss.margin), column(lambda loss: loss.alpha)
    del losses

    def compute(emb_HBD: Tensor, labels_HB: Tensor) -> Tensor:
        cos_HBC = cosines(emb_HBD)
        classes_C = torch.arange(cos_HBC.shape[2], device=cos_HBC.device)
        is_own_HBC = labels_HB.unsqueeze(2) == classes_C
        own_HC = log_one_plus_sum(alpha_H11 * (margin_H11 - cos_HBC), is_own_HBC)
        other_HC = log_one_plus_sum(alpha_H11 * (cos_HBC + margin_H11), ~is_own_HBC)
        num_present_H = is_own_HBC.any(dim=1).sum(dim=1)
        return own_HC.sum(dim=1) / num_present_H + other_HC.mean(dim=1)

    return compute


def within_bounds(cosines: Tensor) -> Tensor:
    """Return cosines whose angles have a gradient: 0 at -1 and 1, as beyond, where rounding leads.

    That of `clamp` is 1 there before torch 2.14, and makes NaN of the infinite slope.
    """
    return hardtanh(cosines)


def log_one_plus_sum(values_HBC: Tensor, kept_HBC: Tensor) -> Tensor:
    """Return log(1 + sum over the kept of exp) along B, (H, C); 0 where none is kept."""
    kept = values_HBC.masked_fill(~kept_HBC, torch.finfo(values_HBC.dtype).min)
    with_one = torch.cat([kept, torch.zeros_like(kept[:, :1])], dim=1)
    return torch.logsumexp(with_one, dim=1).masked_fill(~kept_HBC.any(dim=1), 0)


def _cross_entropy(column: _Column) -> StackedLoss:
    """The mean over the batch, each head with its own label smoothing."""
    smoothing_H11 = column(lambda loss: loss.cross_entropy.label_smoothing)

    def compute(logits_HBC: Tensor, labels_HB: Tensor) -> Tensor:
        log_p_HBC = log_softmax(logits_HBC, dim=2)
        own_HB1 = log_p_HBC.gather(2, labels_HB.unsqueeze(2))
        spread_HB1 = log_p_HBC.mean(dim=2, keepdim=True)
        losses_HB1 = -(1 - smoothing_H11) * own_HB1 - smoothing_H11 * spread_HB1
        return losses_HB1.mean(dim=(1, 2))

    return compute


_BUILDERS: Mapping[str, Callable[[Sequence[nn.Module], _Column, _Cosines], StackedLoss]] = {
    "normalized_softmax": _softmax,
    "arcface": _arcface,
    "subcenter_arcface": _arcface,
    "proxy_anchor": _proxy_anchor,
}
