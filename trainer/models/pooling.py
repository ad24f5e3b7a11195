"""Generalised-mean pooling (Radenovic et al. 2018) in place of a trunk's average over its map."""

from __future__ import annotations

import torch
from timm.layers.adaptive_avgmax_pool import FastAdaptiveAvgPool, SelectAdaptivePool2d
from torch import Tensor, nn

from trainer.errors import SpecError

_START = 3.0
_LEAST_VALUE = 1e-6


class GeM(nn.Module):
    """The mean of x**p over the places of a map, to the power of 1/p, with a p that learns.

    p = 1 is the average, a large p nears the maximum; values below 1e-6 count as that.

    Args:
        flat: whether the result is N x C; N x C x 1 x 1 otherwise.
    """

    def __init__(self, *, flat: bool) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.full((1,), _START))
        self._flat = flat

    def is_identity(self) -> bool:
        """Some trunks ask this of their pooling, as of timm's own."""
        return False

    def forward(self, map_NCHW: Tensor) -> Tensor:
        """Map N x C x H x W to one value per channel, in float32."""
        values = map_NCHW.float().clamp(min=_LEAST_VALUE)
        # The largest value cancels out; without it powers overflow in FP16 engines.
        largest_NC11 = values.amax((2, 3), keepdim=True).detach()
        p = self.p.clamp(min=1.0)
        mean_NC11 = (values / largest_NC11).pow(p).mean((2, 3), keepdim=True)
        pooled = mean_NC11.pow(1.0 / p) * largest_NC11
        return pooled.flatten(1) if self._flat else pooled


def use_gem(trunk: nn.Module, name: str) -> None:
    """Put a `GeM` in the place of a trunk's own pooling.

    Args:
        trunk: changed in place.
        name: of the backbone, for the message.

    Raises:
        SpecError: the trunk does not pool one map of channels.
    """
    found = [key for key, part in trunk.named_modules() if isinstance(part, SelectAdaptivePool2d)]
    pool = trunk.get_submodule(found[0]) if len(found) == 1 else None
    flat = None if pool is None else _is_flat(pool)
    if flat is None:
        raise SpecError(
            f"model.pooling: must be default for {name}, which does not end in an average over a "
            "map of features; gem is for convolutional trunks"
        )
    parent, _, own = found[0].rpartition(".")
    setattr(trunk.get_submodule(parent), own, GeM(flat=flat))


def _is_flat(pool: nn.Module) -> bool | None:
    """Whether a pooling's result is N x C; None unless it pools N x C x H x W."""
    inner, flatten = getattr(pool, "pool", None), getattr(pool, "flatten", None)
    if isinstance(inner, FastAdaptiveAvgPool):
        return bool(inner.flatten) if tuple(inner.dim) == (2, 3) else None
    return isinstance(flatten, nn.Flatten)


def gem_parameters(part: nn.Module) -> list[str]:
    """Return the names of the powers that learn within a trunk or a whole model."""
    return [f"{key}.p" for key, module in part.named_modules() if isinstance(module, GeM)]
