"""The three splits that a spec names: where they are, their decoded images, and their labels."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from trainer.data.cache import decode_folder, open_cached_images
from trainer.data.class_map import report_names
from trainer.data.decode import ImageSize
from trainer.data.folder import ImageFolder, match_classes, scan_folder
from trainer.data.staging import stage
from trainer.errors import SpecError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from trainer.config.root import Spec
    from trainer.data.cache import Progress

Split = Literal["train", "reference", "query"]

_STORED_OVER_INPUT = 8 / 7


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImages:
    """Decoded images of one split with what is known of them."""

    images: NDArray[np.uint8]
    """(N, H, W, C); a read-only memory map where the cache is used."""
    sizes: NDArray[np.int32]
    """Upright height and width of each file, (N, 2)."""
    labels: NDArray[np.int64]
    """(N,), an index into `class_names`."""
    class_names: tuple[str, ...]
    """As reported: `dataset.class_map` applied."""
    paths: tuple[Path, ...]
    """The files, in the order of the images."""


def input_size(spec: Spec) -> ImageSize:
    """What the network takes and evaluation images are stored at."""
    model = spec.model
    return ImageSize(
        height=model.input_height, width=model.input_width, channels=model.input_channels
    )


def stored_size(spec: Spec) -> ImageSize:
    """What training images are stored at: larger than the input, as crops of them are enlarged to it."""
    size = input_size(spec)
    return ImageSize(
        height=round(size.height * _STORED_OVER_INPUT),
        width=round(size.width * _STORED_OVER_INPUT),
        channels=size.channels,
    )


def split_uris(spec: Spec, *, need_train: bool = True) -> dict[Split, str]:
    """Sources of the splits that the spec names.

    Raises:
        SpecError: no training set where one is needed, or only one of reference and query.
    """
    val = spec.dataset.val_dataset
    uris: dict[Split, str | None] = {"reference": val.reference, "query": val.query}
    if need_train:
        uris = {"train": spec.dataset.train_dataset, **uris}
        if not spec.dataset.train_dataset:
            raise SpecError("dataset.train_dataset: a folder or archive must be given")
    if val.query and not val.reference:
        raise SpecError("dataset.val_dataset.reference: must be given along with query")
    return {name: uri for name, uri in uris.items() if uri}


def scan_splits(spec: Spec, *, need_train: bool = True) -> dict[Split, ImageFolder]:
    """Stage and list every split that the spec names.

    Raises:
        SpecError, DataError, CredentialError: as `split_uris`, `stage` and `scan_folder`.
    """
    return {
        name: scan_folder(stage(uri))
        for name, uri in split_uris(spec, need_train=need_train).items()
    }


def load_splits(
    spec: Spec, *, need_train: bool = True, progress: Progress | None = None
) -> dict[Split, LabelledImages]:
    """Decoded images of every split that the spec names, queries matched to the reference.

    Raises:
        SpecError, DataError, CredentialError, ImageError, InfrastructureError: as the steps of it.
    """
    folders = scan_splits(spec, need_train=need_train)
    splits = {name: _load(spec, name, folder, progress) for name, folder in folders.items()}
    if "query" in splits:
        splits["query"] = _matched(spec, folders, splits)
    return splits


def num_workers(spec: Spec) -> int:
    """Decoding threads: what the spec allows, and no more than there are cores."""
    return max(1, min(spec.dataset.workers, len(os.sched_getaffinity(0))))


def _load(
    spec: Spec, name: Split, folder: ImageFolder, progress: Progress | None
) -> LabelledImages:
    size = stored_size(spec) if name == "train" else input_size(spec)
    read = open_cached_images if spec.dataset.cache else decode_folder
    cached = read(folder, size, progress=progress, workers=num_workers(spec))
    return LabelledImages(
        images=cached.images_NHWC,
        sizes=cached.sizes_N2,
        labels=folder.labels,
        class_names=report_names(spec.dataset.class_map, folder.classes),
        paths=tuple(folder.root / path for path in folder.paths),
    )


def _matched(
    spec: Spec, folders: dict[Split, ImageFolder], splits: dict[Split, LabelledImages]
) -> LabelledImages:
    """The queries with labels in the reference's index, without those that have no class there."""
    query = splits["query"]
    match = match_classes(
        folders["reference"], folders["query"], ignore_unmatched=spec.dataset.ignore_unmatched
    )
    keeps_all = len(match.keep) == len(query.labels)
    return LabelledImages(
        images=query.images if keeps_all else query.images[match.keep],
        sizes=query.sizes[match.keep],
        labels=match.labels,
        class_names=splits["reference"].class_names,
        paths=tuple(query.paths[i] for i in match.keep),
    )
