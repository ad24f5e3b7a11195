"""Opens the ledger's SQLite storage, with a variant that waits while the disk is full."""

from __future__ import annotations

import contextlib
import functools
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

T = TypeVar("T")

_WRITES = frozenset(
    {
        *("create_new_trial", "set_trial_user_attr", "set_trial_intermediate_value"),
        *("set_trial_state_values", "set_study_user_attr"),
    }
)
"""Methods that change a study, each in one transaction."""

_NO_PATH = "sqlite://"
"""Optuna's address of a database in memory, or of one that is opened for it."""

_READABLE: set[str] = set()
"""Versions of the tables that were checked: at every check Optuna loads all its migrations."""


class Patience(Protocol):
    """Calls something again until there is room for what it writes; see `hpo.run.disk_space`."""

    def __call__(self, work: Callable[[], T]) -> T:
        """Call it, and return its result."""


class PatientStorage:
    """A storage whose writes wait for room.

    A write that failed has changed nothing, so it is simply made again.

    Args:
        storage: does the work.
        wait_for_space: makes a write until it succeeds, or raises what it met.
    """

    def __init__(self, storage: BaseStorage, wait_for_space: Patience) -> None:
        self._storage, self._wait_for_space = storage, wait_for_space

    def __getattr__(self, name: str) -> Any:
        """Whatever the storage has."""
        method = getattr(self._storage, name)
        if name not in _WRITES:
            return method
        return lambda *args, **more: self._wait_for_space(functools.partial(method, *args, **more))


def copy_in_memory(storage: BaseStorage, study_name: str) -> BaseStorage:
    """Return a storage in memory with the same study, running trials included."""
    import optuna

    copy = open_storage(None)
    optuna.copy_study(
        from_study_name=study_name, from_storage=storage, to_storage=copy, to_study_name=study_name
    )
    return copy


def open_storage(path: Path | None) -> BaseStorage:
    """Open the database at `path`, making it where it is missing; None means memory."""
    import optuna
    from optuna.storages import InMemoryStorage, RDBStorage
    from sqlalchemy.pool import QueuePool

    if optuna.logging.get_verbosity() != optuna.logging.WARNING:  # as `optuna_points.quiet_optuna`
        optuna.logging.set_verbosity(optuna.logging.WARNING)
    if path is None:
        return InMemoryStorage()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_schema").fetchone():
            with contextlib.closing(sqlite3.connect(":memory:")) as empty:
                empty.deserialize(_empty_database())
                empty.backup(connection)
        connection.execute("PRAGMA journal_mode=WAL")
    # As part of an address some paths would name another file, and Optuna expands braces in it.
    connect = functools.partial(sqlite3.connect, path, timeout=60, check_same_thread=False)
    engine = {"creator": connect, "poolclass": QueuePool}
    storage = RDBStorage(_NO_PATH, engine, skip_compatibility_check=True)
    if (version := storage.get_current_version()) not in _READABLE:
        storage = RDBStorage(_NO_PATH, engine)  # raises if this Optuna cannot read that version
        _READABLE.add(version)
    _relax_syncs(storage)
    return storage


@functools.cache
def _empty_database() -> bytes:
    """Optuna's tables without a study: whenever it makes them, it loads all its migrations."""
    from optuna.storages import RDBStorage

    storage = RDBStorage(_NO_PATH)
    content: bytes = storage.engine.raw_connection().driver_connection.serialize()  # type: ignore[union-attr]
    return content


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open a database that must be there and is not written to."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def holds_a_study(path: Path) -> bool:
    """Look without writing; a file that cannot be read is refused where it is opened."""
    try:
        with contextlib.closing(connect_to_read(path)) as connection:
            return bool(connection.execute("SELECT study_id FROM studies").fetchall())
    except sqlite3.OperationalError as error:
        return "no such table" not in str(error)
    except sqlite3.DatabaseError:
        return True


def first_line(error: BaseException) -> str:
    """An error in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _relax_syncs(storage: Any) -> None:
    """Sync per checkpoint of the log, not per commit: in WAL mode safe against a killed process."""
    from sqlalchemy import event

    storage.engine.dispose()

    @event.listens_for(storage.engine, "connect")
    def set_pragma(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA synchronous=NORMAL")
