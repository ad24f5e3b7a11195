"""Folders named after splits: which of them is the training set, the gallery, the queries."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from trainer.data.names import name_text
from trainer.data.notes import and_list
from trainer.data.tree import Listing, list_folder

SOURCES: Mapping[str, tuple[str, str]] = {
    "train": ("--train", "the training set"),
    "reference": ("--reference", "the gallery"),
    "query": ("--query", "the queries of the search"),
    "test_reference": ("--test-reference", "the gallery of the final evaluation"),
    "test_query": ("--test-query", "the queries of the final evaluation"),
}
"""Source of a search -> the flag that names it, and what it is."""

_WORDS: Mapping[str, frozenset[str]] = {
    "train": frozenset({"train", "training", "trn", "trainval"}),
    "val": frozenset({"val", "valid", "validation", "validate", "dev"}),
    "test": frozenset({"test", "testing", "tst", "holdout", "heldout"}),
    "reference": frozenset(
        {"reference", "references", "ref", "gallery", "galleries", "index", "database", "db"}
    ),
    "query": frozenset({"query", "queries", "probe", "probes"}),
}
_FILLERS = frozenset(
    {"set", "data", "dataset", "images", "image", "imgs", "img", "pictures", "photos", "split"}
)
_SOURCE_OF: Mapping[frozenset[str], str] = {
    frozenset(words.split()): source
    for source, spellings in {
        "train": ("train", "train val"),
        "reference": ("reference", "val reference"),
        "query": ("query", "val", "val query"),
        "test_reference": ("test reference",),
        "test_query": ("test", "test query"),
    }.items()
    for words in spellings
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitLayout:
    """A folder that holds splits in place of classes."""

    root: Path
    folders: Mapping[str, tuple[Path, ...]]
    """Source -> the folders that may be it."""
    bare: tuple[Path, ...]
    """Those among them that hold no class folders."""

    @property
    def names(self) -> str:
        """The folders by name, for messages."""
        return self._named(path for paths in self.folders.values() for path in paths)

    def sources(self) -> dict[str, str] | None:
        """Return the sources of a search, where the names leave no doubt; else None."""
        if self._problem():
            return None
        return {name: str(paths[0]) for name, paths in self._in_order()}

    def flags(self, shown: Callable[[Path], str] = str) -> str:
        """Return what to type for these folders; a training set stands in for a missing gallery.

        Args:
            shown: turns a folder into what is typed for it; default: its path.
        """
        first = {
            name: next((path for path in paths if path not in self.bare), paths[0])
            for name, paths in self._in_order()
        }
        if "query" not in first and "test_query" in first:
            first["query"] = first.pop("test_query")
        if "reference" not in first and "train" in first:
            first["reference"] = first["train"]
        words = {"train": "TRAIN", "reference": "GALLERY", "query": "QUERIES"}
        words |= {name: quote(name_text(shown(path))) for name, path in first.items()}
        return " ".join(f"{SOURCES[n][0]} {words[n]}" for n in SOURCES if n in words)

    def refusal(self, shown: Callable[[Path], str] = str) -> str:
        """Say in one line why the sources cannot be told, and what to type instead."""
        text = f"holds splits ({self.names}), not classes, and {self._problem()}; "
        text += f"type {self.flags(shown)}"
        if "train" in self.folders and "reference" not in self.folders:
            train = quote(name_text(shown(self.folders["train"][0])))
            text += f" to match against the training pictures, or --data {train} to have it split"
        return text

    def _problem(self) -> str:
        for name, paths in self._in_order():
            if len(paths) > 1:
                return f"each of {self._named(paths)} may be {SOURCES[name][1]}"
        if self.bare:
            return f"no class folders are in {self._named(self.bare)}"
        missing = missing_sources(self.folders)
        return f"lacks {SOURCES[missing[0]][1]}" if missing else ""

    def _in_order(self) -> list[tuple[str, tuple[Path, ...]]]:
        return [(name, self.folders[name]) for name in SOURCES if name in self.folders]

    def _named(self, paths: Iterable[Path]) -> str:
        names = sorted(path.relative_to(self.root).as_posix() for path in paths)
        return and_list([name_text(name) for name in names])


def missing_sources(given: Container[str]) -> list[str]:
    """Sources that a search needs beside those that are given."""
    missing = [name for name in ("train", "reference", "query") if name not in given]
    if not missing and "test_reference" in given and "test_query" not in given:
        return ["test_query"]
    return missing


def find_splits(root: Path, listing: Listing) -> SplitLayout | None:
    """Recognise a folder of splits by the names and the form of its sub-folders.

    A single class may well be called `train` or `index`: two names of splits make splits where
    they hold class folders, or are most of what is there.

    Args:
        root: the folder.
        listing: what is directly in it.
    """
    sources = {name: source_of(name) for name in listing.folders}
    named = [name for name, source in sources.items() if source]
    if len(named) < 2:
        return None
    inside = {name: list_folder(root / name) for name in named}
    nests = [n for n in named if inside[n].folders and not inside[n].found.pictures]
    if len(nests) < 2 and 2 * len(named) <= len(listing.folders):
        return None
    folders: dict[str, list[Path]] = defaultdict(list)
    for name in named:
        for source, path in _expanded(root / name, sources[name], inside[name]):
            folders[source].append(path)
    paths = [path for found in folders.values() for path in found]
    return SplitLayout(
        root=root,
        folders={source: tuple(found) for source, found in folders.items()},
        bare=tuple(path for path in paths if not list_folder(path).folders),
    )


def _expanded(path: Path, source: str, listing: Listing) -> list[tuple[str, Path]]:
    """A split that holds a gallery and queries of its own, as `val/gallery` and `val/query`."""
    parts = {name: source_of(name) for name in listing.folders}
    if source not in {"query", "test_query"} or sorted(parts.values()) != ["query", "reference"]:
        return [(source, path)]
    prefix = "test_" if source == "test_query" else ""
    return [(f"{prefix}{part}", path / name) for name, part in parts.items()]


def source_of(name: str) -> str:
    """The source that a name of a split stands for; empty for any other name."""
    words = set(re.findall(r"[^\W\d_]+", name.casefold())) - _FILLERS
    roles = {role for role, spellings in _WORDS.items() if words & spellings}
    is_whole = words and all(any(word in w for w in _WORDS.values()) for word in words)
    return _SOURCE_OF.get(frozenset(roles), "") if is_whole else ""
