"""Finds exact and near duplicates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from trainer.data.names import name_key
from trainer.data.notes import counted
from trainer.doctor.findings import Finding, Item, Severity, pair_finding
from trainer.doctor.fingerprint import MOST_PAIRS, near_pairs


def pair_findings(items: Sequence[Item]) -> list[Finding]:
    """Look for pictures that resemble one another within and across splits and classes."""
    return [*_duplicates(items), *_resembling(items)]


def _duplicates(items: Sequence[Item]) -> list[Finding]:
    groups: dict[bytes, list[int]] = defaultdict(list)
    for i, item in enumerate(items):
        if item.look.width:
            groups[item.look.digest].append(i)
    pairs = [(g[0], other) for g in groups.values() for other in g[1:]]
    return _sorted_pairs(items, pairs, "duplicate", "the same file")


def _resembling(items: Sequence[Item]) -> list[Finding]:
    pairs = near_pairs([item.look for item in items])
    words = "nearly the same picture"
    if len(pairs) == MOST_PAIRS:
        words += f" (of the first {MOST_PAIRS} such pairs; there may be more)"
    return _sorted_pairs(items, pairs, "near_duplicate", words)


def _sorted_pairs(
    items: Sequence[Item], pairs: Sequence[tuple[int, int]], kind: str, words: str
) -> list[Finding]:
    """Two classes is a wrong label, two splits a leak, one class and split a waste at most."""
    sorts: dict[str, list[tuple[Item, Item]]] = {"labels": [], "splits": [], "within": []}
    for i, j in pairs:
        a, b = items[i], items[j]
        if a.path == b.path:
            continue  # another check reports two splits that are one folder
        is_one_class = name_key(a.label) == name_key(b.label)
        if {a.split, b.split} == {"reference", "test_reference"} and is_one_class:
            continue  # one gallery for both is usual
        sort = "labels" if not is_one_class else "splits" if a.split != b.split else "within"
        sorts[sort].append((a, b))
    told: list[tuple[str, str, Severity, str]] = [
        ("labels", f"{kind}_conflict", "warning", f"{words} in two classes"),
        ("splits", f"{kind}_across_splits", "warning", f"{words} in two splits"),
        ("within", kind, "info", f"{words} within a class"),
    ]
    found = []
    for sort, name, severity, text in told:
        chosen = sorts[sort]
        if chosen:
            where = f" ({_splits_of(chosen)})" if sort == "splits" else ""
            message = f"{counted(len(chosen), 'pair')}: {text}{where}"
            paths = [(a.path, b.path) for a, b in chosen]
            found.append(pair_finding(name, severity, message, paths))
    return found


def _splits_of(pairs: Sequence[tuple[Item, Item]]) -> str:
    counts: dict[str, int] = defaultdict(int)
    for a, b in pairs:
        counts[" and ".join(sorted((a.split, b.split)))] += 1
    return ", ".join(f"{names}: {n}" for names, n in sorted(counts.items()))
