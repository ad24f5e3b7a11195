"""The names that results are reported under: a YAML file maps class folders to them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.config.files import read_names
from trainer.data.names import name_key, name_text, printable
from trainer.data.notes import name_list
from trainer.errors import DataError, SpecError


def report_names(class_map: str | None, classes: tuple[str, ...]) -> tuple[str, ...]:
    """Names to report, in the order of the classes; what is trained and matched does not change.

    Keys and values are names as they are written, whatever YAML takes them for elsewhere (`001`,
    `yes`, `null`, `1e3`, `2024-01-01`). Keys are compared with folders by Unicode's NFC form.

    Args:
        class_map: path of the YAML file, or nothing for the folders' own names.
        classes: class folders of a split.

    Returns:
        One name per class, each once.

    Raises:
        DataError: no such file, not a mapping of names, classes it does not name, or two of one
            name.
    """
    if not class_map:
        return classes
    given = read_class_map(class_map)
    missing = [name for name in classes if name_key(name) not in given]
    if missing:
        raise DataError(
            f"dataset.class_map: {class_map}: every class must be named, "
            f"{len(missing)} of {len(classes)} are not: {name_list(missing)}"
        )
    first: dict[str, str] = {}
    for name in classes:
        reported = given[name_key(name)]
        other = first.setdefault(reported, name)
        if other != name:
            raise DataError(
                f"dataset.class_map: {class_map}: every class must have a name of its own, "
                f"{printable(other)} and {printable(name)} are both {printable(reported)}; to make "
                "them one class, put their pictures into one folder"
            )
    return tuple(given[name_key(name)] for name in classes)


def read_class_map(class_map: str | None) -> dict[str, str]:
    """Return reported names by `name_key` of the class folders; none without a map.

    Raises:
        DataError: no such file, or not a mapping of names.
    """
    if not class_map:
        return {}
    path = Path(class_map)
    try:
        return _by_key(read_names(path, "class map"), path)
    except SpecError as error:
        raise DataError(f"dataset.class_map: {error}") from error


def _by_key(names: Mapping[str, Any], path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for folder, name in names.items():
        if not isinstance(name, str) or not name.strip():
            got = "nothing" if isinstance(name, str) else "a list or mapping"
            raise SpecError(f"{path}: {folder}: must be named by a text, got {got}")
        if name_key(folder) in found:
            raise SpecError(
                f"{path}: the key {folder!r} is given twice, in two spellings of Unicode; keep one"
            )
        found[name_key(folder)] = name_text(name)
    return found
