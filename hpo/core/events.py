"""The events of a search, each a frozen dataclass.

A listener (`hpo.core.protocols.Listener`) looks at an event's class. In `events.ndjson` and in the
output of `--json` an event is a flat JSON object (`hpo.core.event_json`), whose `event` is the
class's `name`; `started`, `finished` and `error` frame what `--json` prints.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from hpo.core.budget import Budget, Spent
from hpo.core.forecast import Forecast
from hpo.core.rungs import Rung
from hpo.core.stages import StageOrder
from hpo.core.trial import (
    OVER_LIMIT,
    Direction,
    Measurement,
    Purpose,
    TrialRecord,
    TrialStage,
    TrialState,
)
from hpo.core.trial_row import IF_KNOWN, TrialRow, known_stage

FLAT = {"flat": True}
"""Marks a mapping whose items stand in the event's JSON object themselves."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that has happened in a search."""

    name: ClassVar[str]
    """What the event is called in JSON."""
    time: float = field(default_factory=lambda: round(time.time(), 3), compare=False)
    """Unix seconds."""

    def __init_subclass__(cls, *, name: str = "") -> None:
        """Take the name of a kind of event: `class Started(Event, name="started")`."""
        if name:
            cls.name = name


# A search begins ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Started(Event, name="started"):
    """A search starts, or goes on."""

    run_dir: str
    study: str = ""
    budget: Budget = field(default_factory=Budget)
    trials_so_far: int = 0
    spent: Spent = field(default_factory=Spent)
    """What earlier starts of it have used."""
    direction: Direction = Direction.MAXIMIZE
    metric: str = ""
    trials: Sequence[TrialRow] = ()
    resume: str = ""
    """What goes on with it once it has stopped: a command, or the call of a program."""


@dataclass(frozen=True, kw_only=True)
class Preparing(Event, name="preparing"):
    """Something that takes time begins while no trial runs."""

    what: str
    """`workers`, `images`, `probe`, `baseline`, `comparison`, `average`, `export`,
    `held_out` or `report`."""


@dataclass(frozen=True, kw_only=True)
class Review(Event, name="review"):
    """What a search is about to do; its first trial starts after this."""

    study: str = ""
    trainer: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    """`splits` and `findings`, as the trainer's `inspect_data` returns them."""
    searched: Sequence[str] = ()
    """Names of the searched parameters."""
    earlier: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Stage before the last -> names of its searched parameters."""
    pinned: Mapping[str, str] = field(default_factory=dict)
    """Parameter that keeps its value -> why."""
    warnings: Sequence[str] = ()
    algorithm: str = ""
    pruner: str = "none"
    reason: str = ""
    """Why this algorithm and pruner."""
    start: Sequence[str] = ()
    """What the trainer chose to start from, and why."""
    first: Sequence[str] = ()
    """Where the first configurations come from."""
    learned: Mapping[str, int] = field(default_factory=dict)
    """Stage -> how many configurations that were learned on other data come after its default."""
    budget: Budget = field(default_factory=Budget)
    epochs_per_trial: int
    concurrent: int = 1
    cpus_per_trial: float = 0.0
    gpus_per_trial: float = 0.0
    packing: Mapping[str, Any] | None = None
    """How many trials share a GPU (`per_gpu`) or all memory (`at_a_time`), and why (`reason`)."""
    probe: Mapping[str, Any] = field(default_factory=dict)
    """As the trainer's `probe` returns it; empty where nothing was measured."""
    estimate_s: float | None = None
    """Seconds that the search is expected to take."""
    forecast: Forecast | None = None
    prepared_in_s: float = 0.0


# Trials -------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class AlgorithmStep(Event, name="algorithm"):
    """What an algorithm did that people may want to know of."""

    algorithm: str
    step: str
    trial: int
    text: str
    more: Mapping[str, Any] = field(default_factory=dict, metadata=FLAT)
    """What belongs to this kind of step."""


@dataclass(frozen=True, kw_only=True)
class TrialStarted(Event, name="trial_started"):
    """A trial starts to train, or goes on."""

    trial: int
    params: Mapping[str, Any] = field(default_factory=dict)
    purpose: Purpose = Purpose.SEARCH
    resumed_from_epoch: int | None = None
    start_from: tuple[int, int] | None = None
    note: str = ""
    stage: TrialStage | None = field(default=None, metadata=IF_KNOWN)

    @classmethod
    def of(cls, record: TrialRecord, *, is_resumed: bool) -> Self:
        """The start of a recorded trial."""
        return cls(
            trial=record.number,
            params=record.params,
            purpose=record.purpose,
            resumed_from_epoch=record.epochs if is_resumed else None,
            start_from=record.start_from,
            note=record.note,
            stage=known_stage(record),
        )


@dataclass(frozen=True, kw_only=True)
class TrialProgress(Event, name="trial_progress"):
    """What a trial does before its first epoch ends, and how far it is: `head epochs 12/20`."""

    trial: int
    text: str
    """Empty once the first epoch has begun."""


@dataclass(frozen=True, kw_only=True)
class Epoch(Event, name="epoch"):
    """An epoch of a trial was trained, validated and recorded."""

    trial: int
    epoch: int
    value: float
    seconds: float = 0.0
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    """None for a number that JSON does not know."""
    gpus: float | None = field(default=None, metadata=IF_KNOWN)
    """That the trial held meanwhile."""

    @classmethod
    def of(cls, record: TrialRecord, measurement: Measurement) -> Self:
        """An epoch of a recorded trial."""
        return cls(
            trial=record.number,
            epoch=measurement.epoch,
            value=measurement.value,
            seconds=round(measurement.seconds, 3),
            metrics=measurement.metrics,
            gpus=measurement.gpus,
        )


@dataclass(frozen=True, kw_only=True)
class TrialEnded(Event):
    """A trial is complete, pruned or failed."""

    trial: int
    state: TrialState
    value: float | None = None
    epoch: int = 0
    seconds: float = 0.0
    error: Mapping[str, str] | None = None
    """`kind` and `message` of a failed trial."""
    reason: str = ""
    stage: TrialStage | None = field(default=None, metadata=IF_KNOWN)

    @classmethod
    def of(cls, record: TrialRecord, reason: str) -> Self:
        """The end of a recorded trial."""
        return cls(
            trial=record.number,
            state=record.state,
            value=record.value,
            epoch=record.epochs,
            seconds=round(record.seconds, 3),
            error=record.error,
            reason=reason or _origin(record) or record.note,
            stage=known_stage(record),
        )

    @property
    def is_refused(self) -> bool:
        """Whether the trial was refused before it started, and so counts as none."""
        return self.error is not None and self.error["kind"] == OVER_LIMIT


def _origin(record: TrialRecord) -> str:
    """Where a warm trial came from."""
    if record.start_from is not None:
        number, epoch = record.start_from
        return f"from trial {number}, epoch {epoch}"
    parent = record.stage.parent
    return "" if parent is None else f"begins with the best checkpoint of trial {parent}"


@dataclass(frozen=True, kw_only=True)
class TrialFinished(TrialEnded, name="trial_finished"):
    """A trial of the search has ended."""


@dataclass(frozen=True, kw_only=True)
class Confirmed(TrialEnded, name="confirmed"):
    """A finalist's run with another seed has ended."""


@dataclass(frozen=True, kw_only=True)
class TrialSuspended(Event, name="trial_suspended"):
    """A trial stopped after an epoch, and goes on later."""

    trial: int
    epoch: int
    reason: str = ""


# The disk -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class CheckpointsRemoved(Event, name="checkpoints_removed"):
    """Checkpoints of a trial that nothing can need any more were removed."""

    trial: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class DiskLow(Event, name="disk_low"):
    """Little may still be written."""

    free_bytes: int
    needed_bytes: int
    """What a trial needs to start."""
    text: str


@dataclass(frozen=True, kw_only=True)
class Paused(Event, name="paused"):
    """The search waits for room on the disk."""

    text: str
    free_bytes: int
    needed_bytes: int


@dataclass(frozen=True, kw_only=True)
class Continued(Event, name="continued"):
    """There is room on the disk again."""

    text: str
    free_bytes: int
    waited_s: float = 0.0
    """In which nothing could be written, not even of running trials: charged to no budget."""


# A search ends ------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Chosen(Event, name="chosen"):
    """Finalists that were trained again have been compared."""

    winner: int
    default: int | None
    """The trial of the default configuration, where it is among them."""
    standings: Sequence[Mapping[str, Any]]
    words: Sequence[str]
    """The same for people, a sentence each."""


@dataclass(frozen=True, kw_only=True)
class Averaged(Event, name="averaged"):
    """The weights of the best trials have been averaged."""

    trials: Sequence[int]
    """Whose mean it is, the winner first; the winner alone where no other one helped."""
    value: float | None
    """The metric of the average on the validation queries."""
    alone: float | None
    """The same of the winner."""
    is_used: bool
    """Whether the average is handed on."""
    words: str


HELD_OUT = ("test", "held-out")
"""Splits whose pictures chose nothing."""


@dataclass(frozen=True, kw_only=True)
class Evaluated(Event, name="evaluated"):
    """The best trial was evaluated once."""

    trial: int | None
    split: str
    """One of `HELD_OUT`, `validation`, or `final`: the caller knows where."""
    metrics: Mapping[str, Any]
    metric_value: float | None = None
    words: str = ""
    """The figure with its interval, and the default's beside it."""
    status: str | None = field(default=None, metadata=IF_KNOWN)
    reason: str | None = field(default=None, metadata=IF_KNOWN)


@dataclass(frozen=True, kw_only=True)
class Exported(Event, name="exported"):
    """A trial was exported as a checked ONNX file."""

    trial: int
    result: Mapping[str, Any] = field(metadata=FLAT)
    """What the trainer's `export` returned, with `onnx` (the file) and `seconds`."""


@dataclass(frozen=True, kw_only=True)
class Finished(Event, name="finished"):
    """A search has ended in order, with its budget spent."""

    run_dir: str
    study: str = ""
    best: Mapping[str, Any] | None = None
    """What was handed on of the best trial; None where no trial has a result."""
    trials: Mapping[str, int] = field(default_factory=dict)
    """State -> number of trials."""
    suspended: int = 0
    confirmations: int = 0
    budget: Budget = field(default_factory=Budget)
    spent: Spent = field(default_factory=Spent)
    ended_because: str = ""
    rungs: tuple[Rung, ...] = ()
    stages: tuple[StageOrder, ...] = ()
    edges: tuple[str, ...] = ()
    """Ranges whose end is where the best values are, in words."""
    fallbacks: int = 0
    """Trials that a sampler chose in place of a language model."""
    report: str | None = None
    """The file of the report."""


@dataclass(frozen=True, kw_only=True)
class Interrupted(Event, name="interrupted"):
    """The user stopped the search; all of it is saved."""

    run_dir: str
    resume: str
    """As of `Started`."""


@dataclass(frozen=True, kw_only=True)
class Error(Event, name="error"):
    """The search ended by an error."""

    run_dir: str | None = field(default=None, metadata=IF_KNOWN)
    message: str
