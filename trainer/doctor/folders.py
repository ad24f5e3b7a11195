"""Checks folders and class names without opening a picture."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from trainer.data.folder import IMAGE_EXTENSIONS, ImageFolder, empty_classes, name_list
from trainer.doctor.findings import Finding, finding

_IMBALANCE = 20


def folder_findings(folders: Mapping[str, ImageFolder], num_instance: int) -> list[Finding]:
    """Look at the splits' folders; a batch draws `num_instance` pictures of a class."""
    found = []
    for name, folder in folders.items():
        found += [*_empty(name, folder), *_strays(name, folder), *_twins(name, folder)]
        found += _uneven(name, folder)
    for name in ("train", "images"):
        if name in folders:
            found += _few(name, folders[name], num_instance)
    return [*found, *_same_folder(folders), *_unmatched(folders), *_missing(folders)]


def _empty(name: str, folder: ImageFolder) -> list[Finding]:
    empty = empty_classes(folder.root)
    if not empty:
        return []
    text = f"{name}: {len(empty)} class folders hold no picture: {name_list(empty)}"
    return [finding("empty_class", "warning", text, (folder.root / e for e in empty))]


def _strays(name: str, folder: ImageFolder) -> list[Finding]:
    """Files that training will not see although somebody put them there."""
    loose = sorted(p for p in folder.root.iterdir() if p.is_file() and not p.name.startswith("."))
    pictures = [p for p in loose if p.suffix.lower() in IMAGE_EXTENSIONS]
    found = []
    if pictures:
        text = f"{name}: {len(pictures)} pictures lie beside the class folders and are not used"
        found.append(finding("stray_picture", "warning", text, pictures))
    known = {folder.root / path for path in folder.paths}
    inside = (p for c in folder.classes for p in (folder.root / c).rglob("*"))
    others = sorted(
        p
        for p in inside
        if p not in known and p.is_file() and not any(part.startswith(".") for part in p.parts)
    )
    if others:
        kinds = ", ".join(sorted({p.suffix or "no extension" for p in others}))
        text = f"{name}: {len(others)} files are no pictures that can be read ({kinds}); not used"
        found.append(finding("other_file", "info", text, others))
    return found


def _twins(name: str, folder: ImageFolder) -> list[Finding]:
    """Class names that a person would take for one."""
    spelt: dict[str, list[str]] = defaultdict(list)
    for label in folder.classes:
        spelt[plain_name(label)].append(label)
    return [
        finding(
            "similar_classes",
            "warning",
            f"{name}: classes {' and '.join(map(repr, names))} differ in spelling alone",
            (folder.root / n for n in names),
        )
        for names in spelt.values()
        if len(names) > 1
    ]


def plain_name(text: str) -> str:
    """Letters and digits of a name, small; what two spellings share."""
    return re.sub(r"[^0-9a-z]+", "", text.casefold()) or text


def _few(name: str, train: ImageFolder, num_instance: int) -> list[Finding]:
    counts = dict(zip(train.classes, train.counts(), strict=True))
    single = tuple(label for label, count in counts.items() if count == 1)
    few = tuple(label for label, count in counts.items() if 1 < count < num_instance)
    found = []
    if single:
        names = name_list(single)
        text = f"{name}: {len(single)} classes have one picture and nothing to learn: {names}"
        found.append(finding("single_image", "error", text, (train.root / n for n in single)))
    if few:
        text = (
            f"{name}: {len(few)} classes have fewer pictures than a batch draws ({num_instance}), "
            f"so theirs repeat: {name_list(few)}"
        )
        found.append(finding("small_class", "warning", text, (train.root / n for n in few)))
    if len(train.classes) < 2:
        text = f"{name}: two classes or more must be there, got {train.classes[0]} alone"
        found.append(finding("one_class", "error", text, [train.root]))
    return found


def _uneven(name: str, folder: ImageFolder) -> list[Finding]:
    counts = folder.counts()
    if counts.max() <= _IMBALANCE * counts.min():
        return []
    most, least = folder.classes[int(counts.argmax())], folder.classes[int(counts.argmin())]
    text = f"{name}: from {counts.min()} ({least}) to {counts.max()} ({most}) pictures per class"
    return [finding("imbalance", "warning", text, [folder.root / most, folder.root / least])]


def _same_folder(folders: Mapping[str, ImageFolder]) -> list[Finding]:
    roots: dict[Path, list[str]] = defaultdict(list)
    for name, folder in folders.items():
        roots[folder.root.resolve()].append(name)
    # A test set may share the search's gallery; nothing else may share anything.
    return [
        finding("same_folder", "error", f"{' and '.join(names)} are the same folder", [root])
        for root, names in roots.items()
        if len(names) > 1 and set(names) != {"reference", "test_reference"}
    ]


_PAIRS = (("query", "reference"), ("test_query", "test_reference"), ("test_query", "reference"))


def _unmatched(folders: Mapping[str, ImageFolder]) -> list[Finding]:
    """Queries that no gallery picture can be right for."""
    found = []
    for asked, gallery in _PAIRS:
        is_replaced = (asked, gallery) == (
            "test_query",
            "reference",
        ) and "test_reference" in folders
        if asked not in folders or gallery not in folders or is_replaced:
            continue
        known = set(folders[gallery].classes)
        unknown = tuple(name for name in folders[asked].classes if name not in known)
        if unknown:
            text = f"{asked}: {len(unknown)} classes are not in {gallery}: {name_list(unknown)}"
            paths = (folders[asked].root / name for name in unknown)
            found.append(finding("query_without_gallery", "error", text, paths))
    return found


def _missing(folders: Mapping[str, ImageFolder]) -> list[Finding]:
    """Training classes that are never asked for, unless the split is by class on purpose."""
    if "train" not in folders or "query" not in folders:
        return []
    trained, asked = set(folders["train"].classes), set(folders["query"].classes)
    common = trained & asked
    if 2 * len(common) < min(len(trained), len(asked)):
        return []
    found = []
    never, new = tuple(sorted(trained - asked)), tuple(sorted(asked - trained))
    if never:
        text = f"query: {len(never)} training classes are never asked for: {name_list(never)}"
        paths = (folders["train"].root / name for name in never)
        found.append(finding("class_not_in_query", "warning", text, paths))
    if new:
        text = f"train: {len(new)} query classes are not trained on: {name_list(new)}"
        paths = (folders["query"].root / name for name in new)
        found.append(finding("class_not_in_train", "warning", text, paths))
    return found
