"""Lets the files of a local MLflow store follow its database to another folder.

MLflow keeps the whole address of the folder of each experiment, run and model. Where the folder of
runs was moved or copied, these would lead to what is gone, or into the folder of the original.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

ARTIFACTS = ".mlflow"
"""The folder beside the database that holds the files of its experiments."""

_PLACES = (
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("experiments", "artifact_location"),
)
"""Tables and columns that hold addresses; a database of another MLflow may lack some."""
_SECONDS = 60.0
"""How long a process waits for others that write."""


def place_of(database: Path, experiment: str) -> str:
    """The address at which an experiment keeps its files."""
    return (database.parent / ARTIFACTS / experiment).as_uri()


def follow_database(database: Path) -> None:
    """Rewrite the addresses of files that lay beside the database, and now lie elsewhere.

    Raises:
        OSError: the database cannot be read or written.
    """
    try:
        with closing(sqlite3.connect(database, timeout=_SECONDS)) as base:
            known = {table: _columns(base, table) for table, _ in _PLACES}
            if "artifact_location" not in known["experiments"]:
                return  # not made by MLflow, which says so
            for old, new in list(_moved(base, database)):
                with base:
                    for table, column in _PLACES:
                        if column in known[table]:
                            _rewrite(base, table, column, old, new)
    except sqlite3.Error as error:
        raise OSError(f"{database}: {error}") from error


def _columns(base: sqlite3.Connection, table: str) -> set[str]:
    return {name for (name,) in base.execute("SELECT name FROM pragma_table_info(?)", (table,))}


def _moved(base: sqlite3.Connection, database: Path) -> Iterator[tuple[str, str]]:
    """Old and new address of each experiment whose files came along, or are gone with the old."""
    for (old,) in base.execute("SELECT DISTINCT artifact_location FROM experiments"):
        _, is_ours, name = (old or "").rpartition(f"/{ARTIFACTS}/")
        new = place_of(database, unquote(name))
        if not is_ours or new == old or not old.startswith("file:"):
            continue
        if _folder(new).is_dir() or not _folder(old).is_dir():
            yield old, new


def _folder(address: str) -> Path:
    return Path(unquote(urlsplit(address).path))


def _rewrite(base: sqlite3.Connection, table: str, column: str, old: str, new: str) -> None:
    words = f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608 - names of ours
    words += f"WHERE {column} = ? OR substr({column}, 1, ?) = ?"
    base.execute(words, (new, len(old) + 1, old, len(old) + 1, f"{old}/"))
