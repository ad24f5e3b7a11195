"""Reads spec overrides: expands short names, refuses misspelt keys, reports new ones once."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpo.core.errors import SpecError
from hpo.core.spec_dicts import flatten
from hpo.study.skill import Skill

if TYPE_CHECKING:
    from search_spaces import Schema

WHERE = "spec_overrides."
_CLOSE = 0.8
"""Names that are as similar as this are taken for typing errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What a user sets in every trial's spec."""

    nested: dict[str, Any]
    new: tuple[str, ...] = ()
    """Keys that neither schema nor template know."""

    @property
    def names(self) -> frozenset[str]:
        """Every key that was set, dotted."""
        return frozenset(flatten(self.nested))

    def warning(self, *, is_registered: bool) -> str:
        """One line about new keys, or nothing.

        Args:
            is_registered: whether the trainer is one whose keys are known, so that it would refuse
                others; a skill's own command is given everything.
        """
        if not self.new:
            return ""
        names = f"spec_overrides: {', '.join(self.new)}: not in the schema"
        if is_registered:
            return f"{names}; kept in the spec, without effect: the trainer has no such key"
        return f"{names}; passed on to the trainer as given"


def resolve_overrides(
    given: Mapping[str, Any],
    skill: Skill,
    schema: Schema,
    template: Mapping[str, Any],
    *,
    known: Iterable[str] = (),
) -> Overrides:
    """Check overrides against what the skill knows.

    Args:
        given: dotted, nested or short keys.
        skill: for its short names and inputs.
        schema: of the action.
        template: nested, of the action.
        known: further legal keys, such as those of a registered trainer.

    Raises:
        SpecError: naming every key that looks like a typing error, with the right one.
    """
    expanded = skill.expand(given, WHERE)
    legal = {*schema.leaves, *schema.containers, *flatten(template), *skill.keys(), *known}

    def is_known(name: str) -> bool:
        return name in legal or schema.is_free(name) or _is_below_input(name, legal, schema)

    new = find_new_keys(flatten(expanded), is_known, legal, skill, WHERE)
    return Overrides(nested=expanded, new=new)


def find_new_keys(
    names: Iterable[str],
    is_known: Callable[[str], bool],
    legal: set[str],
    skill: Skill,
    where: str = "",
) -> tuple[str, ...]:
    """Return the keys that nobody knows; refuse those that look like misspelt ones.

    Args:
        names: dotted keys that are set.
        is_known: whether one of them is legal as it is.
        legal: keys that another may have been meant for.
        skill: for its short names.
        where: what the overrides are called, for messages.

    Raises:
        SpecError: naming every key that looks like a typing error, with the right one.
    """
    new = tuple(name for name in names if not is_known(name))
    hits = [(name, _closest_key(name, legal, skill)) for name in new]
    problems = [
        f"{where}{name}: no such spec key; did you mean {hit!r}?" for name, hit in hits if hit
    ]
    if problems:
        raise SpecError("; ".join(problems))
    return new


def _is_below_input(name: str, legal: set[str], schema: Schema) -> bool:
    """Whether a parent is known and has no described children, so that anything fits into it."""
    parts = name.split(".")
    above = (".".join(parts[:end]) for end in range(len(parts) - 1, 0, -1))
    nearest = next((up for up in above if up in legal), "")
    return bool(nearest) and nearest not in schema.containers


def _closest_key(name: str, legal: set[str], skill: Skill) -> str:
    """The key that a wrong one was probably meant for, or an empty string."""
    parent, _, leaf = name.rpartition(".")
    same = sorted(other for other in legal if _plain(_leaf(other)) == _plain(leaf))
    if same:
        return difflib.get_close_matches(name, same, n=1, cutoff=0.0)[0]
    hits = difflib.get_close_matches(name, sorted(legal), n=1, cutoff=_CLOSE)
    if hits:
        return hits[0]
    siblings = {_leaf(other): other for other in legal if other.rpartition(".")[0] == parent}
    siblings |= {} if parent else skill.shorthands
    hits = difflib.get_close_matches(leaf, sorted(siblings), n=1, cutoff=_CLOSE)
    return siblings[hits[0]] if hits else ""


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def _plain(leaf: str) -> str:
    """A name without underscores and plural endings."""
    return "".join(part.removesuffix("s") for part in leaf.lower().split("_"))
