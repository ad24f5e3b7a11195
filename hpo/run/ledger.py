"""The ledger: trial state in an Optuna study, written by the driver alone.

On disk it is SQLite in write-ahead mode, so a killed driver leaves it readable and complete up to
the last call that returned. Every call that changes a trial carries a sequence number; replaying
the calls in that order rebuilds an algorithm exactly. The study can also be opened by optuna-
dashboard.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hpo.core.bytes import why_not_writable
from hpo.core.errors import RunError
from hpo.core.own_folder import scratch_folder
from hpo.core.trial import Direction, Measurement, Purpose, Suggestion, TrialRecord, TrialState
from hpo.run.ledger_rows import Change, head_of, optuna_state, read_trial, template_of
from hpo.run.ledger_storage import (
    Patience,
    PatientStorage,
    copy_in_memory,
    first_line,
    holds_a_study,
    open_storage,
)  # fmt: skip

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage

STUDY_NAME = "study"
"""Constant, because Optuna's Hyperband hashes the name into its brackets."""

CHOSEN = "chosen"
"""Attribute of the study: the winner of a comparison, and over how many trials."""
STARTS = "starts"
"""Attribute of the study: a token of each start that wrote it, in order."""


class Ledger:
    """Trials of one study, in memory or in a SQLite file.

    Example: `start(suggestion)` -> record 0, RUNNING; `record(0, epoch 1)`; `finish(0, COMPLETE,
        value)`. Opened again after a crash in between, `trials()` shows trial 0 RUNNING with epoch
        1.
    """

    def __init__(self, storage: BaseStorage, direction: str) -> None:
        self._storage = storage
        self.path: Path | None = None
        """Its file; None in memory, and where it has just been made."""
        self.direction = Direction(direction)
        self._study_id = storage.get_study_id_from_name(STUDY_NAME)
        self._ids: dict[int, int] = {}
        self._records: dict[int, TrialRecord] = {}
        self._changes: list[Change] = []
        self._ended: list[int] = []
        self._chosen: Mapping[str, int] = {}
        self.active_seconds = 0.0
        self._load()

    @classmethod
    def create(cls, path: Path | None, direction: str) -> Ledger:
        """Make an empty ledger at `path`, or in memory when it is None."""
        from optuna.study import StudyDirection

        storage = open_storage(path)
        storage.create_new_study([StudyDirection[Direction(direction).name]], STUDY_NAME)
        return cls(storage, direction)

    @classmethod
    def open(cls, path: Path) -> Ledger:
        """Open the ledger of an existing run.

        Raises:
            RunError: when there is no ledger or it is not readable.
        """
        if not path.is_file():
            raise RunError(f"{path}: no ledger there, so this is not a run directory")
        if not holds_a_study(path):  # to open it would write tables into somebody's database
            raise RunError(f"{path}: must be the ledger of a search, and holds none; restore it")
        try:
            storage = open_storage(path)
            study_id = storage.get_study_id_from_name(STUDY_NAME)
            direction = storage.get_study_directions(study_id)[0]
            ledger = cls(storage, direction.name.lower())
        except ModuleNotFoundError:  # an installation without extras, told at the border
            raise
        except Exception as error:
            raise RunError(f"{path}: the ledger cannot be read: {first_line(error)}") from error
        ledger.path = path
        return ledger

    @classmethod
    def read(cls, path: Path) -> Ledger:
        """Open the ledger of an existing run to look at it, also where nothing can be written.

        SQLite writes beside a database that it reads; a copy is read where it cannot.

        Raises:
            RunError: when there is no ledger or it is not readable.
        """
        if not path.is_file() or not why_not_writable(path.parent):
            return cls.open(path)
        with scratch_folder("hpo-ledger") as folder:
            for name in (path.name, f"{path.name}-wal"):
                if path.with_name(name).is_file():
                    shutil.copyfile(path.with_name(name), folder / name)
            try:
                return cls.open(folder / path.name)
            except RunError as error:
                raise RunError(str(error).replace(str(folder), str(path.parent))) from error

    @classmethod
    def read_trials(cls, path: Path) -> tuple[list[TrialRecord], Direction]:
        """Return the trials of an existing run, and which of their values are better.

        Raises:
            RunError: as `read`.
        """
        with contextlib.closing(cls.read(path)) as ledger:
            return ledger.trials(), ledger.direction

    def copied(self) -> Ledger:
        """Return a copy in memory, to try out what may come."""
        return Ledger(copy_in_memory(self._storage, STUDY_NAME), self.direction)

    def wait_with(self, wait_for_space: Patience) -> None:
        """Let writes wait from now on while the disk has no room for them."""
        self._storage = cast("BaseStorage", PatientStorage(self._storage, wait_for_space))

    def close(self) -> None:
        """Let go of the database; what its log holds is then in the file itself."""
        self._storage.remove_session()
        engine = getattr(self._storage, "engine", None)  # none in memory
        if engine is not None:
            engine.dispose()

    @property
    def next_number(self) -> int:
        """The number that the next trial will have."""
        return len(self._records)

    def trials(self) -> list[TrialRecord]:
        """All trials in order of their numbers; live records, not copies."""
        return [self._records[n] for n in sorted(self._records)]

    def trial(self, number: int) -> TrialRecord:
        """One trial; KeyError when it does not exist."""
        return self._records[number]

    def ended(self) -> list[TrialRecord]:
        """Trials that have ended, in that order; no clock of the machine decides it."""
        return [self._records[number] for number in self._ended]

    @property
    def num_ended(self) -> int:
        """How many trials have ended."""
        return len(self._ended)

    @property
    def num_changes(self) -> int:
        """How many calls were recorded."""
        return len(self._changes)

    def changes(self) -> list[Change]:
        """Every recorded call in order."""
        return list(self._changes)

    def spans(self) -> dict[int, tuple[float, float]]:
        """When each trial began and was last heard of, on the clock that stops with the search."""
        found: dict[int, tuple[float, float]] = {}
        for change in self._changes:
            began, last = found.get(change.number, (change.clock, change.clock))
            found[change.number] = (began, max(last, change.clock))
        return found

    def start(
        self,
        suggestion: Suggestion,
        *,
        now: float,
        clock: float,
        seed: int = 0,
        purpose: Purpose = Purpose.SEARCH,
        distributions: Mapping[str, BaseDistribution] | None = None,
    ) -> TrialRecord:
        """Write a new RUNNING trial in one transaction and return its record.

        Args:
            suggestion: what will be trained; its number must be `next_number`.
            now: unix time.
            clock: seconds the search has been active.
            seed: the trial's random seed.
            purpose: what it is for.
            distributions: Optuna's view of the latents, so that its tools can read the study.
        """
        record = TrialRecord.of(suggestion, purpose=purpose, seed=seed, started=now)
        head = {"sequence": len(self._changes), "clock": clock, **head_of(record)}
        with self._writing():
            trial_id = self._create(record, head, distributions)
        number = self._storage.get_trial_number_from_id(trial_id)
        if number != suggestion.number:
            raise RunError(f"ledger: trial {suggestion.number} was written as {number}")
        self._ids[number] = trial_id
        self._records[number] = record
        self._note("start", number, None, clock)
        return record

    def _create(
        self,
        record: TrialRecord,
        head: dict[str, Any],
        distributions: Mapping[str, BaseDistribution] | None,
    ) -> int:
        """Write a trial; Optuna's tools see no params of one whose space was changed by force."""
        try:
            template = template_of(record, head, distributions)
            return self._storage.create_new_trial(self._study_id, template_trial=template)
        except ValueError:
            template = template_of(record, head, None)
            return self._storage.create_new_trial(self._study_id, template_trial=template)

    def record(self, number: int, measurement: Measurement, *, clock: float) -> None:
        """Write one epoch of a running trial; one that is already there is the caller's fault."""
        record = self._records[number]
        if measurement.epoch <= record.epochs:
            raise ValueError(f"trial {number}: epoch {measurement.epoch} is already recorded")
        line = {"sequence": len(self._changes), "clock": clock, **asdict(measurement)}
        del line["epoch"]  # which names it
        trial_id = self._ids[number]
        with self._writing():
            self._storage.set_trial_user_attr(trial_id, f"epoch:{measurement.epoch}", line)
            self._storage.set_trial_intermediate_value(
                trial_id, measurement.epoch, measurement.value
            )
        record.measurements.append(measurement)
        record.seconds += measurement.seconds
        self._mark()
        self._note("epoch", number, measurement, clock)

    def annotate(
        self, number: int, *, receipt: Mapping[str, Any] | None = None, retries: int | None = None
    ) -> None:
        """Keep a running trial's receipt, or the count of its restarts."""
        record = self._records[number]
        with self._writing():
            if receipt is not None:
                self._storage.set_trial_user_attr(self._ids[number], "receipt", dict(receipt))
                record.receipt = dict(receipt)
            if retries is not None:
                self._storage.set_trial_user_attr(self._ids[number], "retries", retries)
                record.retries = retries

    def choose(self, number: int) -> None:
        """Keep which trial a comparison of finalists chose; it is void once others are trained."""
        self._chosen = {"number": number, "over": len(self._records)}
        with self._writing():
            self._storage.set_study_user_attr(self._study_id, CHOSEN, self._chosen)
        self._mark()

    def note_start(self) -> None:
        """Keep that one more start writes on: copies of a ledger are told apart by their starts."""
        starts = self._storage.get_study_user_attrs(self._study_id).get(STARTS, [])
        with self._writing():
            tokens = [*starts, secrets.token_hex(4)]
            self._storage.set_study_user_attr(self._study_id, STARTS, tokens)

    def _mark(self) -> None:
        """Mark what a comparison chose, unless a trial that was not there has an epoch."""
        if not self._chosen:
            return
        over = self._chosen["over"]
        if any(r.measurements for number, r in self._records.items() if number >= over):
            self._chosen = {}
        for record in self._records.values():
            record.is_chosen = record.number == self._chosen.get("number")

    def finish(
        self,
        number: int,
        state: TrialState,
        *,
        now: float,
        clock: float,
        error: Mapping[str, str] | None = None,
    ) -> TrialRecord:
        """Close a trial; its value is its best epoch, and a failed trial has none."""
        record = self._records[number]
        if record.state.is_finished:
            raise ValueError(f"trial {number}: has already ended as {record.state}")
        best = record.best_measurement(self.direction)
        value = best.value if best and state is not TrialState.FAILED else None
        tail = {
            "sequence": len(self._changes),
            "clock": clock,
            "ended": now,
            "error": dict(error) if error else None,
        }
        values = None if value is None else [value]
        with self._writing():
            self._storage.set_trial_user_attr(self._ids[number], "end", tail)
            self._storage.set_trial_state_values(self._ids[number], optuna_state(state), values)
        record.state, record.value, record.ended = state, value, now
        record.error = dict(error) if error else None
        self._note("end", number, None, clock)
        return record

    def _note(self, what: str, number: int, measurement: Measurement | None, clock: float) -> None:
        self._changes.append(Change(len(self._changes), what, number, measurement, clock))
        self._ended += [number] if what == "end" else []
        self.active_seconds = max(self.active_seconds, clock)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn the error of a failed write into one line; what was written before stays."""
        from optuna.exceptions import StorageInternalError

        try:
            yield
        except StorageInternalError as error:
            cause = error.__cause__ or error.__context__ or error
            raise RunError(
                f"the ledger cannot be written: {first_line(cause)}; every call before is kept, "
                "so the search can be resumed from there"
            ) from error

    def _load(self) -> None:
        changes: list[Change] = []
        for frozen in self._storage.get_all_trials(self._study_id, deepcopy=False):
            record, its_changes = read_trial(frozen, self.direction)
            self._ids[record.number] = frozen._trial_id
            self._records[record.number] = record
            changes += its_changes
        self._chosen = self._storage.get_study_user_attrs(self._study_id).get(CHOSEN) or {}
        self._mark()
        # A call that was cut off leaves a gap in the numbers, never a wrong order.
        changes.sort(key=lambda change: change.sequence)
        self._changes = [c._replace(sequence=i) for i, c in enumerate(changes)]
        self._ended = [c.number for c in changes if c.what == "end"]
        self.active_seconds = max((c.clock for c in changes), default=0.0)
