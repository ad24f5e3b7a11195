"""All that training and validation of a head read, in place of `trainer.data.batches`.

Batches come in the order in which the pictures would come: the same seed draws the same pictures.
Of each picture an epoch sees one view, drawn by the run's seed and the epoch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from trainer.config.shape import flatten
from trainer.data.batches import make_sampler, run_seed
from trainer.data.framing import framing_of
from trainer.data.image_bank import ImageBank, held_bytes
from trainer.data.splits import Labelled, Split, label_splits, match_splits, scan_splits
from trainer.data.value_range import resolved
from trainer.distributed import Rank
from trainer.embedding import needed
from trainer.features.source import FeatureSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import nn

    from trainer.config.root import Spec
    from trainer.data.decoding import Progress
    from trainer.data.folder import ImageFolder

_VIEWS_OF_EPOCH = 1
"""Keeps the draws of views apart from the sampler's, which are made from seed and epoch too."""


class FeatureData:
    """The splits of one spec as features on one device; made by `build_feature_data`.

    Attributes:
        train: what is known of the training pictures.
        reference: of the gallery, None where the spec names none.
        query: of the pictures that are looked up in it, labels in the reference's index.
        framing: how the pictures are brought to the trunk.
        facts: what the training features were made with (`FeatureSet.facts`), once loaded.
    """

    def __init__(
        self, spec: Spec, device: torch.device, folders: dict[Split, ImageFolder], share: Rank
    ) -> None:
        labelled = label_splits(spec, folders)
        self.train: Labelled = labelled["train"]
        self.reference = labelled.get("reference")
        self.query = labelled.get("query")
        self.framing = framing_of(spec)
        self.facts: dict[str, Any] = {}
        self._spec = spec
        self._device = device
        self._folders = folders
        self._share = share
        self._match = match_splits(spec, folders)
        self._seed = run_seed(spec)
        self._banks: dict[tuple[Split, bool], ImageBank] = {}
        self._sampler = make_sampler(spec, self.train.labels, self._seed, share)

    @property
    def num_classes(self) -> int:
        """Training classes."""
        return len(self.train.class_names)

    @property
    def num_batches(self) -> int:
        """Training batches per epoch and process."""
        return len(self._sampler)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the pictures that the trunk saw."""
        size = self.facts["size"]
        return size["channels"], size["height"], size["width"]

    @property
    def sampling(self) -> str:
        """How training batches are drawn, as the object that draws them says."""
        return self._sampler.name

    @property
    def applied_preprocessing(self) -> dict[str, Any]:
        """Keys of `dataset` that decided what the trunk saw, as the set of features holds them."""
        return flatten({"dataset": self.facts["preprocessing"]})

    @property
    def applied_augmentation(self) -> dict[str, Any]:
        """Keys of `dataset` that the views were made with, as the set of features holds them."""
        changes = self.facts["augmentation"]
        views = 0 if changes is None else self.facts["views"]
        applied = flatten({"dataset": changes}) if changes else {}
        return {"dataset.feature_views": views, **applied}

    def load(
        self, trunk: nn.Module, *, use_bf16: bool = False, progress: Progress | None = None
    ) -> None:
        """Find or compute the features of every split; the arguments are `FeatureSource`'s.

        Raises:
            TrainerError: as `FeatureSource.clean`.
        """
        source = FeatureSource(self._spec, trunk, use_bf16=use_bf16, progress=progress)
        is_changed = self._spec.dataset.feature_views > 0
        train = self._folders["train"]
        found = source.changed(train) if is_changed else source.clean(train)
        self.facts = found.facts
        rows_RF = found.features_VNF.reshape(-1, source.num_features)
        self._banks = {("train", False): ImageBank(rows_RF, self._device)}
        for name in ("reference", "query"):
            if name not in self._folders:
                continue
            for is_mirrored in (False, True) if self._spec.dataset.flip_average else (False,):
                found = source.clean(self._folders[name], is_mirrored=is_mirrored)
                features_NF = found.features_VNF[0]
                if name == "query" and self._match is not None:
                    features_NF = features_NF[self._match.keep]
                held = held_bytes(self._banks.values())
                bank = ImageBank(features_NF, self._device, held_bytes=held)
                self._banks[name, is_mirrored] = bank

    def train_batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of one epoch.

        Args:
            epoch: counted from 0; with the run's seed it decides every draw.

        Yields:
            float32 features (N, F) and int64 labels (N,), both on the device.
        """
        rows_N = self.rows(epoch)
        for indices in self.batches(epoch):
            labels_N = torch.from_numpy(self.train.labels[indices])
            yield self._take("train", rows_N[indices]), labels_N.to(self._device, non_blocking=True)

    def batches(self, epoch: int) -> Iterator[NDArray[np.int64]]:
        """Picture numbers of each batch of an epoch."""
        return self._sampler.batches(epoch)

    def rows(self, epoch: int) -> NDArray[np.int64]:
        """Return for each picture the row of its view in this epoch, among all views in order."""
        num = len(self.train.labels)
        rng = np.random.default_rng([self._seed, epoch, _VIEWS_OF_EPOCH])
        views_N = rng.integers(0, self.facts["views"], num)
        return views_N * num + np.arange(num)

    def eval_batches(
        self, split: Split, batch_size: int, *, is_mirrored: bool = False
    ) -> Iterator[Tensor]:
        """All features of a split in order; the last batch may be smaller.

        Args:
            split: which one.
            batch_size: rows in a batch.
            is_mirrored: of the mirror images, which are loaded for `dataset.flip_average` alone.

        Raises:
            SpecError: the spec names no such split.
        """
        labelled: Labelled = needed(getattr(self, split), f"val_dataset.{split}")
        order = np.arange(len(labelled.labels), dtype=np.int64)
        for start in range(0, len(order), batch_size):
            yield self._take(split, order[start : start + batch_size], is_mirrored=is_mirrored)

    def _take(self, name: Split, rows: NDArray[np.int64], *, is_mirrored: bool = False) -> Tensor:
        return self._banks[name, is_mirrored].take(rows).to(self._device, non_blocking=True)


def build_feature_data(
    spec: Spec, device: torch.device | str, *, share: Rank | None = None
) -> FeatureData:
    """Stage, scan and label every split that the spec names; features are loaded afterwards.

    Args:
        spec: `dataset`, `model`, `train.batch_size` and `train.seed` are used.
        device: where batches are wanted.
        share: this process's part of the training batches, where several train together.

    Raises:
        TrainerError: as `trainer.data.batches.build_data`.
    """
    folders = scan_splits(spec)
    return FeatureData(resolved(spec, folders), torch.device(device), folders, share or Rank())
