"""Chooses among the alternatives of a schema node (`anyOf`, `oneOf`, several types).

    settle("lr", {"anyOf": [{"type": "number", "maximum": 1}, {"type": "null"}], "default": 0.1})
    # of the node: {"type": "number", "maximum": 1, "default": 0.1}

The first that is not null counts, with all it says. Those that are single options are one list of
options, and a single 0 beside a range above it is `positive_from`. What is left out is told.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search_spaces.domains.options import same
from search_spaces.errors import SchemaError
from search_spaces.fields import kind_of, options_of
from search_spaces.references import merged_properties, tightest
from search_spaces.schema import MANDATORY, Kind, is_number

_CHOICES = ("anyOf", "oneOf")
_LIMITS = frozenset(
    (
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "math_cond"),
        *("pattern", "properties", "positive_from", "depends_on"),
    )
)
_SHOWN = 60
"""Characters of an alternative in a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A node that leaves no choice."""

    node: Mapping[str, Any]
    """What the node and its alternatives say together; the node's own words count first."""
    parts: tuple[Mapping[str, Any], ...]
    """The node without its alternatives, and each alternative that counts: all of them hold."""
    allows_list: bool = False
    """Whether a number may also be written as a list."""
    notes: tuple[str, ...] = ()
    """What is left out."""

    @property
    def kind(self) -> Kind:
        """Of its values."""
        return kind_of(self.node)


def settle(name: str, node: Mapping[str, Any]) -> Settled:
    """Choose among the alternatives of a node without references.

    Args:
        name: of the parameter or section, for messages.
        node: of a schema.

    Raises:
        SchemaError: options of the node and of its alternative have none in common.
    """
    own = {key: value for key, value in node.items() if key not in _CHOICES}
    if isinstance(own.get("type"), list):
        del own["type"]
    parts: list[Mapping[str, Any]] = [own]
    notes: list[str] = []
    allows_list = False
    for listed in _choices_of(node):
        given = [item for item in listed if isinstance(item, Mapping) and not _is_null(item)]
        inherited = {"type": own["type"]} if own.get("type") else {}
        found = [settle(name, {**inherited, **item}) for item in given]
        fitting = [one for one in found if not inherited or _is_of(one.kind, kind_of(own))]
        if not fitting:
            notes += [f"{name}: none of its alternatives is of type {own['type']}"] if given else []
            continue
        chosen, left = _choose(own, fitting)
        if chosen.kind.is_number and any(one.kind is Kind.LIST for one in left):
            allows_list, left = True, [one for one in left if one.kind is not Kind.LIST]
        if left and options_of(own) is None:
            shown = ", ".join(_shown(one.node) for one in left)
            notes.append(f"{name}: of its alternatives {shown} is left out")
        own = _together(name, own, chosen.node)
        parts += chosen.parts
        notes += chosen.notes
        allows_list = allows_list or chosen.allows_list
    return Settled(node=own, parts=tuple(parts), allows_list=allows_list, notes=tuple(notes))


def _choices_of(node: Mapping[str, Any]) -> Iterator[Sequence[Any]]:
    types = node.get("type")
    if isinstance(types, list):
        yield [{"type": item} for item in types]
    for key in _CHOICES:
        if isinstance(listed := node.get(key), list):
            yield listed


def _choose(own: Mapping[str, Any], fitting: Sequence[Settled]) -> tuple[Settled, list[Settled]]:
    """The alternative that counts, and those that are left out."""
    numbers = [one for one in fitting if one.kind.is_number]
    has_bounds = own.get("minimum") is not None or own.get("maximum") is not None
    first = (numbers if has_bounds and numbers else fitting)[0]
    ranges = [one for one in numbers if options_of(one.node) is None]
    if first in numbers and ranges:  # it holds more than single numbers
        first = ranges[0]
    left = [one for one in fitting if one is not first]
    if options_of(first.node) is not None:
        alike = [one for one in fitting if _is_alike(one, first)]
        if len(alike) > 1:
            first, left = _joined(alike), [one for one in left if one not in alike]
        return first, left
    zero = next((one for one in left if options_of(one.node) == [0]), None)
    least = first.node.get("minimum")
    if zero is not None and is_number(least) and least > 0:
        left.remove(zero)
        first = _alone({**first.node, "minimum": 0, "positive_from": least})
    return first, left


def _joined(alike: Sequence[Settled]) -> Settled:
    """One list of the options of all; what is said of a single one counts for none."""
    options: list[Any] = []
    for one in alike:
        told = options_of(one.node)
        for option in told if isinstance(told, list) else ():
            if not any(same(option, other) for other in options):
                options.append(option)
    return _alone({"type": alike[0].node.get("type"), "enum": options})


def _alone(node: dict[str, Any]) -> Settled:
    return Settled(node=node, parts=(node,))


def _is_alike(one: Settled, other: Settled) -> bool:
    """Whether an alternative is single options, of the kind of another one."""
    is_plain = options_of(one.node) is not None and not _LIMITS & {*one.node}
    return is_plain and one.kind is other.kind


def _is_of(kind: Kind, other: Kind) -> bool:
    return kind is other or (kind.is_number and other.is_number)


def _is_null(item: Mapping[str, Any]) -> bool:
    """Whether an alternative stands for no value."""
    return item.get("type") == "null" or options_of(item) in ([None], [MANDATORY])


def _shown(item: Mapping[str, Any]) -> str:
    options = options_of(item)
    what = options[0] if isinstance(options, list) and len(options) == 1 else item
    text = json.dumps(what, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."


def _together(name: str, own: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """What both say, the node's own words first; bounds and options of both hold."""
    both = {**chosen, **own, **tightest(own, chosen)}
    if kind_of(chosen) is Kind.INT:  # also where the node says that it is a number
        both["type"] = chosen["type"]
    if isinstance(own.get("properties"), Mapping) and isinstance(chosen.get("properties"), Mapping):
        both["properties"] = merged_properties(name, own["properties"], chosen["properties"])
    mine, theirs = options_of(own), options_of(chosen)
    if isinstance(mine, list) and isinstance(theirs, list):
        both.pop("const", None)
        both["enum"] = [option for option in mine if option in theirs]
        if not both["enum"]:
            raise SchemaError(
                f"{name}: an option of enum must be one of {theirs} beside it, too, got {mine}; "
                "correct the schema"
            )
    return both
