"""Checks folders and class names without opening a picture."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from trainer.data.folder import ImageFolder
from trainer.data.names import alike, name_key, told_alike
from trainer.data.notes import counted, name_list
from trainer.doctor.findings import Finding, Severity, finding

_IMBALANCE = 20


def folder_findings(folders: Mapping[str, ImageFolder], num_instance: int) -> list[Finding]:
    """Look at the splits' folders; a batch draws `num_instance` pictures of a class."""
    found = noted(folders)
    for name, folder in folders.items():
        found += [*_twins(name, folder), *uneven(name, folder, "warning")]
    for name in ("train", "images"):
        if name in folders:
            found += small_classes(name, folders[name], num_instance, "warning")
    if "train" in folders:  # of what is to be split the split says more
        found += _too_few("train", folders["train"])
    return [*found, *_same_folder(folders), *_unmatched(folders), *_missing(folders)]


def noted(folders: Mapping[Any, ImageFolder]) -> list[Finding]:
    """What was passed over in the folders, and what else was odd when they were listed."""
    return [
        finding(note.kind, note.severity, f"{name}: {note.text}", note.paths)
        for name, folder in folders.items()
        for note in folder.notes
    ]


def _twins(name: str, folder: ImageFolder) -> list[Finding]:
    """Class names that a person would take for one."""
    return [
        finding(
            "similar_classes", "warning", f"{name}: {told_alike(names)}",
            map(folder.folder_of, names),
        )
        for names in alike(folder.classes)
    ]  # fmt: skip


def _too_few(name: str, train: ImageFolder) -> list[Finding]:
    single = _classes_with(train, 1, 1)
    found = []
    if single:
        number = counted(len(single), "class", "classes")
        text = f"{name}: {number} with one picture, too few to learn from: {name_list(single)}"
        found.append(finding("single_image", "error", text, map(train.folder_of, single)))
    if len(train.classes) < 2:
        text = f"{name}: two classes or more must be there, got {train.classes[0]} alone"
        found.append(finding("one_class", "error", text, [train.root]))
    return found


def small_classes(
    name: str, train: ImageFolder, num_instance: int, severity: Severity
) -> list[Finding]:
    """Classes with fewer pictures than a batch draws of each, but for those with one."""
    few = _classes_with(train, 2, num_instance - 1)
    text = (
        f"{name}: {counted(len(few), 'class', 'classes')} with fewer pictures than a batch draws "
        f"(dataset.num_instance, {num_instance}), so that it repeats some: {name_list(few)}"
    )
    return [finding("small_class", severity, text, map(train.folder_of, few))] if few else []


def _classes_with(folder: ImageFolder, least: int, most: int) -> list[str]:
    """Names of the classes with so many pictures."""
    counts = zip(folder.classes, folder.counts(), strict=True)
    return [label for label, count in counts if least <= count <= most]


def uneven(name: str, folder: ImageFolder, severity: Severity) -> list[Finding]:
    """Classes with far more pictures than others."""
    counts = folder.counts()
    if counts.max() <= _IMBALANCE * counts.min():
        return []
    most, least = folder.classes[int(counts.argmax())], folder.classes[int(counts.argmin())]
    text = f"{name}: from {counts.min()} ({least}) to {counts.max()} ({most}) pictures per class"
    text += "; batches draw all classes alike" if name == "train" else ""
    return [finding("imbalance", severity, text, map(folder.folder_of, (most, least)))]


def _same_folder(folders: Mapping[str, ImageFolder]) -> list[Finding]:
    places: dict[object, list[str]] = defaultdict(list)
    for name, folder in folders.items():
        places[folder.identity].append(name)
    found = []
    for names in places.values():
        first = folders[names[0]]
        root = first.root.resolve()
        what = "pictures" if first.source else "folder"
        text = f"{' and '.join(names)} are the same {what}"
        shared = set(names) - {"test_reference"}  # a test set may share the search's gallery
        if shared == {"train", "reference"}:
            text += ": queries are matched against the pictures that are trained on"
            found.append(finding("same_folder", "warning", text, [root]))
        elif len(names) > 1 and shared != {"reference"}:
            found.append(finding("same_folder", "error", text, [root]))
    return found


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
        known = set(map(name_key, folders[gallery].classes))
        unknown = tuple(n for n in folders[asked].classes if name_key(n) not in known)
        if unknown:
            number = counted(len(unknown), "class", "classes")
            text = f"{asked}: {number} not in {gallery}: {name_list(unknown)}"
            paths = map(folders[asked].folder_of, unknown)
            found.append(finding("query_without_gallery", "error", text, paths))
    return found


def _missing(folders: Mapping[str, ImageFolder]) -> list[Finding]:
    """Training classes that are never asked for, unless the split is by class on purpose."""
    if "train" not in folders or "query" not in folders:
        return []
    trained, asked = (
        {name_key(name): name for name in folders[split].classes} for split in ("train", "query")
    )
    common = trained.keys() & asked.keys()
    if 2 * len(common) < min(len(trained), len(asked)):
        return []
    never = [name for key, name in sorted(trained.items()) if key not in common]
    new = [name for key, name in sorted(asked.items()) if key not in common]
    found = []
    for names, sort, own, other, words in (
        (never, "training", "train", "query", "never asked for"),
        (new, "query", "query", "train", "not trained on"),
    ):
        if names:
            number = counted(len(names), f"{sort} class", f"{sort} classes")
            paths = map(folders[own].folder_of, names)
            text = f"{other}: {number} {words}: {name_list(names)}"
            found.append(finding(f"class_not_in_{other}", "warning", text, paths))
    return found
