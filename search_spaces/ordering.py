"""Sorts parameters so that parents come before children."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from search_spaces.errors import RangeError


def parents_first(
    names: Sequence[str],
    hard: Mapping[str, Iterable[str]],
    soft: Mapping[str, Iterable[str]] | None = None,
) -> list[str]:
    """Order names so that parents come before children, otherwise as given.

    Args:
        names: in the order to keep where nothing else decides.
        hard: child -> parents whose values bound it; a cycle among them is an error.
        soft: child -> parents that decide whether it is active; gives way where it would close a
            cycle.

    Raises:
        RangeError: naming the parameters of a cycle.
    """
    known = set(names)
    needs = {name: {p for p in hard.get(name, ()) if p in known} for name in names}
    likes = {name: {p for p in (soft or {}).get(name, ()) if p in known} for name in names}
    placed: set[str] = set()
    ordered: list[str] = []
    waiting = list(names)
    while waiting:
        able = [name for name in waiting if needs[name] <= placed]
        if not able:
            cycle = " -> ".join(_cycle(waiting, needs))
            raise RangeError(
                [f"{cycle}: each is bounded by the next; a cycle leaves no order to draw them in"]
            )
        ready = [name for name in able if likes[name] <= placed]
        chosen = ready if ready else able[:1]
        ordered += chosen
        placed.update(chosen)
        waiting = [name for name in waiting if name not in placed]
    return ordered


def _cycle(waiting: Sequence[str], needs: Mapping[str, set[str]]) -> list[str]:
    path = [waiting[0]]
    while True:
        following = min(name for name in needs[path[-1]] if name in waiting)
        if following in path:
            return [*path[path.index(following) :], following]
        path.append(following)
