"""Which pictures are of one object, burst or video, and so belong into one split.

A group is named by a part of the file's path (a pattern), by a column of a list, or found by what
the pictures show (`near-duplicates`).
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.data.bursts import find_bursts
from trainer.data.cache import files_digest
from trainer.data.decode import DECODER_VERSION
from trainer.data.location import cache_settings, exclusive
from trainer.data.names import column_key, name_key, name_text
from trainer.data.notes import and_list, counted
from trainer.data.origin import origin
from trainer.errors import DataError, SpecError
from trainer.kept_json import kept_or_made

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from trainer.data.decoding import Progress
    from trainer.data.folder import ImageFolder

_NEAR_DUPLICATES = "near-duplicates"
_BURSTS_FORMAT = 1
"""Goes up where other pictures are found to be of one moment."""
_ASKED, _ASKED_FOR_THE_TEST = "query", "test_query"


def group_pictures(
    sources: Sequence[ImageFolder], by: str, progress: Progress | None = None
) -> NDArray[np.int64]:
    """Return the number of each picture's group, those of all sources in order, shape (N,).

    Args:
        sources: the pictures; a group may have members in several of them.
        by: `near-duplicates`; a column of the lists that all sources are; or a regular expression
            with a part in parentheses, which is looked for in the path below the source
            (`<class>/<file>`, of a list the path of the file): pictures that have the same text
            there are of one group, and one without it is a group of its own.
        progress: called with (what, done, total).

    Raises:
        SpecError: it is none of the three, or fits no picture.
    """
    files = [source.root / path for source in sources for path in source.paths]
    if by == _NEAR_DUPLICATES:
        joined = _kept_bursts(sources, files, progress)
        return connected(len(files), [*joined, *_same_files(files)])
    column = column_key(by)
    if all(column in source.columns for source in sources):
        texts: list[str | None] = [text for source in sources for text in source.columns[column]]
    else:
        paths = [path for source in sources for path in _named_paths(source)]
        texts = _matches(paths, _pattern(by, sources))
    own = iter(range(len(texts)))
    keys = [("", next(own)) if not text else (text, -1) for text in texts]
    number_of = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    return np.array([number_of[key] for key in keys], dtype=np.int64)


def _kept_bursts(
    sources: Sequence[ImageFolder], files: Sequence[Path], progress: Progress | None
) -> list[list[int]]:
    """Return what `find_bursts` finds; it is kept, as one search asks several times.

    Not where pictures cannot be read, which may be by what is installed or by a disk.
    """
    labels_N = np.array(_joint_labels(sources))
    how = (_BURSTS_FORMAT, DECODER_VERSION, labels_N.tobytes())
    key = "".join(files_digest(source, *how) for source in sources)
    digest = hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
    file = cache_settings().folder / "bursts" / f"{digest}.json"
    errors: dict[int, str] = {}

    def find() -> list[list[int]]:
        found: list[list[int]] = find_bursts(files, labels_N, progress, errors).tolist()
        return found

    with exclusive(file.with_suffix(".lock")):
        return kept_or_made(file, (list,), find, lambda _: not errors)


def _joint_labels(sources: Sequence[ImageFolder]) -> list[int]:
    """Number of each picture's class among the classes of all sources."""
    keys = [[name_key(name) for name in source.classes] for source in sources]
    number = {key: i for i, key in enumerate(sorted({key for own in keys for key in own}))}
    labelled = zip(keys, sources, strict=True)
    return [number[own[label]] for own, source in labelled for label in source.labels]


def find_leaks(
    folders: Mapping[str, ImageFolder], by: str, progress: Progress | None = None
) -> dict[str, Any]:
    """Look for groups that straddle given splits.

    Queries must share no group with pictures that are trained on or matched against, nor with the
    other queries. What training and gallery share is no leak.

    Args:
        folders: the splits by name; two that are one folder count as such.
        by: as of `group_pictures`.
        progress: called with (what, done, total).

    Returns:
        `groups`: how many straddle; `pairs`: (split, split) -> how many groups; `paths`: the
        pictures of them, group by group, first one of each split, as the user knows them.
    """
    unique: dict[object, str] = {}
    for name, folder in folders.items():
        unique.setdefault(folder.identity, name)
    names = list(unique.values())
    group_N = group_pictures([folders[name] for name in names], by, progress)
    split_N = np.repeat(np.arange(len(names)), [len(folders[n].paths) for n in names])
    files = [folders[name].root / path for name in names for path in folders[name].paths]
    order = np.argsort(group_N, kind="stable")
    starts = np.flatnonzero(np.diff(group_N[order], prepend=-1))
    pairs: Counter[tuple[str, str]] = Counter()
    paths: list[str] = []
    num_groups = 0
    for members in np.split(order, starts[1:]):
        held = [names[i] for i in np.unique(split_N[members])]
        found = [(a, b) for i, a in enumerate(held) for b in held[i + 1 :] if _leaks(a, b)]
        if found:
            num_groups += 1
            pairs.update(found)
            firsts = np.unique(split_N[members], return_index=True)[1].tolist()
            rest = [i for i in range(len(members)) if i not in firsts]
            paths += [origin(files[members[i]]) for i in (*firsts, *rest)]
    return {"groups": num_groups, "pairs": dict(pairs), "paths": paths}


def leak_text(leaks: Mapping[str, Any], by: str) -> str:
    """Say in one line which splits share groups."""
    where = and_list([f"{a} and {b}: {n}" for (a, b), n in leaks["pairs"].items()])
    return (
        f"{counted(leaks['groups'], 'group')} (by {by}) of which pictures are in two splits "
        f"({where})"
    )


def refuse_leaks(
    folders: Mapping[str, ImageFolder], by: str, progress: Progress | None = None
) -> None:
    """Refuse given splits of which queries share a group with other pictures.

    Raises:
        DataError: saying how many, and naming the first.
    """
    leaks = find_leaks(folders, by, progress)
    if leaks["groups"]:
        first = " and ".join(leaks["paths"][:2])
        raise DataError(
            f"group_by: {leak_text(leaks, by)}, such as {first}; move each group into one split, "
            "or name all pictures by --data to have them split (`hpo doctor` with the same flags "
            "lists them)"
        )


def _leaks(first: str, second: str) -> bool:
    return bool({first, second} & {_ASKED, _ASKED_FOR_THE_TEST})


def _named_paths(source: ImageFolder) -> list[str]:
    if source.source:
        return [str(source.root / path) for path in source.paths]
    return list(source.paths)


def _pattern(by: str, sources: Sequence[ImageFolder]) -> re.Pattern[str]:
    columns = sorted(set.intersection(*(set(source.columns) for source in sources)))
    legal = f"{_NEAR_DUPLICATES}, a regular expression with a part in parentheses"
    legal += f", or a column of the list ({and_list(columns)})" if columns else ""
    try:
        pattern = re.compile(by)
    except re.error as error:
        raise SpecError(f"group_by: must be {legal}, got {by!r} ({error})") from error
    if not pattern.groups:
        raise SpecError(f"group_by: must be {legal}, got {by!r}")
    return pattern


def _matches(paths: Sequence[str], pattern: re.Pattern[str]) -> list[str | None]:
    found = [pattern.search(path) for path in paths]
    texts = [None if m is None else "\0".join(filter(None, m.groups())) for m in found]
    if not any(texts):
        raise SpecError(
            f"group_by: {pattern.pattern!r} must fit the paths of pictures, and fits none of "
            f"{len(paths)}, such as {name_text(paths[0])}"
        )
    return texts


def _same_files(files: Sequence[Any]) -> list[list[int]]:
    """Places that name one file, through links or not."""
    first: dict[Any, int] = {}
    found = []
    for i, file in enumerate(files):
        facts = file.stat()
        before = first.setdefault((facts.st_dev, facts.st_ino), i)
        if before != i:
            found.append([before, i])
    return found


def connected(number: int, pairs: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Return the first member of each one's connected component."""
    above = list(range(number))

    def top(i: int) -> int:
        while above[i] != i:
            above[i] = above[above[i]]
            i = above[i]
        return i

    for i, j in pairs:
        a, b = sorted((top(i), top(j)))
        above[b] = a
    return np.array([top(i) for i in range(number)], dtype=np.int64)
