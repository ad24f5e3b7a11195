"""Inspects the images of a spec and reports what is unusual.

What makes them useless is raised, in one line; what merely deserves a look is a finding.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.config.root import Spec
from trainer.data.class_map import read_class_map
from trainer.data.folder import ImageFolder
from trainer.data.framing import framing_of, input_size
from trainer.data.names import alike, name_bytes, name_key, told_alike
from trainer.data.notes import counted, name_list
from trainer.data.splits import (
    SPLIT_KEYS,
    LabelledImages,
    Split,
    label_splits,
    load_splits,
    match_splits,
    num_workers,
    scan_splits,
)
from trainer.doctor.findings import finding
from trainer.doctor.folders import missing_classes, noted, single_class, small_classes, uneven
from trainer.errors import DataError
from trainer.following import differences
from trainer.metrics import share_of
from trainer.spec import parse_spec

if TYPE_CHECKING:
    import numpy.typing as npt

    from trainer.data.decoding import Progress
    from trainer.data.framing import ImageSize

_ANSWERS: dict[str, dict[str, Any]] = {}
"""The newest answers of this process, by what was asked."""
_KEPT = 8
_WORTH_SHRINKING = 0.75
"""Part of an input's pixels below which a smaller one is recommended."""
_LITTLE_SEEN = 0.5
"""Where less than this part of a picture is seen, the review says so; of a 4:3 picture more is."""
_SHOWS_MORE = (
    ": their short side is resized and the middle kept; --set dataset.crop_share=0 shows them "
    "whole but squashed, an input of their shape (model.input_height, model.input_width) nearly "
    "whole"
)


def inspect_data(
    spec: Spec,
    progress: Progress | None = None,
    *,
    opens: bool = True,
    beside: Spec | Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Look at every image of every split that the spec names.

    Decoding them all is the only way to find a broken one; what is decoded stays in the cache, so
    the training that follows does not decode again. A search asks several times before its first
    trial: while spec and files are the same, the answer is kept.

    Args:
        spec: a train spec with its sources.
        progress: called with (what, done, total) while images are decoded.
        opens: False opens no picture, and finds what folders and lists alone show.
        beside: the spec of a search whose held-out pictures these are. Findings are those beyond
            its own, of its queries against these too, and call these `test`.

    Returns:
        `{"splits": {name: {"images", "classes", "per_class_min", "per_class_max"}}, "findings":
        [{"kind", "severity", "message", "paths", "count"}]}`, and with queries `share_of`, see
        `trainer.metrics.share_of`.

    Raises:
        DataError: a folder is missing or empty, a training class has one image, or query classes
            are not in the reference.
        ImageError: files that cannot be decoded.
        SpecError, CredentialError, InfrastructureError: the sources cannot be reached.
    """
    folders = scan_splits(spec)
    if not opens:
        return _listed(spec, folders)
    key = f"{_signature(spec, folders)} {beside is None}"
    if key not in _ANSWERS:
        _ANSWERS[key] = _inspect(spec, folders, progress, compares=beside is None)
        for oldest in list(_ANSWERS)[:-_KEPT]:
            _ANSWERS.pop(oldest, None)
    told = copy.deepcopy(_ANSWERS[key])
    return told if beside is None else told | {"findings": _held_out(told, folders, beside)}


def _signature(spec: Spec, folders: dict[Split, ImageFolder]) -> str:
    """Digest of a spec, of its class map, and of the names, sizes and times of its files."""
    asked = f"{spec!r} {read_class_map(spec.dataset.class_map)} {noted(folders)}"
    found = hashlib.sha256(name_bytes(asked))
    for name, folder in folders.items():
        found.update(f"{name} {folder.root} {folder.classes}".encode("utf-8", "surrogateescape"))
        for relative, label in zip(folder.paths, folder.labels, strict=True):
            facts = (folder.root / relative).stat()
            times = f"{facts.st_mtime_ns} {facts.st_ctime_ns} {facts.st_ino}"
            found.update(name_bytes(f"{relative} {label} {facts.st_size} {times}\n"))
    return found.hexdigest()


def _inspect(
    spec: Spec, folders: dict[Split, ImageFolder], progress: Progress | None, *, compares: bool
) -> dict[str, Any]:
    """What shows of the pictures; without `compares` no file is compared with another."""
    told = _listed(spec, folders)
    findings = told["findings"] + (_duplicates(folders, num_workers(spec)) if compares else [])
    splits = load_splits(spec, progress=progress, folders=folders)
    findings += [*_cut_away(spec, splits), *_small(spec, splits), *_deep(spec, splits["train"])]
    return {**told, "findings": findings}


def _held_out(
    told: Mapping[str, Any], folders: dict[Split, ImageFolder], beside: Spec | Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Findings of held-out pictures beyond those of their search, which has read its own."""
    searched = beside if isinstance(beside, Spec) else parse_spec(beside, "train")
    parts: dict[Any, ImageFolder] = {**scan_splits(searched)}
    gallery = parts.get("reference")
    parts["test"] = folders["query"]
    if gallery is None or folders["reference"].identity != gallery.identity:
        parts["test_reference"] = folders["reference"]
    known = inspect_data(searched)["findings"]
    own = [f for f in told["findings"] if f not in known]
    compared = _duplicates(parts, num_workers(searched))
    return [
        *(f | {"message": _as_held_out(f["message"])} for f in own),
        *(f for f in compared if f not in known),
    ]


def _as_held_out(message: str) -> str:
    """A message that begins with the names of held-out splits."""
    name, colon, rest = message.partition(": ")
    names = {"query": "test", "reference": "test_reference"}
    return f"{names[name]}{colon}{rest}" if name in names else f"test: {message}"


def _listed(spec: Spec, folders: dict[Split, ImageFolder]) -> dict[str, Any]:
    """What shows without opening a picture."""
    _demand_pairs(folders["train"])
    match = match_splits(spec, folders)
    _demand_classes(folders)
    label_splits(spec, folders)  # refuses a class map that does not fit
    # Texts beside pictures are usual.
    findings = [n for n in noted(folders) if n["kind"] != "text_file"]
    findings += _drawn(spec, folders["train"])
    findings += [*_twins(folders), *missing_classes(folders), *_unmatched(spec, folders)]
    findings += [finding("preprocessing", "warning", line) for line in differences(spec)]
    told: dict[str, Any] = {
        "splits": {n: f.summary() for n, f in folders.items()},
        "findings": findings,
    }
    if match is not None:
        told["share_of"] = share_of(match.labels, over_classes=spec.train.report_accuracy_per_class)
    return told


def _demand_pairs(train: ImageFolder) -> None:
    counts = train.counts()
    single = [name for name, count in zip(train.classes, counts, strict=True) if count == 1]
    if single:
        raise DataError(
            f"{SPLIT_KEYS['train']}: {train.shown}: every class needs two pictures to learn "
            f"from, {len(single)} of {len(train.classes)} have one: {name_list(single)}; "
            "add pictures or remove the class"
        )


def _demand_classes(folders: dict[Split, ImageFolder]) -> None:
    """Refuse what holds one class: in such a gallery every query finds its own."""
    for name in ("train", "reference"):
        if name in folders and len(folders[name].classes) < 2:
            folder = folders[name]
            raise DataError(f"{SPLIT_KEYS[name]}: {folder.shown}: {single_class(folder)}")


def _drawn(spec: Spec, train: ImageFolder) -> list[dict[str, Any]]:
    """What the numbers of pictures make of training batches."""
    sampling, instances = spec.dataset.sampling, spec.dataset.num_instance
    if sampling == "classes":
        return [
            *small_classes("train", train, instances, "info"),
            *uneven("train", train, "info", sampling),
        ]
    return uneven("train", train, "warning", sampling)


def _twins(folders: dict[Split, ImageFolder]) -> list[dict[str, Any]]:
    """Class names that a person would take for one; those of all splits together, once."""
    where = {label: folder for folder in folders.values() for label in folder.classes}
    return [
        finding(
            "similar_classes", "warning", told_alike(names),
            (where[label].folder_of(label) for label in names),
        )
        for names in alike(sorted(where))
    ]  # fmt: skip


def _unmatched(spec: Spec, folders: dict[Split, ImageFolder]) -> list[dict[str, Any]]:
    match = match_splits(spec, folders)
    if match is None or not match.dropped_classes:
        return []
    message = (
        f"query: {counted(len(match.dropped_classes), 'class', 'classes')} "
        f"({counted(match.dropped_images, 'picture')}) left out, as not in the reference: "
        f"{name_list(match.dropped_classes)}"
    )
    paths = map(folders["query"].folder_of, match.dropped_classes)
    return [finding("unmatched_class", "warning", message, paths)]


def _deep(spec: Spec, train: LabelledImages) -> list[dict[str, Any]]:
    """Say which samples of deep pictures are black and white, where nobody has set them."""
    if train.value_range is None or spec.dataset.value_range is not None:
        return []
    low, high = train.value_range
    message = (
        f"of pictures of more than 8 bits a channel, {low:g} is read as black and {high:g} as "
        "white; dataset.value_range sets other values"
    )
    return [finding("value_range", "info", message)]


def _cut_away(spec: Spec, splits: dict[Split, LabelledImages]) -> list[dict[str, Any]]:
    """Say how much of long pictures is seen, where the middle is cut out; the advice once."""
    size, cut = input_size(spec), framing_of(spec).cut
    found: list[dict[str, Any]] = []
    if cut is None:
        return found
    for name, split in splits.items():
        edges_N2 = split.sizes.astype(np.float64)
        scales_N = (edges_N2 / cut.resized).min(axis=1)
        seen_N = size.height * size.width * scales_N**2 / edges_N2.prod(axis=1)
        little = np.flatnonzero(seen_N < _LITTLE_SEEN)
        if not len(little):
            continue
        message = (
            f"{name}: the network sees less than half of {len(little)} of {len(seen_N)} pictures "
            f"(median {np.median(seen_N[little]):.0%}, least {seen_N.min():.0%})"
        ) + ("" if found else _SHOWS_MORE)
        found.append(finding("cut_image", "warning", message, (split.paths[i] for i in little)))
    return found


def _small(spec: Spec, splits: dict[Split, LabelledImages]) -> list[dict[str, Any]]:
    size, cut, found = input_size(spec), framing_of(spec).cut, []
    for name, split in splits.items():
        if cut is None:
            small = np.any(split.sizes < np.array([size.height, size.width]), axis=1)
            needed = f"the input ({size.height} x {size.width} pixels high and wide)"
        else:
            tall, wide = cut.resized
            small = np.any(split.sizes < np.array([tall, wide]), axis=1)
            needed = (
                f"what they are resized to ({tall} x {wide} pixels high and wide, of which the "
                f"network sees {size.height} x {size.width})"
            )
        if small.any():
            are = "is" if small.sum() == 1 else "are"
            message = f"{name}: {small.sum()} of {len(small)} pictures {are} smaller than {needed}"
            if name == "train":
                message += _enough(split.sizes * (cut.share if cut else 1.0), size)
            paths = (split.paths[i] for i in np.flatnonzero(small))
            found.append(finding("small_image", "info", message, paths))
    return found


def _enough(sizes_N2: npt.NDArray[Any], size: ImageSize) -> str:
    """Name a smaller input that nine of ten images fit, where there is one.

    Args: sizes_N2: height and width of what the network sees of each image. size: the input.
    """
    step = 32  # trunks halve their input five times
    high, wide = (
        min(math.ceil(edge / step) * step, most)
        for edge, most in zip(
            np.percentile(sizes_N2, 90, axis=0), (size.height, size.width), strict=True
        )
    )
    part = high * wide / (size.height * size.width)
    if part > _WORTH_SHRINKING:
        return ""
    return (
        f"; model.input_height={high} and model.input_width={wide} show as much, "
        f"at {part:.0%} of the work"
    )


def _duplicates(folders: Mapping[Any, ImageFolder], workers: int) -> list[dict[str, Any]]:
    """The same bytes in two splits, or under two classes of one: either way a figure lies."""
    places: dict[Any, list[str]] = defaultdict(list)
    for name, folder in folders.items():
        places[folder.identity].append(name)
    found = [
        finding(
            "same_folder",
            "warning",
            f"{' and '.join(names)} are the same "
            f"{'pictures' if folders[names[0]].source else 'folder'}",
            [folders[names[0]].root],
        )
        for names in places.values()
        if len(names) > 1
    ]
    once = {names[0]: folders[names[0]] for names in places.values()}
    crossing: dict[tuple[str, ...], list[Path]] = defaultdict(list)
    conflicts: list[Path] = []
    for group in _same_content(once, workers):
        names = tuple(sorted({name for name, _, _ in group}))
        paths = [path for _, _, path in group]
        if len({label for _, label, _ in group}) > 1:
            conflicts += paths
        elif len(names) > 1:
            crossing[names] += paths
    found += [
        finding(
            "duplicate_across_splits",
            "warning",
            f"{counted(len(paths), 'file')} with the same content in {' and '.join(names)}",
            paths,
        )
        for names, paths in sorted(crossing.items())
    ]
    if conflicts:
        message = f"{counted(len(conflicts), 'file')} with the content of a file of another class"
        found.append(finding("conflicting_labels", "warning", message, conflicts))
    return found


def _same_content(
    folders: Mapping[str, ImageFolder], workers: int
) -> list[list[tuple[str, str, Path]]]:
    """Groups of equal files as (split, class, path); only files of equal size are read.

    A class is its `name_key`: two spellings of Unicode are one.
    """
    by_size: dict[int, list[tuple[str, str, Path]]] = defaultdict(list)
    for name, folder in folders.items():
        for relative, label in zip(folder.paths, folder.labels, strict=True):
            path = folder.root / relative
            by_size[path.stat().st_size].append((name, name_key(folder.classes[label]), path))
    candidates = [item for group in by_size.values() if len(group) > 1 for item in group]
    by_content: dict[bytes, list[tuple[str, str, Path]]] = defaultdict(list)
    with ThreadPoolExecutor(workers) as pool:
        digests = pool.map(_digest, (path for _, _, path in candidates))
        for item, digest in zip(candidates, digests, strict=True):
            by_content[digest].append(item)
    return [group for group in by_content.values() if len(group) > 1]


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, partial(hashlib.blake2b, digest_size=16)).digest()
