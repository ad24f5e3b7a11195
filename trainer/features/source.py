"""Turns the pictures of a folder into features, once: later calls, runs and processes find them.

Legend: V views of each picture, N pictures, F features.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import timm
import torch
from torch import Tensor, nn

from trainer.data.augment import BatchAugment
from trainer.data.cache import cache_key
from trainer.data.cached_sets import META, parts_path
from trainer.data.framing import framing_of, input_size
from trainer.data.image_bank import ImageBank
from trainer.data.normalize import normalize_batch, pixel_statistics
from trainer.data.set_store import find_or_build, map_array, new_array
from trainer.data.splits import Split, decode_split, stored_size
from trainer.embedding import evaluating, forward
from trainer.errors import DivergedError
from trainer.features.identity import (
    VIEW_SEED,
    augmentation,
    fingerprint,
    preprocessing,
    weights_digest,
)
from trainer.features.parts import Parts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainer.config.root import Spec
    from trainer.data.decoding import DecodedFolder, Progress
    from trainer.data.folder import ImageFolder

_FORMAT = 1
_BLOCK = 64
"""Pictures that a trunk sees at once: views are drawn by blocks, so no spec changes it."""

_MOST_PARTS = 64
"""That processes share the work of a folder's features by."""
_Rows = tuple[int, int]
"""The first row, and the one behind the last."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSet:
    """Features of all pictures of a folder, in the folder's order."""

    features_VNF: NDArray[np.float32]  # noqa: N815 - shape suffix
    """A read-only memory map where the cache is used."""
    facts: dict[str, Any]
    """What they were made with: `key`, `trunk`, `weights` (digest), `precision`, `size` of the
    pictures that the trunk saw, `views`, `preprocessing` and `augmentation` (keys of `dataset`; the
    latter None for pictures as they are)."""


class FeatureSource:
    """A trunk that does not learn, and where its features are kept.

        source = FeatureSource(spec, model.trunk)
        features_1NF = source.clean(folder).features_VNF

    Args:
        spec: `dataset` and `model` are used.
        trunk: on the device to compute on; N x C x H x W to N x F in evaluation mode.
        use_bf16: run it in bfloat16.
        progress: called with (what, done, total) while features are computed.
    """

    def __init__(
        self,
        spec: Spec,
        trunk: nn.Module,
        *,
        use_bf16: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self._spec = spec
        self._trunk = trunk
        self._device = next(trunk.parameters()).device
        self._use_bf16 = use_bf16
        self._progress = progress
        self.digest = weights_digest(trunk)

    @property
    def num_features(self) -> int:
        """F."""
        count = self._trunk.num_features
        if not isinstance(count, int):
            raise TypeError(f"{self._spec.model.backbone}: num_features is {count!r}, not an int")
        return count

    def clean(self, folder: ImageFolder, *, is_mirrored: bool = False) -> FeatureSet:
        """Features of pictures as evaluation sees them, shape (1, N, F).

        Args:
            folder: the pictures.
            is_mirrored: turn each over, left to right.

        Raises:
            ImageError: files that cannot be decoded.
            DivergedError: a feature is not finite.
            InfrastructureError: not enough room on the disk.
        """
        decoded = self._opened(folder, "query")
        pieces = {
            rows: partial(self._as_they_are, decoded, rows, is_mirrored=is_mirrored)
            for rows in _parts_of(len(folder.paths))
        }
        return self._open(folder, "query", pieces, None, is_mirrored=is_mirrored)

    def changed(self, folder: ImageFolder) -> FeatureSet:
        """Features of `dataset.feature_views` augmented views of each picture, shape (V, N, F).

        Raises:
            ImageError, DivergedError, InfrastructureError: as `clean`.
        """
        decoded, num = self._opened(folder, "train"), len(folder.paths)
        views = {
            (view * num, (view + 1) * num): partial(self._view, decoded, view)
            for view in range(self._spec.dataset.feature_views)
        }
        return self._open(folder, "train", views, augmentation(self._spec))

    def _open(
        self,
        folder: ImageFolder,
        stored_as: Split,
        pieces: Mapping[_Rows, Callable[[], Iterator[Tensor]]],
        changes: dict[str, Any] | None,
        *,
        is_mirrored: bool = False,
    ) -> FeatureSet:
        num_views = 1 if changes is None else self._spec.dataset.feature_views
        facts: dict[str, Any] = {
            "format": _FORMAT,
            "trunk": self._spec.model.backbone,
            "weights": self.digest,
            "precision": "bf16" if self._use_bf16 else "fp32",
            "size": asdict(input_size(self._spec)),
            "views": num_views,
            "preprocessing": preprocessing(self._spec)["dataset"],
            "augmentation": changes,
            "is_mirrored": is_mirrored,
        }
        size = stored_size(self._spec, stored_as, len(folder.paths))
        pictures = cache_key(folder, size, framing_of(self._spec))
        seed = None if changes is None else VIEW_SEED
        versions = (timm.__version__, str(torch.__version__), self._device.type)
        key = fingerprint(pictures, facts, preprocessing(self._spec), seed, _BLOCK, versions)
        facts |= {"key": key, "source": str(folder.root), "num_images": len(folder.paths)}
        facts["num_features"] = self.num_features
        shape = (num_views, len(folder.paths), self.num_features)
        what = f"features of {folder.shown} by {self._spec.model.backbone}"
        fill = partial(self._fill, list(pieces.values()), num_views * len(folder.paths), what)
        if not self._spec.dataset.cache:
            features_VNF = np.empty(shape, dtype=np.float32)
            features_RF = features_VNF.reshape(-1, self.num_features)
            for number, (first, stop) in enumerate(pieces):
                fill(number, features_RF[first:stop], first)
            return FeatureSet(features_VNF=features_VNF, facts=facts)

        def parts(near: Path) -> Parts:
            place = parts_path(near.parent, key)
            return Parts(place, [slice(*rows) for rows in pieces], fill, self.num_features)

        def build(draft: Path) -> dict[str, Any]:
            _logger.info("computing %s: %d views of %d pictures", what, *shape[:2])
            out_VNF = new_array(draft / "features.npy", np.float32, shape)
            parts(draft).build(out_VNF.reshape(-1, self.num_features))
            out_VNF.flush()
            return facts

        num_bytes = 4 * int(np.prod(shape))
        return find_or_build(
            key, _read, build, kind="features", num_bytes=num_bytes, what=what,
            meanwhile=lambda target: parts(target).help(),
        )  # fmt: skip

    def _fill(
        self,
        pieces: Sequence[Callable[[], Iterator[Tensor]]],
        num_rows: int,
        what: str,
        number: int,
        out_NF: NDArray[np.float32],
        num_ready: int,
    ) -> None:
        """Compute the rows of one piece."""
        start = 0
        with evaluating(self._trunk):
            for images_NCHW in pieces[number]():
                feat_NF = forward(self._trunk, images_NCHW, use_bf16=self._use_bf16).cpu()
                out_NF[start : start + len(feat_NF)] = feat_NF.numpy()
                start += len(feat_NF)
                if self._progress is not None:
                    self._progress("computing features", num_ready + start, num_rows)
        if not np.isfinite(out_NF).all():
            raise DivergedError(
                f"{what}: every value must be finite, but is not; name other weights"
            )

    def _opened(self, folder: ImageFolder, stored_as: Split) -> Callable[[], DecodedFolder]:
        """What decodes a folder when it is first asked for."""
        return cache(partial(decode_split, self._spec, stored_as, folder, progress=self._progress))

    def _as_they_are(
        self, decoded: Callable[[], DecodedFolder], rows: _Rows, *, is_mirrored: bool
    ) -> Iterator[Tensor]:
        framing = framing_of(self._spec)
        mean_C11, std_C11 = pixel_statistics(
            self._spec.dataset, self._spec.model.input_channels, self._device
        )
        for images_NHWC, _ in self._blocks(decoded(), rows):
            images_NCHW = normalize_batch(framing.input_of(images_NHWC), mean_C11, std_C11)
            yield images_NCHW.flip(-1) if is_mirrored else images_NCHW

    def _view(self, decoded: Callable[[], DecodedFolder], view: int) -> Iterator[Tensor]:
        is_cut = framing_of(self._spec).cut is not None
        seed = np.random.SeedSequence([VIEW_SEED, view]).generate_state(1, np.uint64)[0]
        augment = BatchAugment(self._spec, int(seed >> 1), self._device)
        for images_NHWC, sizes_N2 in self._blocks(decoded(), (0, len(decoded().images))):
            # A cut picture has the sides that it is stored with, whatever its file's are.
            yield augment(images_NHWC, None if is_cut else sizes_N2)

    def _blocks(self, decoded: DecodedFolder, rows: _Rows) -> Iterator[tuple[Tensor, Tensor]]:
        bank = ImageBank(decoded.images, self._device, resident=False)
        for start in range(*rows, _BLOCK):
            part = np.arange(start, min(start + _BLOCK, rows[1]), dtype=np.int64)
            yield bank.take(part), torch.from_numpy(decoded.sizes[part])


def _parts_of(num_images: int) -> list[_Rows]:
    """Whole blocks of a folder's pictures, in no more than `_MOST_PARTS`."""
    step = _BLOCK * math.ceil(num_images / (_BLOCK * _MOST_PARTS))
    return [(first, min(first + step, num_images)) for first in range(0, num_images, step)]


def _read(target: Path) -> FeatureSet:
    facts = json.loads((target / META).read_text(encoding="utf-8"))
    return FeatureSet(features_VNF=map_array(target / "features.npy"), facts=facts)
