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
    """Look at the splits' folders; a batch by classes draws `num_instance` pictures of each."""
    found = noted(folders)
    for name, folder in folders.items():
        found += [*_twins(name, folder), *uneven(name, folder, "warning")]
    for name in ("train", "images"):
        if name in folders:
            found += small_classes(name, folders[name], num_instance, "warning")
    if "train" in folders:  # of what is to be split the split says more
        found += _single_pictures("train", folders["train"])
    found += [
        finding(
            "one_class", "error", f"{name}: {single_class(folders[name])}", [folders[name].root]
        )
        for name in ("train", "reference", "test_reference")
        if name in folders and len(folders[name].classes) < 2
    ]
    return [*found, *_same_folder(folders), *_unmatched(folders), *missing_classes(folders)]


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


def _single_pictures(name: str, train: ImageFolder) -> list[Finding]:
    single = _classes_with(train, 1, 1)
    if not single:
        return []
    number = counted(len(single), "class", "classes")
    text = f"{name}: {number} with one picture, too few to learn from: {name_list(single)}"
    return [finding("single_image", "error", text, map(train.folder_of, single))]


def single_class(folder: ImageFolder) -> str:
    """What is wrong with a split of a single class."""
    return f"two classes or more must be there to tell apart, got {folder.classes[0]} alone"


def small_classes(
    name: str, train: ImageFolder, num_instance: int, severity: Severity
) -> list[Finding]:
    """Classes with fewer pictures than a batch draws of each, but for those with one."""
    few = _classes_with(train, 2, num_instance - 1)
    text = (
        f"{name}: {counted(len(few), 'class', 'classes')} with fewer pictures than a batch by "
        f"classes draws of each (dataset.sampling; dataset.num_instance, {num_instance}), so that "
        f"it repeats some: {name_list(few)}"
    )
    return [finding("small_class", severity, text, map(train.folder_of, few))] if few else []


def _classes_with(folder: ImageFolder, least: int, most: int) -> list[str]:
    """Names of the classes with so many pictures."""
    counts = zip(folder.classes, folder.counts(), strict=True)
    return [label for label, count in counts if least <= count <= most]


_DRAWN = {
    "classes": "; batches draw all classes alike",
    "random": "; batches follow these numbers, so that many hold no picture of a small class; "
    "--set dataset.sampling=classes draws all classes alike",
    "": "; batches follow these numbers unless dataset.sampling is classes",
}
"""What a value of `dataset.sampling` makes of uneven classes; empty where it is not known."""


def uneven(name: str, folder: ImageFolder, severity: Severity, sampling: str = "") -> list[Finding]:
    """Classes with far more pictures than others."""
    counts = folder.counts()
    if counts.max() <= _IMBALANCE * counts.min():
        return []
    most, least = folder.classes[int(counts.argmax())], folder.classes[int(counts.argmin())]
    text = f"{name}: from {counts.min()} ({least}) to {counts.max()} ({most}) pictures per class"
    text += _DRAWN[sampling] if name == "train" else ""
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


def missing_classes(folders: Mapping[Any, ImageFolder]) -> list[Finding]:
    """Training classes that cannot be found or are never asked for, and query classes not trained.

    Of splits by class nothing is said.
    """
    if "train" not in folders or "query" not in folders:
        return []
    names = {
        split: {name_key(name): name for name in folder.classes}
        for split, folder in folders.items()
    }
    trained, asked = names["train"], names["query"]
    if 2 * len(trained.keys() & asked.keys()) < min(len(trained), len(asked)):
        return []
    gallery = names.get("reference", trained)
    found = []
    for keys, sort, own, other, words in (
        (trained.keys() - gallery.keys(), "training", "train", "reference", "not in the gallery"),
        (trained.keys() & gallery.keys() - asked.keys(), "training", "train", "query",
         "never asked for"),
        (asked.keys() - trained.keys(), "query", "query", "train", "not trained on"),
    ):  # fmt: skip
        if keys:
            listed = [names[own][key] for key in sorted(keys)]
            number = counted(len(listed), f"{sort} class", f"{sort} classes")
            paths = map(folders[own].folder_of, listed)
            text = f"{other}: {number} {words}: {name_list(listed)}"
            found.append(finding(f"class_not_in_{other}", "warning", text, paths))
    return found
