"""Keeps values of keys that hold text as they were written: `1e3` may be a folder's name.

What a value is, YAML says; what a key holds, the schema of its action says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from hpo.core.spec_dicts import parse_assignments
from hpo.core.yaml_io import as_written, parse_word_text
from hpo.study.skill import Skill


def read_assignments(
    pairs: Iterable[str],
    find_skill: Callable[[], Skill],
    action: str = "train",
    flag: str = "--set",
) -> dict[str, Any]:
    """Read `key=value` words of a spec; values of keys that hold text stay as they are written.

    Raises:
        SpecError: when a word has no `=`, or its value is no YAML.
    """
    words = list(pairs)
    texts = {}
    for word in words:
        key, _, text = word.partition("=")
        texts[key.strip()] = parse_word_text(text, f"{flag} {key}")
    return with_texts(parse_assignments(words, flag), texts, find_skill, action)


def with_texts(
    values: Mapping[str, Any],
    texts: Mapping[str, Any],
    find_skill: Callable[[], Skill],
    action: str = "train",
) -> dict[str, Any]:
    """Return spec values with those of text keys as they are written; null stays nothing.

    Args:
        values: dotted, nested or short keys.
        texts: the same as they are written.
        find_skill: finds what says which keys hold text; called where that matters.
        action: whose spec it is.
    """
    if _replaced(values, texts, None) == values:  # the schema need not be read
        return dict(values)
    skill = find_skill()
    names = text_keys(skill.schema_file(action))
    short = {name for name, path in skill.shorthands.items() if path in names}
    return _replaced(values, texts, names | short)


def text_keys(file: Path) -> set[str]:
    """Names of the keys that hold text; none where there is no sound schema to say so."""
    from search_spaces import load_schema
    from search_spaces.errors import SearchSpaceError
    from search_spaces.schema import Kind

    if not file.is_file():
        return set()
    try:
        leaves = load_schema(file).leaves
    except SearchSpaceError:  # told by what needs the schema
        return set()
    return {name for name, leaf in leaves.items() if leaf.kind in (Kind.STRING, Kind.CATEGORICAL)}


def _replaced(
    values: Mapping[str, Any], texts: Any, names: set[str] | None, above: str = ""
) -> dict[str, Any]:
    """Values as they are written below these names, or below all where `names` is None."""
    own = texts if isinstance(texts, Mapping) else {}
    found = {}
    for key, value in values.items():
        path, text = f"{above}{key}", own.get(str(key))
        is_text = names is None or path in names
        if isinstance(value, Mapping):
            whole = isinstance(text, str) and is_text  # as `a: b` of a command line
            found[key] = text if whole else _replaced(value, text, names, f"{path}.")
        else:
            found[key] = as_written(value, text) if is_text else value
    return found
