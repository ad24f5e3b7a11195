"""The three splits that a spec names: where they are, their decoded images, and their labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from trainer.cores import usable_cores
from trainer.data.cache import open_cached_images
from trainer.data.class_map import report_names
from trainer.data.decoding import DecodedFolder, decode_folder
from trainer.data.folder import ImageFolder, MatchedQuery, match_classes
from trainer.data.framing import ImageSize, framing_of, input_size
from trainer.data.sources import open_source
from trainer.data.value_range import resolved
from trainer.errors import CredentialError, DataError, SpecError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from trainer.config.root import Spec
    from trainer.data.decoding import Progress
    from trainer.data.deep import ValueRange

Split = Literal["train", "reference", "query"]

SPLIT_KEYS: dict[Split, str] = {
    "train": "dataset.train_dataset",
    "reference": "dataset.val_dataset.reference",
    "query": "dataset.val_dataset.query",
}
"""Where in the spec each split is named."""

_STORED_OVER_INPUT = (2.0, 1.5, 8 / 7)
_MOST_STORED_BYTES = 8e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """What is known of the pictures of one split without opening them."""

    labels: NDArray[np.int64]
    """(N,), an index into `class_names`."""
    class_names: tuple[str, ...]
    """As reported: `dataset.class_map` applied."""
    paths: tuple[Path, ...]
    """The files, in the order of the images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImages(Labelled):
    """Decoded images of one split with what is known of them."""

    images: NDArray[np.uint8]
    """(N, H, W, C) at `stored_size`; a read-only memory map where the cache is used."""
    sizes: NDArray[np.int32]
    """Upright height and width of each file, (N, 2)."""
    value_range: ValueRange | None = None
    """Samples that became black and white in deep pictures; None where there are none."""


def stored_size(spec: Spec, name: Split, num_images: int) -> ImageSize:
    """What the images of a split are stored at.

    Cut pictures are stored with the margin around the network's input, in every split: evaluation
    takes the input out of the middle, training takes crops of all of it. Squashed ones are stored
    at the input size, and above it for training, as crops of them are enlarged: twice the input
    keeps crops as sharp as those of the files themselves; large sets are stored smaller, so that
    they fit.
    """
    size, cut = input_size(spec), framing_of(spec).cut
    if cut is not None:
        tall, wide = cut.resized
        return ImageSize(height=tall, width=wide, channels=size.channels)
    if name != "train":
        return size
    pixels = num_images * size.height * size.width * size.channels
    fitting = [f for f in _STORED_OVER_INPUT if pixels * f * f <= _MOST_STORED_BYTES]
    factor = fitting[0] if fitting else _STORED_OVER_INPUT[-1]
    return ImageSize(
        height=round(size.height * factor),
        width=round(size.width * factor),
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
        SpecError, DataError, CredentialError: as the steps of it; the message starts with the key.
    """
    uris = split_uris(spec, need_train=need_train)
    return {name: _scan(name, uri) for name, uri in uris.items()}


def match_splits(spec: Spec, folders: dict[Split, ImageFolder]) -> MatchedQuery | None:
    """Match the queries to the reference as the spec wants it; None without queries.

    Raises:
        DataError: query classes that the reference lacks.
    """
    if "query" not in folders:
        return None
    try:
        return match_classes(
            folders["reference"],
            folders["query"],
            ignore_unmatched=spec.dataset.ignore_unmatched,
        )
    except DataError as error:
        raise DataError(f"{SPLIT_KEYS['query']}: {error}") from error


def load_splits(
    spec: Spec,
    *,
    need_train: bool = True,
    progress: Progress | None = None,
    folders: dict[Split, ImageFolder] | None = None,
) -> dict[Split, LabelledImages]:
    """Decoded images of every split that the spec names, queries matched to the reference.

    Args:
        spec: `dataset` and `model` are used.
        need_train: False where only reference and query are used.
        progress: called with (what, done, total) while images are decoded.
        folders: what `scan_splits` found, if it was called before.

    Raises:
        SpecError, DataError, CredentialError, ImageError, InfrastructureError: as the steps of it.
    """
    folders = folders or scan_splits(spec, need_train=need_train)
    labelled = label_splits(spec, folders)
    match = match_splits(spec, folders)
    spec = resolved(spec, folders, progress)
    splits: dict[Split, LabelledImages] = {}
    for name, folder in folders.items():
        decoded = decode_split(spec, name, folder, progress=progress)
        images, sizes = decoded.images, decoded.sizes
        if name == "query" and match is not None and len(match.keep) < len(images):
            images, sizes = images[match.keep], sizes[match.keep]
        splits[name] = LabelledImages(
            images=images,
            sizes=sizes,
            labels=labelled[name].labels,
            class_names=labelled[name].class_names,
            paths=labelled[name].paths,
            value_range=spec.dataset.value_range,
        )
    return splits


def label_splits(spec: Spec, folders: dict[Split, ImageFolder]) -> dict[Split, Labelled]:
    """Labels of every split, the queries' in the reference's index; no picture is opened.

    Raises:
        SpecError, DataError: as `match_splits`, and for a `dataset.class_map` that does not fit.
    """
    match = match_splits(spec, folders)
    splits: dict[Split, Labelled] = {
        name: Labelled(
            labels=folder.labels,
            class_names=report_names(spec.dataset.class_map, folder.classes),
            paths=tuple(folder.root / path for path in folder.paths),
        )
        for name, folder in folders.items()
        if name != "query"
    }
    if match is not None:
        query = folders["query"]
        splits["query"] = Labelled(
            labels=match.labels,
            class_names=splits["reference"].class_names,
            paths=tuple(query.root / query.paths[i] for i in match.keep),
        )
    return splits


def decode_split(
    spec: Spec, name: Split, folder: ImageFolder, *, progress: Progress | None = None
) -> DecodedFolder:
    """Decoded images of one folder as this split stores them, from the cache where it is used.

    Args:
        spec: `dataset` and `model` are used; `trainer.data.value_range.resolved` comes before.
        name: `train` for images that are augmented, another split for images as they are.
        folder: what `scan_folder` found.
        progress: called with (what, done, total) while images are decoded.
    """
    size, framing = stored_size(spec, name, len(folder.paths)), framing_of(spec)
    read = open_cached_images if spec.dataset.cache else decode_folder
    return read(folder, size, framing, progress=progress, workers=num_workers(spec))


def num_workers(spec: Spec) -> int:
    """Decoding threads: what the spec allows, and no more than there are cores."""
    return max(1, min(spec.dataset.workers, usable_cores()))


def _scan(name: Split, uri: str) -> ImageFolder:
    try:
        return open_source(uri, name)
    except (DataError, CredentialError) as error:
        raise type(error)(f"{SPLIT_KEYS[name]}: {error}") from error
