"""Embeddings of a whole split, in large batches, under inference mode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import nn

from trainer.distributed import exchanged
from trainer.errors import DataError, SpecError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_T = TypeVar("_T")


def embed(
    model: nn.Module, batches: Iterable[torch.Tensor], *, use_bf16: bool = False
) -> NDArray[Any]:
    """Embed all images in order; several processes share the work and all get all of it.

    Args:
        model: N x C x H x W to N x D (or a head, N x F to N x D); its mode is left as it was,
            statistics are not touched.
        batches: normalised images (or features) on the model's device; of several processes each
            gives every so-manieth (`own_share`), as `eval_batches` does.
        use_bf16: run the forward pass in bfloat16.

    Returns:
        Raw embeddings, float32, shape (N, D).

    Raises:
        DataError: when there is no image.
    """
    with evaluating(model):
        own = [forward(model, images, use_bf16=use_bf16) for images in batches]
    shares = exchanged([part.cpu().numpy() for part in own])
    if not any(shares):
        raise DataError("embed: at least one picture is needed, got none")
    dealt = zip_longest(*shares)  # the first of each process, then the second of each
    return np.concatenate([part for parts in dealt for part in parts if part is not None])


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients inside; each module's own mode after."""
    was_training = {name for name, module in model.named_modules() if module.training}
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for name, module in model.named_modules():
            module.training = name in was_training


def forward(model: nn.Module, images: torch.Tensor, *, use_bf16: bool) -> torch.Tensor:
    """Run one batch of images (or features) and return float32."""
    if images.ndim == 4:
        images = images.contiguous(memory_format=torch.channels_last)
    with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=use_bf16):
        emb: torch.Tensor = model(images)
    return emb.float()


def needed(found: _T | None, name: str) -> _T:
    """Return a split, or what is made of it, that the action cannot do without.

    Raises:
        SpecError: when the spec names no such folder.
    """
    if found is None:
        raise SpecError(f"dataset.{name}: must be given for this action")
    return found
