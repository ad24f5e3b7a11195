"""Exceptions for wrong schemas, overlays and points, one line each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class SearchSpaceError(ValueError):
    """Anything that keeps a search space from being compiled or used."""


class SchemaError(SearchSpaceError):
    """The schema file cannot be read as what it claims to be."""


class _ProblemsError(SearchSpaceError):
    """Carries every problem found."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


class RangeError(_ProblemsError):
    """What the user asks to search is impossible; carries every problem found."""


class PointError(_ProblemsError):
    """Values that are no point of the space; carries every problem found."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `, did you mean X?` for the known name closest to a wrong one, or an empty string."""
    import difflib  # only a mistake is worth its import

    names = list(known)
    found = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if not found:
        by_leaf = {other.rsplit(".", 1)[-1]: other for other in reversed(names)}
        leaves = difflib.get_close_matches(name.rsplit(".", 1)[-1], by_leaf, n=1, cutoff=0.6)
        found = [by_leaf[leaf] for leaf in leaves]
    return f", did you mean {found[0]}?" if found else ""
