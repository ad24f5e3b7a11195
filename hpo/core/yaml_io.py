"""Reads and writes YAML as plain data: text, numbers, booleans, lists and mappings.

A file may come from anywhere: no tag builds an object, no alias grows into more than memory holds,
no nesting overflows the parser's stack, and no key is given twice.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from hpo.core.errors import SpecError

LARGEST_FILE = 16_000_000
"""Bytes; a study, spec or skill file has some thousands."""
DEEPEST = 60
"""Levels of nesting; above some 10 000 the parser's stack ends, and the process with it."""
MOST_VALUES = 200_000
"""Values once every alias is written out."""

_NUMBERS = {
    "int": re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|0b[01_]+)$"),
    "float": re.compile(
        r"[-+]?(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+$"
        r"|[-+]?(?:\d[\d_]*\.[\d_]*|\.\d[\d_]*)$|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$",
        re.ASCII,
    ),
}
"""What is read as a number. YAML 1.1 also takes 010 for 8 and 1:30 for 90; here both are text."""
_PLAIN_WORD = re.compile(r"(?!\s*(?:['\"\[{!]|(?:(?:~|null|Null|NULL)(?:\s+#.*)?)?\s*$))")
"""A word that is neither quoted, nor tagged, nor a collection, nor null."""
_OTHER = {f"tag:yaml.org,2002:{name}" for name in (*_NUMBERS, "timestamp", "value")}
_TAG = re.compile(r"could not determine a constructor for the tag '(.+)'")

_PROBLEMS = {
    "but found another document": "it holds two documents; leave out the line `---`",
    "found unhashable key": "a list or mapping stands where a key must be; keys are text",
    "found undefined alias": "it uses an alias (*name) that no anchor (&name) defines; put text "
    "that begins with * in quotes",
    "found unexpected end of stream": "it ends within quotes; close them",
}
"""The parser's words and ours, where its own help nobody."""


class _UniqueKeys:
    """Refuses a key that is given twice in a mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping whose keys differ."""
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key in seen and key != "<<":
                problem = f"the key {key!r} is given twice; keep one of them"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            if key is not None:
                seen.add(key)
        built: dict[Any, Any] = super().construct_mapping(node, deep=deep)  # type: ignore[misc]
        return built


class _Loader(_UniqueKeys, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A safe loader that also reads `1e-4` as a number, and neither 010, 1:30 nor a date as one."""


class _TextLoader(_UniqueKeys, getattr(yaml, "CBaseLoader", yaml.BaseLoader)):  # type: ignore[misc]
    """Leaves every value as it is written: a name may look like a number, a truth or a date."""


class _PlainLoader(_UniqueKeys, yaml.SafeLoader):
    """As `_Loader`, for paths with bytes that are no UTF-8, which libyaml takes for an error."""


class _PlainTextLoader(_UniqueKeys, yaml.BaseLoader):
    """As `_TextLoader`, for the same."""


class _PlainDumper(yaml.SafeDumper):
    """As `_Dumper`, for the same."""


_PLAIN = {_Loader: _PlainLoader, _TextLoader: _PlainTextLoader}
_STRAY_BYTE = re.compile(r"\\u[dD][cC][89a-fA-F]")


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """A safe YAML dumper (ten times as fast where C is built) that quotes the text `1e-4`."""


for _loader in (_Loader, _PlainLoader):
    _loader.yaml_implicit_resolvers = {
        sign: [(tag, pattern) for tag, pattern in resolvers if tag not in _OTHER]
        for sign, resolvers in _loader.yaml_implicit_resolvers.items()
    }
for _name, _pattern in _NUMBERS.items():
    # Dumpers quote what this reader takes for a number beside what other readers take for one.
    for _reader_or_dumper in (_Loader, _PlainLoader, _Dumper, _PlainDumper):
        _reader_or_dumper.add_implicit_resolver(
            f"tag:yaml.org,2002:{_name}", _pattern, list("-+.0123456789")
        )


def parse_yaml(text: str, where: str) -> Any:
    """Read YAML; `where` starts the message when it cannot be read.

    Raises:
        SpecError: it is not YAML, or holds something other than plain data.
    """
    return _load(text, where, _Loader)


def parse_texts(text: str, where: str) -> Any:
    """Read YAML with every value as it is written (`001`, `yes`, `null`, `1e3`): for names.

    Raises:
        SpecError: as `parse_yaml`.
    """
    return _load(text, where, _TextLoader)


def parse_word(text: str, where: str) -> Any:
    """Read the value of a word on a command line: as YAML, but text whole, `#` and `: ` included.

    Raises:
        SpecError: it is quoted or a collection, and no YAML.
    """
    is_plain = _PLAIN_WORD.match(text) is not None
    try:
        value = parse_yaml(text, where)
    except SpecError:
        if not is_plain:
            raise
        value = None
    return text.strip() if is_plain and (value is None or isinstance(value, str)) else value


def parse_word_text(text: str, where: str) -> Any:
    """Read the value of a word on a command line as it is written.

    Raises:
        SpecError: as `parse_word`.
    """
    return text.strip() if _PLAIN_WORD.match(text) else parse_texts(text, where)


def as_written(data: Any, texts: Any) -> Any:
    """Return values that are names as they are written; nothing stays nothing.

    Args:
        data: a value, or a list of values, as `parse_yaml` gives them.
        texts: the same as `parse_texts` gives them.
    """
    if isinstance(data, list) and isinstance(texts, list) and len(data) == len(texts):
        return [as_written(value, text) for value, text in zip(data, texts, strict=True)]
    is_other = data is not None and not isinstance(data, str | list)
    return texts if is_other and isinstance(texts, str) else data


def _load(text: str, where: str, loader: Any) -> Any:
    loader = _PLAIN[loader] if _STRAY_BYTE.search(text) else loader
    try:
        _refuse_depth(text, where, loader)
        return _build(text, where, loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark else ""
        raise SpecError(f"{where}{line}: is not valid YAML: {_problem(error)}") from error
    except (ValueError, TypeError, AttributeError) as error:  # as of the tag !!int before a word
        raise SpecError(f"{where}: is not valid YAML: {error}; put text in quotes") from error


def _build(text: str, where: str, loader: Any) -> Any:
    """Build what is written, once it is known how much that is: merges (<<) take in all of it."""
    reader = loader(text)
    try:
        node = reader.get_single_node()
        if node is None:
            return None
        if _count(node, {}, ()) > MOST_VALUES:
            raise SpecError(
                f"{where}: must hold at most {MOST_VALUES} values, got more once its aliases "
                "(*name) are written out; write fewer"
            )
        return reader.construct_document(node)
    finally:
        reader.dispose()


def _refuse_depth(text: str, where: str, loader: Any) -> None:
    """Look at the nesting by events, which need no stack, before anything is built."""
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST:
            raise SpecError(
                f"{where}: must be nested at most {DEEPEST} levels deep, and is deeper; flatten it"
            )


def _problem(error: yaml.YAMLError) -> str:
    """What is wrong, in words of the file's writer."""
    if isinstance(error, yaml.reader.ReaderError):
        sign: Any = error.character  # a number in the C reader, text in Python's
        code = sign if isinstance(sign, int) else ord(sign)
        return f"it holds the control character #x{code:04x}; remove it"
    problem = getattr(error, "problem", None) or "it cannot be parsed"
    tag = _TAG.fullmatch(problem)
    if tag:
        name = tag[1].replace("tag:yaml.org,2002:", "!!")
        return f"the tag {name} is refused; only plain text, numbers, lists and mappings are taken"
    return _PROBLEMS.get(problem, problem)


def _count(node: yaml.Node, known: dict[int, int], above: tuple[int, ...]) -> int:
    """Values below one, each alias counted as often as it stands; without end for one in itself."""
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) in above:
        return MOST_VALUES + 1
    if id(node) not in known:
        is_mapping = isinstance(node, yaml.MappingNode)
        items = [value for _, value in node.value] if is_mapping else node.value
        inside = (*above, id(node))
        known[id(node)] = 1 + sum(_count(item, known, inside) for item in items)
    return known[id(node)]


def read_yaml(path: Path) -> Any:
    """Read a YAML file; a missing, unreadable or endless one is one clear line."""
    return parse_yaml(read_text(path), str(path))


def read_text(path: Path, what: str = "file") -> str:
    """Read a text file that somebody has named.

    Raises:
        SpecError: there is none, it is something else, or much too large.
    """
    try:
        if path.is_dir():
            raise SpecError(f"{path}: must be a {what}, and is a folder")
        if path.exists() and not path.is_file():
            raise SpecError(f"{path}: must be a {what}, and is a pipe or device; copy it first")
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise SpecError(
                f"{path}: must have at most {LARGEST_FILE // 1_000_000} MB, got "
                f"{size / 1e6:.0f} MB; is this the right {what}?"
            )
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SpecError(f"{path}: no such file") from error
    except UnicodeDecodeError as error:
        raise SpecError(
            f"{path}: must be text in UTF-8, and byte {error.start + 1} is not; save it as UTF-8"
        ) from error
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}") from error


def to_yaml(data: Any) -> str:
    """Write plain data as YAML in the order it has."""
    try:
        return str(yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=100))
    except UnicodeEncodeError:  # a path with bytes that are no UTF-8
        return str(yaml.dump(data, Dumper=_PlainDumper, sort_keys=False, width=100))
