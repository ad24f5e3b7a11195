"""Reads the YAML file that maps class folders to reported names."""

from __future__ import annotations

from pathlib import Path

from trainer.data.notes import name_list
from trainer.errors import DataError


def report_names(class_map: str | None, classes: tuple[str, ...]) -> tuple[str, ...]:
    """Names to report, in the order of the classes; what is trained and matched does not change.

    Args:
        class_map: path of the YAML file, or nothing for the folders' own names.
        classes: class folders of a split.

    Returns:
        One name per class.

    Raises:
        DataError: no such file, not a mapping of names, or classes it does not name.
    """
    if not class_map:
        return classes
    import yaml

    path = Path(class_map)
    try:
        names = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"dataset.class_map: {path}: {' '.join(str(error).split())}") from error
    if not isinstance(names, dict):
        raise DataError(
            f"dataset.class_map: {path}: a mapping of class folders to names must be given"
        )
    given = {str(folder): str(name) for folder, name in names.items()}
    missing = [name for name in classes if name not in given]
    if missing:
        raise DataError(
            f"dataset.class_map: {path}: every class must be named, "
            f"{len(missing)} of {len(classes)} are not: {name_list(missing)}"
        )
    return tuple(given[name] for name in classes)
