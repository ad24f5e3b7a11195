"""Images or features that batches are gathered from: on the GPU if they fit, else a memory map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

_RESIDENT_SHARE = 0.2
"""Share of the GPU's free memory that one split may take; other trials want their part of it."""
_UPLOAD_BYTES = 256 << 20


class ImageBank:
    """Images (uint8) or features (float32) that batches are taken from.

    Args:
        images_NHWC: decoded images, usually a memory map; features are N x F.
        device: where batches are wanted.
        resident: keep a copy on the device; default: when it fits well.
    """

    def __init__(
        self,
        images_NHWC: NDArray[np.uint8] | NDArray[np.float32],
        device: torch.device,
        *,
        resident: bool | None = None,
    ) -> None:
        self._images = images_NHWC
        self._device = device
        if resident is None:
            resident = device.type == "cuda" and _fits(images_NHWC.nbytes, device)
        self._on_device = _upload(images_NHWC, device) if resident else None

    @property
    def is_resident(self) -> bool:
        """Whether batches are gathered on the device."""
        return self._on_device is not None

    def take(self, indices: NDArray[np.int64]) -> Tensor:
        """A batch of them: on the device when resident, else in host memory (pinned)."""
        if self._on_device is not None:
            chosen = torch.from_numpy(indices).to(self._device, non_blocking=True)
            return self._on_device.index_select(0, chosen)
        batch = torch.from_numpy(np.asarray(self._images[indices]))
        return batch.pin_memory() if self._device.type == "cuda" else batch


def _fits(num_bytes: int, device: torch.device) -> bool:
    free, _ = torch.cuda.mem_get_info(device)
    return num_bytes < _RESIDENT_SHARE * free


def _upload(images_NHWC: NDArray[np.uint8] | NDArray[np.float32], device: torch.device) -> Tensor:
    """Copy in parts, so that the host never holds the whole set."""
    kind = torch.from_numpy(np.array(images_NHWC[:0])).dtype
    out = torch.empty(images_NHWC.shape, dtype=kind, device=device)
    step = max(1, _UPLOAD_BYTES // max(1, images_NHWC[:1].nbytes))
    for start in range(0, len(images_NHWC), step):
        out[start : start + step] = torch.from_numpy(np.array(images_NHWC[start : start + step]))
    return out
