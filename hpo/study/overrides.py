"""Reads spec overrides: expands short names, refuses misspelt keys, reports new ones once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpo.core.errors import SpecError
from hpo.core.spec_dicts import flatten, merge_into, nest
from hpo.study.skill import Skill

if TYPE_CHECKING:
    from search_spaces import Schema

CLOSE = 0.8
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
    expanded = expand_shorthands(given, skill)
    legal = {*schema.leaves, *schema.containers, *flatten(template), *_inputs(skill), *known}
    new, problems = [], []
    for name in flatten(expanded):
        if name in legal or schema.is_free(name) or _is_below_input(name, legal, schema):
            continue
        hit = closest_key(name, legal, skill)
        if hit:
            problems.append(f"spec_overrides.{name}: no such key; did you mean {hit!r}?")
        else:
            new.append(name)
    if problems:
        raise SpecError("; ".join(problems))
    return Overrides(nested=expanded, new=tuple(new))


def expand_shorthands(given: Mapping[str, Any], skill: Skill) -> dict[str, Any]:
    """Spell out the skill's short names and nest everything.

    Raises:
        SpecError: when a short name and its long one are given different values.
    """
    short = shorthands(skill)
    nested: dict[str, Any] = {}
    for key, value in given.items():
        name = short.get(str(key), str(key)) if not isinstance(value, Mapping) else str(key)
        piece = nest({name: value})
        old = flatten(nested).get(name)
        if name != key and old is not None and old != value:
            raise SpecError(
                f"spec_overrides.{key}: stands for {name}, which is set to {old!r} already"
            )
        merge_into(nested, piece)
    return nested


def shorthands(skill: Skill) -> dict[str, str]:
    """Short name -> dotted spec key."""
    return {str(k): str(v) for k, v in (skill.info.get("spec_shorthand_keys") or {}).items()}


def _inputs(skill: Skill) -> set[str]:
    """Spec keys that the skill's metadata name."""
    names: set[str] = set()
    for action in (skill.info.get("actions") or {}).values():
        for side in ("inputs", "outputs"):
            names |= set((action or {}).get(side) or {})
    for table in ("spec_params", "data_sources"):
        for fields in (skill.info.get(table) or {}).values():
            names |= set(fields or {})
    return names


def _is_below_input(name: str, legal: set[str], schema: Schema) -> bool:
    """Whether a parent is known and has no described children, so that anything fits into it."""
    parts = name.split(".")
    above = (".".join(parts[:end]) for end in range(len(parts) - 1, 0, -1))
    nearest = next((up for up in above if up in legal), "")
    return bool(nearest) and nearest not in schema.containers


def closest_key(name: str, legal: set[str], skill: Skill) -> str:
    """The key that a wrong one was probably meant for, or an empty string."""
    parent, _, leaf = name.rpartition(".")
    same = sorted(other for other in legal if _plain(_leaf(other)) == _plain(leaf))
    if same:
        return difflib.get_close_matches(name, same, n=1, cutoff=0.0)[0]
    hits = difflib.get_close_matches(name, sorted(legal), n=1, cutoff=CLOSE)
    if hits:
        return hits[0]
    siblings = {_leaf(other): other for other in legal if other.rpartition(".")[0] == parent}
    siblings |= {} if parent else shorthands(skill)
    hits = difflib.get_close_matches(leaf, sorted(siblings), n=1, cutoff=CLOSE)
    return siblings[hits[0]] if hits else ""


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def _plain(leaf: str) -> str:
    """A name without underscores and plural endings."""
    return "".join(part.removesuffix("s") for part in leaf.lower().split("_"))
