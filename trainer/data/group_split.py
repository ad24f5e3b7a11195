"""Divides pictures among splits without tearing groups (bursts, objects, videos) apart.

Groups go one by one, the largest first, to the split that is furthest from its share; as many
groups as a class has left are kept for splits that have none of its pictures yet. Classes that
share a group are divided together.
Legend: N pictures.
"""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from trainer.data.groups import connected
from trainer.data.names import name_key
from trainer.data.notes import counted, name_list
from trainer.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainer.data.folder import ImageFolder

Shares = Mapping[str, float]
"""Split -> share of a class's pictures; the first one takes what is left over."""

_ATTEMPTS = 20
"""Orders that are tried where classes share groups, which may leave one class without a split."""


def divide_groups(
    source: ImageFolder,
    group_N: NDArray[np.int64],
    classes: Sequence[int],
    shares: Shares,
    *,
    seed: int,
    least: Mapping[str, int],
) -> dict[str, list[int]]:
    """Give each group of some classes to one split.

    Args:
        source: the pictures.
        group_N: the group of each.
        classes: the classes to divide; groups reach into no others.
        shares: the splits.
        seed: decides among groups of one size; a class that shares no group keeps its split when
            other classes come and go.
        least: pictures that a split must have of every class; default: one.

    Returns:
        Split -> its pictures, in the order of the source.

    Raises:
        DataError: a class has too few groups, or shares them so that none can be divided.
    """
    parts: dict[str, list[int]] = {name: [] for name in shares}
    blocks = connected_classes(source.labels, group_N, classes)
    _demand(source, group_N, classes, shares, sum(least.get(name, 1) for name in shares))
    for block in blocks:
        members_N = np.flatnonzero(np.isin(source.labels, block))
        key = "\n".join(name_key(source.classes[label]) for label in block)
        rng = np.random.default_rng([seed, zlib.crc32(key.encode())])
        for _ in range(_ATTEMPTS):
            given = _divided(source.labels, group_N, members_N, shares, rng)
            lacking = _lacking(source.labels, given, block, shares, least)
            if not lacking:
                break
        else:
            names = name_list([source.classes[label] for label in block])
            raise DataError(
                f"{source.shown}: {source.classes[lacking[0]]} cannot be split without tearing a "
                f"group apart: its groups are too few, or shared with other classes ({names}); "
                "group by something finer, or add pictures"
            )
        for name, found in given.items():
            parts[name] += found
    return {name: sorted(found) for name, found in parts.items()}


def connected_classes(
    labels_N: NDArray[np.int64], group_N: NDArray[np.int64], classes: Sequence[int]
) -> list[list[int]]:
    """Return the classes in lots that share no group with each other."""
    first: dict[int, int] = {}
    held = zip(group_N.tolist(), labels_N.tolist(), strict=True)
    top = connected(int(labels_N.max()) + 1, [(first.setdefault(g, c), c) for g, c in held])
    lots: dict[int, list[int]] = defaultdict(list)
    for label in classes:
        lots[int(top[label])].append(label)
    return [sorted(lot) for lot in lots.values()]


def _demand(
    source: ImageFolder,
    group_N: NDArray[np.int64],
    classes: Sequence[int],
    shares: Shares,
    pictures: int,
) -> None:
    few = []
    for label in classes:
        own = group_N[source.labels == label]
        groups = len(np.unique(own))
        if groups < len(shares) or len(own) < pictures:
            held = f"{counted(len(own), 'picture')} in {counted(groups, 'group')}"
            few.append(f"{source.classes[label]} ({held})")
    if few:
        raise DataError(
            f"{source.shown}: every class needs {pictures} pictures in {len(shares)} groups or "
            f"more to be split by group, {len(few)} of {len(classes)} have fewer: {name_list(few)}"
        )


def _divided(
    labels_N: NDArray[np.int64],
    group_N: NDArray[np.int64],
    members_N: NDArray[np.int64],
    shares: Shares,
    rng: np.random.Generator,
) -> dict[str, list[int]]:
    groups: dict[int, list[int]] = defaultdict(list)
    for i in members_N.tolist():
        groups[int(group_N[i])].append(i)
    order = list(groups)
    rng.shuffle(order)
    order.sort(key=lambda group: -len(groups[group]))
    sizes = {group: Counter(labels_N[groups[group]].tolist()) for group in order}
    left = Counter(label for group in order for label in sizes[group])
    open_by_class = _targets(Counter(labels_N[members_N].tolist()), shares)
    empty = {label: set(shares) for label in open_by_class}
    parts: dict[str, list[int]] = {name: [] for name in shares}
    for group in order:
        must = [label for label in sizes[group] if left[label] <= len(empty[label])]
        best = max(
            shares,
            key=lambda name: (
                sum(name in empty[label] for label in must),
                sum(n * open_by_class[label][name] for label, n in sizes[group].items()),
            ),
        )
        parts[best] += groups[group]
        for label, number in sizes[group].items():
            open_by_class[label][best] -= number
            empty[label].discard(best)
            left[label] -= 1
    return parts


def _targets(counts: Mapping[int, int], shares: Shares) -> dict[int, dict[str, float]]:
    """Pictures of each class that each split should have."""
    first, *others = shares
    targets = {}
    for label, number in counts.items():
        own: dict[str, float] = {name: max(1, round(number * shares[name])) for name in others}
        targets[label] = {first: number - sum(own.values()), **own}
    return targets


def _lacking(
    labels_N: NDArray[np.int64],
    parts: Mapping[str, Sequence[int]],
    block: Sequence[int],
    shares: Shares,
    least: Mapping[str, int],
) -> list[int]:
    """The classes of which a split has too few pictures."""
    counts = {name: Counter(labels_N[list(parts[name])].tolist()) for name in shares}
    return [
        label for label in block if any(counts[name][label] < least.get(name, 1) for name in shares)
    ]
