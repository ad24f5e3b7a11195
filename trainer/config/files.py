"""Reads spec files and `key=value` overrides.

The trainer stands alone and the harness imports no trainer, so each has its own YAML loader, as it
has its own `why_not_writable` and `machine_faults`.
"""

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
_NUMBERS = {
    "int": re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|0b[01_]+)$"),
    "float": re.compile(
        r"[-+]?(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+$"
        r"|[-+]?(?:\d[\d_]*\.[\d_]*|\.\d[\d_]*)$|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$",
        re.ASCII,
    ),
}
"""What is read as a number. YAML 1.1 also takes 010 for 8 and 1:30 for 90; here both are text."""
_PLAIN = re.compile(r"(?!\s*(?:['\"\[{!]|(?:(?:~|null|Null|NULL)(?:\s+#.*)?)?\s*$))")
"""What is taken as text without a look at YAML: no quotes, tag, collection or null."""
_OTHER = {f"tag:yaml.org,2002:{name}" for name in (*_NUMBERS, "timestamp", "value")}


class _UniqueKeys:
    """Refuses a key that is given twice in a mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key in seen and key != "<<":
                problem = f"the key {key!r} is given twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen |= set() if key is None else {key}
        built: dict[Any, Any] = super().construct_mapping(node, deep=deep)  # type: ignore[misc]
        return built


class _SpecLoader(_UniqueKeys, yaml.SafeLoader):
    """A safe YAML loader that reads `1e-4` as a number, and neither 010, 1:30 nor a date as one."""


class _TextLoader(_UniqueKeys, yaml.BaseLoader):
    """Leaves every value as it is written: a name may look like a number, a truth or a date."""


class _SpecDumper(yaml.SafeDumper):
    """A safe YAML dumper that quotes a string such as `1e-4`, so that it reads back as one."""


_SpecLoader.yaml_implicit_resolvers = {
    sign: [(tag, pattern) for tag, pattern in resolvers if tag not in _OTHER]
    for sign, resolvers in _SpecLoader.yaml_implicit_resolvers.items()
}
for _name, _pattern in _NUMBERS.items():
    for _class in (_SpecLoader, _SpecDumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", _pattern, list("-+.0123456789"))


def _parse(text: str, where: str, loader: Any = _SpecLoader) -> Any:
    try:
        _refuse_depth(text, where)
        return _build(text, where, loader)
    except (ValueError, TypeError, AttributeError) as error:  # as of the tag !!int before a word
        raise SpecError(f"{where}: must be YAML, but {error}; put text in quotes") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it holds a character that text may not"
        tag = re.fullmatch("could not determine a constructor for the tag '(.+)'", problem)
        if tag:
            name = tag[1].replace("tag:yaml.org,2002:", "!!")
            problem = f"the tag {name} is refused; only plain values are taken"
        raise SpecError(f"{where}{line}: must be YAML, but {problem}") from error


def _build(text: str, where: str, loader: Any) -> Any:
    """Build what is written, once it is known how much that is: merges (<<) take in all of it."""
    reader = loader(text)
    try:
        node = reader.get_single_node()
        if node is None:
            return None
        if _count(node, {}, ()) > _MOST_VALUES:
            msg = f"{where}: holds more than {_MOST_VALUES} values once its aliases are written out"
            raise SpecError(msg)
        return reader.construct_document(node)
    finally:
        reader.dispose()


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


def _count(node: yaml.Node, known: dict[int, int], above: tuple[int, ...]) -> int:
    """Values below one, each alias counted as often as it stands; without end for one in itself."""
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) in above:
        return _MOST_VALUES + 1
    if id(node) not in known:
        is_mapping = isinstance(node, yaml.MappingNode)
        items = [value for _, value in node.value] if is_mapping else node.value
        known[id(node)] = 1 + sum(_count(item, known, (*above, id(node))) for item in items)
    return known[id(node)]


def _read_text(path: Path, what: str = "spec file") -> str:
    """Read a text file; devices and pipes, which may never end, are refused."""
    try:
        if path.exists() and not path.is_file():
            kind = "a folder" if path.is_dir() else "a pipe or device"
            raise SpecError(f"{path}: must be a {what}, and is {kind}")
        if path.stat().st_size > _LARGEST_FILE:
            msg = f"{path}: must have at most {_LARGEST_FILE // 1_000_000} MB; is it a {what}?"
            raise SpecError(msg)
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise SpecError(f"{path}: no such {what}") from error
    except UnicodeDecodeError as error:
        msg = f"{path}: must be text in UTF-8, and byte {error.start + 1} is not"
        raise SpecError(msg) from error
    except OSError as error:
        raise SpecError(f"{path}: the {what} cannot be read: {error.strerror}") from error


def read_spec_file(path: Path) -> dict[str, Any]:
    """Read a spec file as nested data, unchecked; values of keys that are text as written.

    Raises:
        SpecError: when there is no such file, it is not YAML, or it holds no mapping.
    """
    text = _read_text(path)
    data = _parse(text, str(path))
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise SpecError(f"{path}: must hold a mapping of keys to values, got {type(data).__name__}")
    return _with_texts(data, _parse(text, str(path), _TextLoader))


def read_names(path: Path, what: str) -> dict[str, Any]:
    """Read a mapping of which keys and values are names: each stays as it is written.

    Args:
        path: a YAML file.
        what: the sort of file, for messages.

    Raises:
        SpecError: when there is no such file, it is not YAML, or it holds no mapping.
    """
    data = _parse(_read_text(path, what), str(path), _TextLoader)
    if not isinstance(data, dict):
        msg = f"{path}: a mapping of names to names must be given as {what}, got {_kind_of(data)}"
        raise SpecError(msg)
    return data


def _kind_of(data: Any) -> str:
    return "a list" if isinstance(data, list) else "nothing" if data in {None, ""} else "text"


def _with_texts(data: dict[str, Any], texts: Any, above: str = "") -> dict[str, Any]:
    """Give keys that hold text their values as they are written, null apart."""
    own = texts if isinstance(texts, dict) else {}
    return {
        key: _with_texts(value, own.get(str(key)), f"{above}{key}.")
        if isinstance(value, dict)
        else _as_written(f"{above}{key}", value, own.get(str(key)))
        for key, value in data.items()
    }


def _as_written(path: str, value: Any, text: Any) -> Any:
    """A value of a key that holds text, or a list of texts, as it is written."""
    key = keys().get(path)
    if key is None or key.section is not None or value is None:
        return value
    info = key.info
    if info.kind in {"string", "categorical"}:
        return text if isinstance(text, str) else value
    is_list = info.kind in {"list", "list_3"} and info.item is str and isinstance(value, list)
    return list(text) if is_list and isinstance(text, list) else value


def read_overrides(words: Iterable[str], action: Action) -> dict[str, Any]:
    """Read `key=value` words into dotted keys; short names are expanded.

    Values are YAML; of a key that holds text, what is neither quoted nor null is as it is given.

    Raises:
        SpecError: when a word has no `=` or key, its value is not YAML, or a key has two.
    """
    short = {name: path for name, path in shorthands(action).items() if name not in keys()}
    overrides: dict[str, Any] = {}
    for word in words:
        name, sign, text = word.partition("=")
        if not sign or not name:
            msg = f"{word}: overrides must be spelt key=value, such as train.num_epochs=5"
            raise SpecError(msg)
        path = short.get(name, name)
        if _PLAIN.match(text) and _as_written(path, "", text):
            value = text.strip()
        else:
            value = _parse(text, name) if text else ""
            value = _as_written(path, value, _parse(text, name, _TextLoader))
        first = overrides.setdefault(path, value)
        if first != value:
            raise SpecError(f"{path}: is given twice, as {first!r} and {value!r}; leave one out")
    return overrides


def spec_text(nested: dict[str, Any]) -> str:
    """Return nested data as YAML in the order it has."""
    text: str = yaml.dump(nested, Dumper=_SpecDumper, sort_keys=False, width=100)
    return text
