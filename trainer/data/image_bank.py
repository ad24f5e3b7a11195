"""Images or features that batches are gathered from: on the GPU if they fit, else a memory map."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

_RESIDENT_SHARE = 0.2
"""Share of what this process may still take of a GPU that all splits may: most is for training."""
_UPLOAD_BYTES = 256 << 20


class ImageBank:
    """Images (uint8) or features (float32) that batches are taken from.

    Args:
        images_NHWC: decoded images, usually a memory map; features are N x F.
        device: where batches are wanted.
        resident: keep a copy on the device; default: when it fits well.
        held_bytes: what the run's other splits have of the device.
    """

    def __init__(
        self,
        images_NHWC: NDArray[np.uint8] | NDArray[np.float32],
        device: torch.device,
        *,
        resident: bool | None = None,
        held_bytes: int = 0,
    ) -> None:
        self._images = images_NHWC
        self._device = device
        if resident is None:
            resident = device.type == "cuda" and _fits(images_NHWC.nbytes, held_bytes, device)
        self._on_device = _upload(images_NHWC, device) if resident else None

    @property
    def is_resident(self) -> bool:
        """Whether batches are gathered on the device."""
        return self._on_device is not None

    @property
    def resident_bytes(self) -> int:
        """What they take of the device."""
        return 0 if self._on_device is None else self._on_device.nbytes

    def take(self, indices: NDArray[np.int64]) -> Tensor:
        """A batch of them: on the device when resident, else in host memory (pinned)."""
        if self._on_device is not None:
            chosen = torch.from_numpy(indices).to(self._device, non_blocking=True)
            return self._on_device.index_select(0, chosen)
        batch = torch.from_numpy(np.asarray(self._images[indices]))
        return batch.pin_memory() if self._device.type == "cuda" else batch


def _fits(num_bytes: int, held_bytes: int, device: torch.device) -> bool:
    """Whether a split has room beside those that are there, in this process's share of the card."""
    free, total = torch.cuda.mem_get_info(device)
    share = torch.cuda.get_per_process_memory_fraction(device) * total
    left = min(free, share - torch.cuda.memory_allocated(device))
    return num_bytes + held_bytes < _RESIDENT_SHARE * (left + held_bytes)


def _upload(
    images_NHWC: NDArray[np.uint8] | NDArray[np.float32], device: torch.device
) -> Tensor | None:
    """Copy in parts, so that the host never holds the whole set; None where it does not fit."""
    kind = torch.from_numpy(np.array(images_NHWC[:0])).dtype
    try:
        out = torch.empty(images_NHWC.shape, dtype=kind, device=device)
    except torch.OutOfMemoryError:
        return None
    step = max(1, _UPLOAD_BYTES // max(1, images_NHWC[:1].nbytes))
    for start in range(0, len(images_NHWC), step):
        out[start : start + step] = torch.from_numpy(np.array(images_NHWC[start : start + step]))
    return out


def held_bytes(banks: Iterable[ImageBank]) -> int:
    """What several take of the device together."""
    return sum(bank.resident_bytes for bank in banks)
