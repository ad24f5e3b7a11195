"""Builds the data of a run: decoded splits, and batches augmented on the device.

    data = build_data(spec, device)
    for images_NCHW, labels_N in data.train_batches(epoch=0): ...
    for images_NCHW in data.eval_batches("query", batch_size=256): ...

Reference and query share one index of classes, the reference's; the training classes have their
own.
"""

from __future__ import annotations

import functools
import logging
import secrets
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor

from trainer.config.growing import picture_sizes
from trainer.data.augment import BatchAugment
from trainer.data.framing import framing_of
from trainer.data.image_bank import ImageBank, held_bytes
from trainer.data.normalize import normalize_batch, pixel_statistics
from trainer.data.prefetch import ahead, on_own_stream
from trainer.data.sampler import PKSampler, RandomSampler, Sampler
from trainer.data.splits import SPLIT_KEYS, LabelledImages, Split, load_splits, scan_splits
from trainer.data.value_range import with_value_range
from trainer.distributed import Rank, own_share
from trainer.embedding import needed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from trainer.config.dataset import DatasetConfig
    from trainer.config.root import Spec
    from trainer.data.decoding import Progress

_T = TypeVar("_T")

_logger = logging.getLogger(__name__)


class RecognitionData:
    """The splits of one spec on one device; made by `build_data`.

    Args:
        spec: of the run.
        device: where batches are wanted.
        splits: those that were loaded.
        share: this process's part of the training batches.

    Attributes:
        train: training images, None where none are needed.
        reference: the gallery, None where the spec names none.
        query: the images looked up in it, labels in the reference's index.
        framing: how stored pictures were brought to their size and to 8 bits.
        picture_sizes: height and width of training pictures in each epoch.
        mean_C11, std_C11: statistics that pixels are normalised with.
    """

    def __init__(
        self, spec: Spec, device: torch.device, splits: dict[Split, LabelledImages], share: Rank
    ) -> None:
        self.train = splits.get("train")
        self.reference = splits.get("reference")
        self.query = splits.get("query")
        self._device = device
        self._share = share
        self._seed = run_seed(spec)
        self._banks: dict[Split, ImageBank] = {}
        for name, split in splits.items():
            held = held_bytes(self._banks.values())
            self._banks[name] = ImageBank(split.images, device, held_bytes=held)
        self.mean_C11, self.std_C11 = pixel_statistics(
            spec.dataset, spec.model.input_channels, device
        )
        value_range = next((split.value_range for split in splits.values()), None)
        self.framing = framing_of(with_value_range(spec, value_range))
        self.picture_sizes = picture_sizes(spec)
        generator = torch.Generator()
        self._augment = {
            size: BatchAugment(spec, generator, device, size=size)
            for size in dict.fromkeys(self.picture_sizes)
        }
        self._sampler = None
        if self.train is not None:
            self._sampler = make_sampler(spec, self.train.labels, self._seed, share)

    @property
    def augmentation(self) -> DatasetConfig:
        """What training pictures are really changed by, as the object that does it holds it."""
        return self._augment[self.picture_sizes[-1]].dataset

    @property
    def sampling(self) -> str:
        """How training batches are drawn, as the object that draws them says."""
        return needed(self._sampler, "train_dataset").name

    @property
    def num_classes(self) -> int:
        """Training classes."""
        return len(needed(self.train, "train_dataset").class_names)

    @property
    def num_batches(self) -> int:
        """Training batches per epoch and process."""
        return len(needed(self._sampler, "train_dataset"))

    def size_in(self, epoch: int) -> tuple[int, int]:
        """Height and width of training pictures in an epoch, counted from 0."""
        return self.picture_sizes[min(epoch, len(self.picture_sizes) - 1)]

    def train_batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Augmented batches of one epoch.

        Args: epoch: counted from 0; with the run's seed it decides every draw, so an epoch can be
            repeated.

        Yields:
            float32 images (N, C, H, W), channels last, and int64 labels (N,), both on the device.
        """
        batches = self._augmented(epoch)
        # A step leaves cores idle at each of its small operations: the next batch is made in them.
        is_on_cpu = self._device.type == "cpu"
        yield from ahead(batches) if is_on_cpu else on_own_stream(batches, self._device)

    def _augmented(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        split, bank = needed(self.train, "train_dataset"), self._banks["train"]
        sampler = needed(self._sampler, "train_dataset")
        augment = self._augment[self.size_in(epoch)]
        augment.generator.manual_seed(_epoch_seed(self._seed, epoch, self._share.rank))

        def gathered() -> Iterator[tuple[Tensor, Tensor | None, Tensor]]:
            for indices in sampler.batches(epoch):
                # A cut picture has the sides that it is stored with, whatever its file's are.
                sizes = None if self.framing.cut else torch.from_numpy(split.sizes[indices])
                yield bank.take(indices), sizes, torch.from_numpy(split.labels[indices])

        for images_NHWC, sizes_N2, labels_N in self._hidden(gathered(), bank):
            images_NCHW = augment(images_NHWC, sizes_N2)
            yield images_NCHW, labels_N.to(self._device, non_blocking=True)

    def eval_batches(
        self, split: Split, batch_size: int, *, is_mirrored: bool = False
    ) -> Iterator[Tensor]:
        """All images of a split in order, normalised; the last batch may be smaller.

        Of several processes that train together each has its own share of the batches.

        Args:
            split: which one.
            batch_size: images in a batch.
            is_mirrored: give each turned over, left to right.

        Raises:
            SpecError: the spec names no such split.
        """
        bank = needed(self._banks.get(split), f"val_dataset.{split}")
        labelled: LabelledImages = getattr(self, split)
        order = np.arange(len(labelled.labels), dtype=np.int64)
        starts = own_share(range(0, len(order), batch_size))
        parts = (bank.take(order[i : i + batch_size]) for i in starts)
        for images_NHWC in self._hidden(parts, bank):
            seen_NHWC = self.framing.input_of(images_NHWC)
            images_NCHW = normalize_batch(seen_NHWC, self.mean_C11, self.std_C11)
            yield images_NCHW.flip(-1) if is_mirrored else images_NCHW

    def _hidden(self, parts: Iterator[_T], bank: ImageBank) -> Iterator[_T]:
        """Gather ahead in a thread while a GPU computes."""
        is_hidden = self._device.type == "cuda" and not bank.is_resident
        return ahead(parts) if is_hidden else parts


def build_data(
    spec: Spec,
    device: torch.device | str,
    *,
    need_train: bool = True,
    share: Rank | None = None,
    progress: Progress | None = None,
) -> RecognitionData:
    """Stage, scan, decode (or find decoded) and label every split that the spec names.

    Args:
        spec: `dataset`, `model`, `train.batch_size` and `train.seed` are used.
        device: where batches are wanted.
        need_train: False where only reference and query are used.
        share: this process's part of the training batches, where several train together.
        progress: called with (what, done, total) while images are decoded.

    Returns:
        The splits, ready to be iterated.

    Raises:
        SpecError: a source is not given, or sizes and batch cannot be.
        DataError: folders, archives or classes cannot be used.
        ImageError: files that cannot be decoded.
        CredentialError: a store refuses.
    """
    folders = scan_splits(spec, need_train=need_train)
    for name, folder in folders.items():
        for note in folder.notes:
            if note.severity == "warning":
                _warn_once(f"{SPLIT_KEYS[name]}: {folder.shown}: {note.text}")
    splits = load_splits(spec, need_train=need_train, progress=progress, folders=folders)
    return RecognitionData(spec, torch.device(device), splits, share or Rank())


@functools.lru_cache(maxsize=256)
def _warn_once(text: str) -> None:
    """Log a warning; the trials of a search build their data from the same folders."""
    _logger.warning("%s", text)


def make_sampler(spec: Spec, labels: NDArray[np.int64], seed: int, share: Rank) -> Sampler:
    """What draws the training batches of one process, as `dataset.sampling` wants it.

    Raises:
        DataError: there are too few classes, or pictures, for a batch.
    """
    size, part = spec.train.batch_size, {"rank": share.rank, "world_size": share.world_size}
    if spec.dataset.sampling == RandomSampler.name:
        return RandomSampler(len(labels), size, seed, **part)
    return PKSampler(labels, size, spec.dataset.num_instance, seed, **part)


def run_seed(spec: Spec) -> int:
    """`train.seed`, or one that is drawn where that is below 0."""
    return spec.train.seed if spec.train.seed >= 0 else secrets.randbits(31)


def _epoch_seed(seed: int, epoch: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, epoch, rank]).generate_state(1, np.uint64)[0] >> 1)
