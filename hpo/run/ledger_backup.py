"""Keeps a ledger on the driver's local disk and copies it to the run as trials end.

SQLite must not be written over a network file system, and a run on a cluster lies on one. The copy
is a plain ledger like any other, so every reader, and a resume on another machine, goes by it. A
resume on the same machine goes by the local one where that knows more, unless others have gone on
from the copy since.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import sqlite3
import threading
from pathlib import Path

from hpo.core.errors import RunError
from hpo.core.events import (
    Chosen,
    Event,
    Finished,
    Interrupted,
    Started,
    TrialEnded,
    TrialSuspended,
)
from hpo.core.own_folder import is_own, make_own, scratch_folder, temporary_place
from hpo.core.pacing import Pacer
from hpo.run.ledger import STARTS, Ledger
from hpo.run.ledger_storage import connect_to_read
from hpo.run.run_dir import RunDir

logger = logging.getLogger(__name__)

_LEDGERS_VARIABLE = "HPO_LEDGER_DIR"
"""Names the folder on the driver's own disk; by default one among the temporary files."""
_ENDINGS = ("", "-wal", "-shm")
"""Of the names of a database's files."""
_AT_ONCE = (Started, Chosen, Interrupted, Finished)
"""Events after which the copy is whole before anything else happens."""


def ledgers_dir() -> Path:
    """Where ledgers of runs on shared disks live while they are written."""
    chosen = os.environ.get(_LEDGERS_VARIABLE)
    return Path(chosen) if chosen else temporary_place("hpo-ledgers")


def open_ledger(
    run: RunDir, study_uuid: str, *, on_driver: bool
) -> tuple[Ledger, list[LedgerBackup]]:
    """Open the ledger of a run where it is to be written, and what copies it from there.

    Args:
        run: whose lock is held.
        study_uuid: names the ledger on the driver's disk.
        on_driver: whether it is to be written there, and not in the run directory.

    Returns:
        The ledger, and the one listener that keeps the run's copy up to date, if it needs one.

    Raises:
        MachineError: the folder on the driver's disk is another user's.
    """
    local, shared = ledgers_dir() / f"{study_uuid}.db", run.ledger_file
    is_named = bool(os.environ.get(_LEDGERS_VARIABLE))
    if (is_named or is_own(local.parent)) and local.is_file():
        _settle(local, run)
    if not on_driver or not shared.is_file():
        ledger = Ledger.open(shared)  # which says where it is missing
        if _read_starts(shared):
            ledger.note_start()
        return ledger, []
    if is_named:
        local.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    else:
        make_own(local.parent)
    copy_ledger(shared, local)
    ledger = Ledger.open(local)
    ledger.note_start()
    return ledger, [LedgerBackup(local, shared)]


def _settle(local: Path, run: RunDir) -> None:
    """Bring home what a driver has left on this disk, or move it out of the way."""
    shared = run.ledger_file
    starts = _read_starts(shared)
    if _read_starts(local)[: len(starts)] == starts:
        if _count_facts(local) > _count_facts(shared):
            logger.info("the ledger goes on from %s, which knows more than %s", local, shared)
            copy_ledger(local, shared)
        _remove(local)
        return
    aside = run.free_place_aside(shared.name)
    for ending in _ENDINGS:
        if local.with_name(local.name + ending).exists():
            shutil.move(local.with_name(local.name + ending), f"{aside}{ending}")
    logger.warning(
        "the search goes on from %s: other starts have gone on from it since this machine wrote "
        "a ledger of its own, which is now %s",
        shared,
        aside,
    )


class LedgerBackup:
    """Copies a ledger to the run when trials have ended; a `hpo.core.protocols.Listener`.

    That is done beside the search, and more rarely where it takes long: all of the ledger is
    copied, however little is new.

    Args:
        local: the ledger that is written.
        shared: the copy.
    """

    def __init__(self, local: Path, shared: Path) -> None:
        self._local, self._shared = local, shared
        self._problem = ""
        self._is_behind, self._pacer = False, Pacer()
        self._copying = threading.Thread()

    def handle(self, event: Event) -> None:
        """Copy where a trial has ended or was suspended, unless that still takes long."""
        self._is_behind |= isinstance(event, TrialEnded | TrialSuspended)
        if isinstance(event, _AT_ONCE):
            self._catch_up()
        elif self._is_behind and not self._copying.is_alive() and self._pacer.is_due():
            self._is_behind = False
            self._copying = threading.Thread(target=self._copy, name="ledger-backup")
            self._copying.start()

    def close(self) -> None:
        """Copy for the last time."""
        self._catch_up()

    def _catch_up(self) -> None:
        """Copy all there is, after a copy that is being made."""
        if self._copying.is_alive():
            self._copying.join()
        self._is_behind = False
        self._copy()

    def discard(self) -> None:
        """Remove the local ledger, once it is closed and all of it has arrived."""
        if 0 <= _count_facts(self._local) <= _count_facts(self._shared):
            _remove(self._local)

    def _copy(self) -> None:
        """Copy; a disk that is away or full for a while only makes the copy late."""
        try:
            with self._pacer.timed():
                copy_ledger(self._local, self._shared)
        except (OSError, RunError) as error:
            if not self._problem:
                logger.warning(
                    "%s cannot be brought up to date: %s; the search goes on, its ledger is %s",
                    self._shared,
                    getattr(error, "strerror", None) or error,
                    self._local,
                )
            self._problem = str(error)
        else:
            self._problem = ""


def copy_ledger(source: Path, target: Path) -> None:
    """Copy a ledger that may be in use; the target is replaced in one step.

    Raises:
        OSError: when the target cannot be written.
        RunError: when the source is no ledger, or knows less than the target.
    """
    with scratch_folder("hpo-ledger") as folder:
        whole = folder / "ledger.db"
        try:
            with (
                contextlib.closing(connect_to_read(source)) as old,
                contextlib.closing(sqlite3.connect(whole)) as new,
            ):
                old.backup(new)
                new.execute("PRAGMA journal_mode=DELETE")  # one file, whole in itself
        except sqlite3.Error as error:
            raise RunError(f"{source}: the ledger cannot be copied: {error}") from error
        if _count_facts(whole) < _count_facts(target):
            raise RunError(f"{source}: knows less than {target}, which stays as it is")
        draft = target.with_name(f".{target.name}-{os.getpid()}")
        try:
            shutil.copyfile(whole, draft)
            with draft.open("rb") as stream:
                os.fsync(stream.fileno())
            _remove_journals(target)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)


def _count_facts(path: Path) -> int:
    """How much a ledger knows: every recorded call adds to it."""
    try:
        with contextlib.closing(connect_to_read(path)) as base:
            return int(base.execute("SELECT count(*) FROM trial_user_attributes").fetchone()[0])
    except sqlite3.Error:
        return -1


def _read_starts(path: Path) -> list[str]:
    """The starts that have written a ledger (`Ledger.note_start`); earlier releases left none."""
    with contextlib.suppress(sqlite3.Error), contextlib.closing(connect_to_read(path)) as base:
        asked = "SELECT value_json FROM study_user_attributes WHERE key = ?"
        return [text for row in base.execute(asked, (STARTS,)) for text in json.loads(row[0])]
    return []


def _remove_journals(path: Path) -> None:
    """Journals of a replaced database would be played into the new one."""
    for ending in _ENDINGS[1:]:
        path.with_name(path.name + ending).unlink(missing_ok=True)


def _remove(path: Path) -> None:
    _remove_journals(path)
    path.unlink(missing_ok=True)
