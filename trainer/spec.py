"""From a spec file, overrides or nested data to a checked `Spec`, and back.

This is the border of the trainer: whatever is wrong with a spec is said here, all at once, in one
line that starts with the dotted path.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast, get_args

from trainer.config.fields import MANDATORY
from trainer.config.files import read_overrides, read_spec_file
from trainer.config.names import nearest
from trainer.config.relations import broken, missing, refused
from trainer.config.root import ACTIONS, COMMON_SECTIONS, Action, Spec
from trainer.config.shape import flatten, overlay, unflatten
from trainer.config.shorthand import SHORTHANDS
from trainer.config.tree import Key, declared, keys, leaves
from trainer.config.values import ValueProblem, read_value
from trainer.errors import SpecError
from trainer.following import follow_weights

__all__ = [
    "action_dir",
    "as_action",
    "flatten",
    "load_spec",
    "overlay",
    "parse_spec",
    "read_spec",
    "spec_to_dict",
    "unflatten",
]

_UNSET_MARKS = (MANDATORY, "<required>")
"""Marks in templates for a value that is still to be given."""

_SHOWN_PROBLEMS = 5

_MOST_DEVICES = 1024
"""Of one computer; more is a mistake, which the relation between number and indices tells."""


def as_action(name: str) -> Action:
    """Return the name as an action, or raise naming the legal ones."""
    if name not in get_args(Action):
        raise SpecError(f"{name}: must be one of {', '.join(ACTIONS)}")
    return cast("Action", name)


def load_spec(path: Path, overrides: Iterable[str], action: str) -> Spec:
    """Read a spec file, lay `key=value` words over it and check the whole for an action.

    Raises:
        SpecError: when the file cannot be read or anything in it is wrong.
    """
    legal = as_action(action)
    return parse_spec(overlay(read_spec_file(path), read_overrides(overrides, legal)), legal)


def read_spec(nested: Mapping[str, Any]) -> Spec:
    """Read a train spec whose keys need not go together yet; no file of it need exist.

    Raises:
        SpecError: naming every key that is unknown or has a value that it may not have.
    """
    return _read(nested, is_training=False, is_complete=False)


def _read(nested: Mapping[str, Any], *, is_training: bool, is_complete: bool) -> Spec:
    problems: list[str] = []
    values = _read_values(flatten(nested), problems)
    _raise_if(problems)
    _number_devices(values)
    # Every batch has one size, so timing algorithms first pays where they need not repeat exactly.
    values.setdefault("train.cudnn.benchmark", not values.get("train.cudnn.deterministic", True))
    values = follow_weights(values, is_training=is_training, is_complete=is_complete)
    return cast("Spec", _build(Spec, "", values))


def parse_spec(nested: Mapping[str, Any], action: str, *, is_complete: bool = True) -> Spec:
    """Check nested or dotted data and return it as a `Spec`, defaults filled in.

    Args:
        nested: the spec as in a spec file; dotted keys may stand anywhere.
        action: what the spec is for; decides what must be given and which relations must hold.
        is_complete: False admits a spec whose sources and checkpoints are still to be given.

    Raises:
        SpecError: naming every wrong key in one line.
    """
    legal = as_action(action)
    spec = _read(nested, is_training=legal == "train", is_complete=is_complete)
    problems = [*refused(spec, legal), *broken(spec, legal)]
    if is_complete:
        problems += missing(spec, legal)
    _raise_if(problems)
    return spec


def _raise_if(problems: list[str]) -> None:
    if problems:
        shown = problems[:_SHOWN_PROBLEMS]
        if len(problems) > len(shown):
            shown.append(f"and {len(problems) - len(shown)} more")
        raise SpecError("; ".join(shown))


def _read_values(flat: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for path, value in flat.items():
        key = keys().get(path)
        if key is None:
            problems.append(_unknown(path))
        elif key.section is not None:
            if value is not None and value != {}:
                problems.append(f"{path}: must be a section of keys, got {value!r}")
        elif not _stands_for_absent(key, value):
            try:
                values[path] = _at_home(path, key, read_value(key.info, value))
            except ValueProblem as problem:
                problems.append(f"{path}: {problem}")
    return values


def _at_home(path: str, key: Key, value: Any) -> Any:
    """Spell out the ~ of a path, which a shell leaves in `key=~/x` and nobody in a file."""
    if key.info.holds != "path" and path.rpartition(".")[2] != "results_dir":
        return value
    if isinstance(value, tuple):
        return tuple(_at_home(path, key, item) for item in value)
    return os.path.expanduser(value) if isinstance(value, str) else value  # noqa: PTH111 - a Path would take addresses apart


def _number_devices(values: dict[str, Any]) -> None:
    """Take the first GPUs where only their number is given; templates write the default `[0]`."""
    for section in ("train", "evaluate", "inference"):
        count = values.get(f"{section}.num_gpus", 1)
        if 1 < count <= _MOST_DEVICES and values.get(f"{section}.gpu_ids", (0,)) == (0,):
            values[f"{section}.gpu_ids"] = tuple(range(count))


def _stands_for_absent(key: Key, value: Any) -> bool:
    if key.info.is_optional or key.info.is_mandatory:
        return value is None or value == "" or value in _UNSET_MARKS
    return key.default == "" and (value is None or value in _UNSET_MARKS)


def _unknown(path: str) -> str:
    guesses = nearest(path, leaves(), SHORTHANDS)
    if not guesses:
        return f"{path}: no such key; the template of the action lists them all"
    return f"{path}: no such key; did you mean {' or '.join(guesses)}?"


def _build(config: type, prefix: str, values: Mapping[str, Any]) -> Any:
    arguments: dict[str, Any] = {}
    for key in declared(config, prefix):
        if key.section is not None:
            arguments[key.name] = _build(key.section, key.path, values)
        elif key.path in values:
            arguments[key.name] = values[key.path]
    return config(**arguments)


def spec_to_dict(spec: Spec) -> dict[str, Any]:
    """Return a spec as nested plain data that reads back as the same spec.

    Absent values are left out, and so are sections of actions that hold nothing but defaults.
    """
    nested: dict[str, Any] = {}
    for key in declared(Spec):
        value = getattr(spec, key.name)
        if key.name in COMMON_SECTIONS or value != getattr(Spec(), key.name):
            nested[key.name] = _plain(key, value)
    return nested


def _plain(key: Key, value: Any) -> Any:
    if key.section is not None:
        children = (
            (child, getattr(value, child.name)) for child in declared(key.section, key.path)
        )
        plain = {child.name: _plain(child, held) for child, held in children if held is not None}
        return {
            k: v
            for k, v in plain.items()
            if v != {} or not keys()[f"{key.path}.{k}"].info.is_extension
        }
    return list(value) if isinstance(value, tuple) else value


def action_dir(spec: Spec, action: Action) -> Path:
    """Return the folder for an action's files: its own, else one below the common folder."""
    own = getattr(spec, action).results_dir
    return Path(own) if own else Path(spec.results_dir or "results") / action
