"""Values that the user fixes or sets: refused where the schema does not allow them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from search_spaces.choices import value_problem
from search_spaces.draft import Draft, apply_conditions
from search_spaces.errors import nearest
from search_spaces.notes import Notes
from search_spaces.overlay import Overlay, ParameterChange
from search_spaces.schema import Schema, is_number

_LONGEST = 60
"""So many signs of a value are shown."""


def check_fixed(
    schema: Schema, overlay: Overlay, shared: Callable[[str], Any], notes: Notes
) -> None:
    """Note every fixed name that cannot be fixed, and every value that is outside its bounds.

    Args:
        schema: what may be fixed, and its bounds.
        overlay: for `fixed`, and for ranges of the same name.
        shared: the value that all trials share by name; bounds may be measured by it.
        notes: takes the problems.
    """
    for name, value in overlay.fixed.items():
        if name in schema.containers:
            notes.problem(name, "is a group of parameters; fix the ones in it")
        elif name not in schema.leaves:
            if not schema.is_free(name):
                known = nearest(name, schema.leaves)
                notes.problem(name, f"no such parameter in the schema{known}")
        elif name in overlay.ranges or name in overlay.options:
            notes.problem(name, "is fixed and has a range or options; drop one of the two")
        elif problem := _problem(schema, name, value, shared):
            notes.problem(name, f"fixed value {problem}, got {_cut(value)}")
        elif isinstance(value, str) and schema.leaves[name].kind.is_number:
            notes.problem(name, f"fixed value must be a number, got {_cut(value)}")


def check_given(
    schema: Schema,
    overlay: Overlay,
    searched: Collection[str],
    shared: Callable[[str], Any],
    notes: Notes,
) -> None:
    """Note every value of the user's spec that a search would have to replace by another one."""
    for name, fixed in overlay.fixed.items():
        value = overlay.given.get(name)
        if name in overlay.given and value != fixed:
            notes.problem(
                name, f"is set to {_cut(value)} and fixed to {_cut(fixed)}; leave one out"
            )
    for name in searched:
        value = overlay.given.get(name)
        if name in overlay.fixed or _is_spelled_otherwise(schema, name, value):
            continue
        if problem := _problem(schema, name, value, shared):
            notes.problem(name, f"is set and searched, so it {problem}, got {_cut(value)}")


def _cut(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _is_spelled_otherwise(schema: Schema, name: str, value: Any) -> bool:
    """Whether a text is an option but for case and blanks."""
    options = schema.leaves[name].options
    plain = {text.strip().lower() for text in options if isinstance(text, str)}
    return isinstance(value, str) and (value.strip().lower() or "none") in plain


def _problem(schema: Schema, name: str, value: Any, shared: Callable[[str], Any]) -> str:
    """Say what must hold of a fixed value and does not, or return an empty string."""
    leaf = schema.leaves[name]
    if value is None or isinstance(value, list | tuple | dict):
        return ""  # the trainer, which reads it, knows what its lists are made of
    # A condition keeps a search away from an end that is legal: a weight decay of exactly 0.
    if is_number(value) and value in (leaf.minimum, leaf.maximum):
        return ""
    aside = Notes()
    draft = Draft(leaf=leaf, change=ParameterChange(), default=value, notes=aside)
    parents = [parent for parent in leaf.parents if parent in schema.leaves]
    apply_conditions(
        draft,
        constants={parent: shared(parent) for parent in parents},
        searched=frozenset(),
        multiple=None,
    )
    return value_problem(draft, value)
