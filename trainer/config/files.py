"""Reads spec files and `key=value` overrides."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from trainer.config.root import Action
from trainer.config.shorthand import shorthands
from trainer.config.tree import keys
from trainer.errors import SpecError

_LARGEST_FILE = 16_000_000
_DEEPEST = 60
_MOST_VALUES = 200_000
_FLOAT = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+$")


class _SpecLoader(yaml.SafeLoader):
    """A safe YAML loader that reads `1e-4` as a number and refuses a key that stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str) and key in seen:
                problem = f"the key {key!r} stands twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key if isinstance(key, str) else id(key_node))
        return super().construct_mapping(node, deep=deep)


class _SpecDumper(yaml.SafeDumper):
    """A safe YAML dumper that quotes a string such as `1e-4`, so that it reads back as one."""


for _side in (_SpecLoader, _SpecDumper):
    _side.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


def _parse(text: str, where: str) -> Any:
    try:
        _refuse_depth(text, where)
        data = yaml.load(text, Loader=_SpecLoader)  # noqa: S506 - derived from SafeLoader
    except (ValueError, TypeError, AttributeError) as error:  # 2020-13-45 is taken for a date
        msg = f"{where}: must be YAML, but {error}; put text in quotes"
        raise SpecError(msg) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it holds a character that text may not"
        tag = re.fullmatch("could not determine a constructor for the tag '(.+)'", problem)
        if tag:
            name = tag[1].replace("tag:yaml.org,2002:", "!!")
            problem = f"the tag {name} is refused; only plain values are taken"
        msg = f"{where}{line}: must be YAML, but {problem}"
        raise SpecError(msg) from error
    if _count(data, {}, ()) > _MOST_VALUES:
        msg = f"{where}: holds more than {_MOST_VALUES} values once its aliases are written out"
        raise SpecError(msg)
    return data


def _refuse_depth(text: str, where: str) -> None:
    """Look at the nesting by events, which need no stack, before anything is built."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEEPEST:
            msg = f"{where}: must be nested at most {_DEEPEST} levels deep, and is deeper"
            raise SpecError(msg)


def _count(value: Any, known: dict[int, int], above: tuple[int, ...]) -> int:
    """Values below one, each alias counted as often as it stands; without end for one in itself."""
    if not isinstance(value, list | dict):
        return 1
    if id(value) in above:
        return _MOST_VALUES + 1
    if id(value) not in known:
        items = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_count(item, known, (*above, id(value))) for item in items)
    return known[id(value)]


def _read_text(path: Path) -> str:
    """Read a text file; devices and pipes, which may never end, are refused."""
    try:
        if path.exists() and not path.is_file():
            what = "a folder" if path.is_dir() else "a pipe or device"
            msg = f"{path}: must be a spec file, and is {what}"
            raise SpecError(msg)
        if path.stat().st_size > _LARGEST_FILE:
            msg = f"{path}: must have at most {_LARGEST_FILE // 1_000_000} MB; is it a spec file?"
            raise SpecError(msg)
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        msg = f"{path}: no such spec file"
        raise SpecError(msg) from error
    except UnicodeDecodeError as error:
        msg = f"{path}: must be text in UTF-8, and byte {error.start + 1} is none"
        raise SpecError(msg) from error
    except OSError as error:
        msg = f"{path}: the spec file cannot be read: {error.strerror}"
        raise SpecError(msg) from error


def read_spec_file(path: Path) -> dict[str, Any]:
    """Read a spec file as nested data, unchecked.

    Raises:
        SpecError: when there is no such file, it is not YAML, or it holds no mapping.
    """
    data = _parse(_read_text(path), str(path))
    if data is None:
        return {}
    if not isinstance(data, dict):
        msg = f"{path}: must hold a mapping of keys to values, got {type(data).__name__}"
        raise SpecError(msg)
    return data


def read_overrides(words: Iterable[str], action: Action) -> dict[str, Any]:
    """Read `key=value` words into dotted keys; values are YAML, short names are expanded.

    Raises:
        SpecError: when a word has no `=` or key, or its value is not YAML.
    """
    short = {name: path for name, path in shorthands(action).items() if name not in keys()}
    overrides: dict[str, Any] = {}
    for word in words:
        name, sign, text = word.partition("=")
        if not sign or not name:
            msg = f"{word}: overrides must be spelt key=value, such as train.num_epochs=5"
            raise SpecError(msg)
        overrides[short.get(name, name)] = _parse(text, name) if text else ""
    return overrides


def spec_text(nested: dict[str, Any]) -> str:
    """Return nested data as YAML in the order it has."""
    text: str = yaml.dump(nested, Dumper=_SpecDumper, sort_keys=False, width=100)
    return text
