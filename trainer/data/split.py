"""Split one folder of classes into the five sources of a search: nothing is copied.

The parts of a folder are folders of links, those of a list are lists.
"""

from __future__ import annotations

import hashlib
import json
import logging
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainer.data.folder import ImageFolder
from trainer.data.group_split import connected_classes, divide_groups
from trainer.data.groups import group_pictures, refuse_leaks
from trainer.data.layout import missing_sources
from trainer.data.lists import GROUP, is_list, write_list
from trainer.data.location import make_once
from trainer.data.names import name_bytes, name_key, name_text
from trainer.data.notes import and_list, name_list
from trainer.data.origin import SPLIT
from trainer.data.sources import find_layout, open_list, open_source
from trainer.data.staging import pinned
from trainer.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainer.data.decoding import Progress

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
    folder: str | Path, out: Path, *, seed: int, class_disjoint: bool = False, group_by: str = ""
) -> dict[str, str]:
    """Give each image one place: training, validation or test; a folder of splits has done so.

    With shared classes, every class gives about 70 % of its images to training and 15 % to each of
    reference and the queries, half of these held out; the test looks its queries up in the same
    reference. With disjoint classes, a fifth of the classes each is kept for validation and for
    test, unseen in training, and these have references of their own. The same folder and seed give
    the same split; with shared classes a class keeps its split when others come and go.

    Args:
        folder: class folders, an archive of them, a list of pictures, or a folder of splits
            (`train`, `gallery`, `val` and perhaps `test`) or a list with a column `split`, which
            are then used as they are; or an address of one of these but a list.
        out: below it the split gets a folder of its own, which is found again by the same call.
        seed: decides who goes where.
        class_disjoint: whether validation and test are on classes that training never saw.
        group_by: what pictures have in common that must not be in two splits, as of
            `trainer.data.groups.group_pictures`; default: a list's column `group`, if it has one.

    Returns:
        Paths of `train`, `reference`, `query`, `test_reference` and `test_query`.

    Raises:
        DataError: classes with too few images (named), too few classes, or splits whose names
            leave a doubt, or share groups.
        SpecError: a `group_by` that fits no picture.
    """
    given = find_given_splits(str(folder), class_disjoint=class_disjoint)
    if given is not None:
        if given.usage:
            _logger.warning("%s", given.usage)
        return settle_sources(given.sources, out, group_by=group_by)
    source = open_source(str(folder))
    groups_N = find_groups(source, group_by)
    parts = divide(source, groups_N, seed=seed, class_disjoint=class_disjoint)
    target = _written(source, parts, out)
    names = ["train", "reference", "query", "test_reference", "test_query"]
    shared = {} if class_disjoint else {"test_reference": "reference"}
    return {name: _place(source, target, shared.get(name, name)) for name in names}


def settle_sources(sources: Mapping[str, str], out: Path, *, group_by: str = "") -> dict[str, str]:
    """Make given sources ready, so that all trials of a search have the same.

    Of a list with several splits each takes the rows of its own; what lies behind an address is
    fetched, and stays what it is now (`trainer.data.staging.pinned`).

    Args:
        sources: `train`, `reference`, `query`, `test_reference`, `test_query` -> what was named.
        out: below it such rows are kept as lists of their own.
        group_by: what queries must not have in common with other pictures; see
            `trainer.data.groups.find_leaks`.

    Raises:
        DataError: no row is of a split, or groups are in two splits.
        DataError, CredentialError: as `trainer.data.staging.stage`.
    """
    settled = dict(sources)
    for name, uri in sources.items():
        if is_list(uri) and open_list(uri).counts():
            rows = open_source(uri, name)
            target = _written(rows, {name: list(range(len(rows.paths)))}, out)
            settled[name] = _place(rows, target, name)
        else:
            settled[name] = pinned(uri)
    if group_by:
        refuse_leaks({name: open_source(uri, name) for name, uri in settled.items()}, group_by)
    return settled


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenSplits:
    """The splits that a folder, archive or list holds already."""

    sources: Mapping[str, str]
    usage: str = ""
    """What folders are used as, in one line; a list says so itself."""


def find_given_splits(uri: str, *, class_disjoint: bool) -> GivenSplits | None:
    """Look for splits in what is to be split; None where it holds classes.

    Raises:
        DataError: it cannot be told what they are, some are missing, or they were to be made.
    """
    if is_list(uri):
        counts = open_list(uri).counts()
        if not counts:
            return None
        _refuse_disjoint(uri, and_list(list(counts)), class_disjoint=class_disjoint)
        if missing := missing_sources(counts):
            held = and_list([f"{name} ({number})" for name, number in counts.items()])
            needed = "test_query beside test_reference"
            needed = needed if missing == ["test_query"] else "train, reference and query"
            raise DataError(
                f"{name_text(uri)}: the column split must mark rows as {needed}; "
                f"none is {and_list(missing)}, it holds {held}; mark some, or leave the column out "
                "to have the pictures split"
            )
        return GivenSplits(sources=dict.fromkeys(counts, uri))
    try:
        layout = find_layout(uri)
    except DataError:
        return None  # `open_source` says what is wrong
    if layout is None:
        return None
    _refuse_disjoint(uri, layout.splits.names, class_disjoint=class_disjoint)
    sources = layout.splits.sources()
    if sources is None:
        raise DataError(layout.refusal())
    return GivenSplits(sources=sources, usage=layout.usage())


def _refuse_disjoint(uri: str, names: str, *, class_disjoint: bool) -> None:
    if class_disjoint:
        raise DataError(
            f"{name_text(uri)}: holds splits ({names}), so there is nothing to split "
            "by class; leave out --class-disjoint"
        )


def find_groups(
    source: ImageFolder, group_by: str, progress: Progress | None = None
) -> NDArray[np.int64] | None:
    """Number of each picture's group, None where nobody asks for groups; `group_by` as above.

    Raises:
        SpecError: as `group_pictures`.
    """
    by = group_by or (GROUP if GROUP in source.columns else "")
    return group_pictures([source], by, progress) if by else None


def divide(
    source: ImageFolder, group_N: NDArray[np.int64] | None, *, seed: int, class_disjoint: bool
) -> _Parts:
    """Say which pictures of a source go where; nothing is written.

    Raises:
        DataError: classes with too few images or groups (named), or too few classes.
    """
    if len(source.classes) < 2:
        raise DataError(
            f"{source.shown}: two classes or more must be there to tell apart, got "
            f"{source.classes[0]} alone; each class is a folder of pictures, or a label of a list"
        )
    if group_N is None:
        return _by_class(source, seed) if class_disjoint else _by_image(source, seed)
    if class_disjoint:
        return _groups_by_class(source, group_N, seed)
    return divide_groups(
        source,
        group_N,
        range(len(source.classes)),
        {
            "train": 1.0 - _REFERENCE_SHARE - _QUERY_SHARE,
            "reference": _REFERENCE_SHARE,
            "query": _QUERY_SHARE / 2,
            "test_query": _QUERY_SHARE / 2,
        },
        seed=seed,
        least={"train": 2},
    )


def _groups_by_class(source: ImageFolder, group_N: NDArray[np.int64], seed: int) -> _Parts:
    """Keep classes for validation and test that share no group with the classes of training."""
    num_classes = len(source.classes)
    num_unseen = max(_MIN_CLASSES_OF_A_PART, round(num_classes * _UNSEEN_SHARE))
    order = np.random.default_rng([seed, num_classes]).permutation(num_classes).tolist()
    chosen: dict[str, list[int]] = {"": [], "test_": [], "train": []}
    for block in connected_classes(source.labels, group_N, order):
        room = (part for part in ("", "test_") if len(chosen[part]) + len(block) <= num_unseen)
        chosen[next(room, "train")] += block
    if min(map(len, chosen.values())) < _MIN_CLASSES_OF_A_PART:
        raise DataError(
            f"{source.shown}: a class-disjoint split needs {3 * _MIN_CLASSES_OF_A_PART} classes or "
            f"more that share no group, got {num_classes} classes"
        )
    parts: _Parts = {"train": np.flatnonzero(np.isin(source.labels, chosen["train"])).tolist()}
    for part in ("", "test_"):
        shares = {f"{part}query": 2 / 3, f"{part}reference": 1 / 3}
        parts |= divide_groups(source, group_N, chosen[part], shares, seed=seed, least={})
    return parts


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
            f"{source.shown}: a class-disjoint split needs {3 * _MIN_CLASSES_OF_A_PART} "
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
        ways = "add pictures, or leave these classes out"
        if least > (whole := _MIN_IMAGES_OF_AN_UNSEEN_CLASS):
            ways += f", or keep classes whole (--class-disjoint), which takes {whole}"
        raise DataError(
            f"{source.shown}: every class needs {least} pictures or more to be split, "
            f"{len(few)} of {len(source.classes)} have fewer: {name_list(few)}; {ways}"
        )


def _key(source: ImageFolder, parts: _Parts) -> str:
    """What tells a split from others: the pictures, and who goes where."""
    digest = hashlib.blake2b(digest_size=8)
    digest.update(repr((str(source.root.resolve()), source.source, sorted(parts))).encode())
    digest.update(name_bytes("\n".join((*source.paths, *source.classes))))
    digest.update(source.labels.tobytes())
    for name in sorted(parts):
        digest.update(np.asarray(parts[name], dtype=np.int64).tobytes())
    for name, cells in source.columns.items():
        digest.update(name_bytes("\n".join((name, *cells))))
    return digest.hexdigest()


def _place(source: ImageFolder, target: Path, name: str) -> str:
    return str((target / (f"{name}.csv" if source.source else name)).absolute())


def _written(source: ImageFolder, parts: _Parts, out: Path) -> Path:
    """Return the folder of a split, which is written where it is not there."""
    target = out / _key(source, parts)
    make_once(target, SPLIT, lambda draft: _write(source, parts, draft))
    return target


def _write(source: ImageFolder, parts: _Parts, draft: Path) -> None:
    """Write the parts of a list as lists, those of a folder as folders of links."""
    root = source.root.resolve()
    for name, indices in parts.items():
        if source.source:
            write_list(draft / f"{name}.csv", source, indices)
            continue
        for index in indices:
            link = draft / name / source.paths[index]
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(root / source.paths[index])
    counts = {name: len(indices) for name, indices in parts.items()}
    record = {"source": source.source or str(root), "images": counts}
    (draft / SPLIT).write_text(json.dumps(record, indent=1))
