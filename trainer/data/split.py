"""Split one folder of classes into the five sources of a search, by links: nothing is copied."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainer.data.folder import ImageFolder
from trainer.data.location import exclusive
from trainer.data.names import name_bytes, name_key, name_text
from trainer.data.notes import name_list
from trainer.data.origin import SPLIT, origin
from trainer.data.sources import find_layout, open_source
from trainer.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_RECORD = SPLIT
_MIN_IMAGES_OF_A_CLASS = 5
"""Two to learn from, one each in reference, query and held-out query."""
_MIN_IMAGES_OF_AN_UNSEEN_CLASS = 2
_MIN_CLASSES_OF_A_PART = 2
_QUERY_SHARE = 0.15
_REFERENCE_SHARE = 0.15
_UNSEEN_SHARE = 0.2
"""Share of the classes that validation and test get each, where classes are disjoint."""

_Parts = dict[str, list[int]]

_logger = logging.getLogger(__name__)


def split_folder(
    folder: str | Path, out: Path, *, seed: int, class_disjoint: bool = False
) -> dict[str, str]:
    """Give each image one place: training, validation or test; a folder of splits has done so.

    With shared classes, every class gives about 70 % of its images to training and 15 % to each of
    reference and the queries, half of these held out; the test looks its queries up in the same
    reference. With disjoint classes, a fifth of the classes each is kept for validation and for
    test, unseen in training, and these have references of their own. The same folder and seed give
    the same split; a class keeps its split when other classes come and go.

    Args:
        folder: class folders, an archive of them, or a folder of splits (`train`, `gallery`, `val`
            and perhaps `test`), which are then used as they are; or an address of one of these.
        out: below it the split gets a folder of its own, which is found again by the same call.
        seed: decides who goes where.
        class_disjoint: whether validation and test are on classes that training never saw.

    Returns:
        Paths of `train`, `reference`, `query`, `test_reference` and `test_query`.

    Raises:
        DataError: classes with too few images (named), too few classes, or splits whose names
            leave a doubt.
    """
    given = _given_splits(str(folder), class_disjoint=class_disjoint)
    if given is not None:
        return given
    source = open_source(str(folder))
    if len(source.classes) < 2:
        raise DataError(
            f"{name_text(str(folder))}: two classes or more must be there to tell apart, got "
            f"{source.classes[0]} "
            "alone; each class is a folder of pictures"
        )
    assign = _by_class if class_disjoint else _by_image
    parts = assign(source, seed)
    target = out / _key(source, seed, class_disjoint=class_disjoint)
    with exclusive(out / f"{target.name}.lock"):
        if not (target / _RECORD).is_file():
            _link(source, parts, target)
    names = ["train", "reference", "query", "test_reference", "test_query"]
    shared = {} if class_disjoint else {"test_reference": "reference"}
    return {name: str((target / shared.get(name, name)).absolute()) for name in names}


def _given_splits(uri: str, *, class_disjoint: bool) -> dict[str, str] | None:
    """The splits that a folder or archive holds already; None where it holds classes."""
    try:
        layout = find_layout(uri)
    except DataError:
        return None  # `open_source` says what is wrong
    if layout is None:
        return None
    if class_disjoint:
        raise DataError(
            f"{name_text(uri)}: holds splits ({layout.splits.names}), so there is nothing to split "
            "by class; leave out --class-disjoint"
        )
    sources = layout.splits.sources()
    if sources is None:
        raise DataError(layout.refusal())
    _logger.warning("%s", layout.usage())
    return sources


def _by_image(source: ImageFolder, seed: int) -> _Parts:
    members = _members(source, seed)
    _demand(source, range(len(members)), _MIN_IMAGES_OF_A_CLASS)
    parts: _Parts = {"train": [], "reference": [], "query": [], "test_query": []}
    for own in members:
        num_reference = max(1, round(len(own) * _REFERENCE_SHARE))
        num_query = max(1, round(len(own) * _QUERY_SHARE / 2))
        ends = np.cumsum([num_reference, num_query, num_query])
        for name, part in zip(
            ("reference", "query", "test_query", "train"), np.split(own, ends), strict=True
        ):
            parts[name] += part.tolist()
    return parts


def _by_class(source: ImageFolder, seed: int) -> _Parts:
    num_classes = len(source.classes)
    num_unseen = max(_MIN_CLASSES_OF_A_PART, round(num_classes * _UNSEEN_SHARE))
    if num_classes < 2 * num_unseen + _MIN_CLASSES_OF_A_PART:
        raise DataError(
            f"{origin(source.root)}: a class-disjoint split needs {3 * _MIN_CLASSES_OF_A_PART} "
            f"classes or more, got {num_classes}"
        )
    _demand(source, range(num_classes), _MIN_IMAGES_OF_AN_UNSEEN_CLASS)
    members = _members(source, seed)
    order = np.random.default_rng([seed, num_classes]).permutation(num_classes)
    parts: _Parts = {n: [] for n in ("train", "reference", "query", "test_reference", "test_query")}
    for place, label in enumerate(order):
        own = members[label]
        if place >= 2 * num_unseen:
            parts["train"] += own.tolist()
            continue
        prefix = "" if place < num_unseen else "test_"
        num_reference = max(1, len(own) // 3)
        parts[f"{prefix}reference"] += own[:num_reference].tolist()
        parts[f"{prefix}query"] += own[num_reference:].tolist()
    return parts


def _members(source: ImageFolder, seed: int) -> list[NDArray[np.int64]]:
    """Image indices of each class in an order of its own, which other classes do not change."""
    ends = np.cumsum(source.counts())[:-1]
    by_class = np.split(np.arange(len(source.labels), dtype=np.int64), ends)
    keys = (name_key(name).encode() for name in source.classes)
    rngs = (np.random.default_rng([seed, zlib.crc32(key)]) for key in keys)
    return [rng.permutation(own) for rng, own in zip(rngs, by_class, strict=True)]


def _demand(source: ImageFolder, labels: range, least: int) -> None:
    counts = source.counts()
    few = [f"{source.classes[i]} ({counts[i]})" for i in labels if counts[i] < least]
    if few:
        raise DataError(
            f"{origin(source.root)}: every class needs {least} images or more to be split, "
            f"{len(few)} of {len(source.classes)} have fewer: {name_list(few)}"
        )


def _key(source: ImageFolder, seed: int, *, class_disjoint: bool) -> str:
    digest = hashlib.blake2b(digest_size=8)
    digest.update(repr((str(source.root.resolve()), seed, class_disjoint)).encode())
    digest.update(name_bytes("\n".join(source.paths)))
    return digest.hexdigest()


def _link(source: ImageFolder, parts: _Parts, target: Path) -> None:
    draft = target.with_name(f"{target.name}.tmp")
    shutil.rmtree(draft, ignore_errors=True)
    root = source.root.resolve()
    for name, indices in parts.items():
        for index in indices:
            link = draft / name / source.paths[index]
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(root / source.paths[index])
    counts = {name: len(indices) for name, indices in parts.items()}
    (draft / _RECORD).write_text(json.dumps({"source": str(root), "images": counts}, indent=1))
    draft.rename(target)
