"""The nearest known names for a wrong one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

_CLOSE = 0.7
_MOST = 3


def _ratio(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one.lower(), other.lower()).ratio()


def _leaf(path: str) -> str:
    return path.rpartition(".")[2]


def _closeness(path: str, name: str) -> float:
    whole, last = _ratio(path, name), _ratio(_leaf(path), _leaf(name))
    return (whole + last) / 2 if "." in path else max(whole, last)


def nearest(path: str, known: Iterable[str], aliases: Mapping[str, str]) -> list[str]:
    """Return the known dotted paths that a wrong one was probably meant for, at most three.

    Args:
        path: the wrong name, whole or in part.
        known: every right path.
        aliases: other names, each for one right path.

    Returns:
        The paths that end in `path` if there are any (a forgotten prefix), else the closest one by
        whole path, last part or alias, else nothing.
    """
    names = list(known)
    ending = [name for name in names if name.endswith("." + path)]
    if ending:
        return ending[:_MOST]
    scores = {name: _closeness(path, name) for name in names}
    for alias, name in aliases.items():
        scores[name] = max(scores.get(name, 0.0), 0.9 * _ratio(_leaf(path), alias))
    best = max(scores, key=lambda name: scores[name], default="")
    return [best] if scores.get(best, 0.0) >= _CLOSE else []
