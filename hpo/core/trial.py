"""Types of one trial: suggestion, launch, measurement, decision, record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any

OVER_LIMIT = "over_limit"
"""The cause of a trial that was refused before it started."""

FAILURE_KINDS = (
    "infrastructure",
    "data",
    "image",
    "credential",
    "spec",
    "code",
    "out_of_memory",
    "diverged",
    OVER_LIMIT,
)
"""Why a trial can fail: the six published causes, two that the sampler learns from, and a model
beyond the limits of the study."""


class TrialState(StrEnum):
    """Where a trial stands; the words are Optuna's, FAIL is spelt `failed` for people."""

    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"

    @property
    def is_finished(self) -> bool:
        """Whether nothing more can happen to the trial."""
        return self is not TrialState.RUNNING


class Direction(StrEnum):
    """Which values of a metric are better."""

    MAXIMIZE = "maximize"
    MINIMIZE = "minimize"

    @property
    def sign(self) -> float:
        """What turns a value into one of which more is better: 1 or -1."""
        return 1.0 if self is Direction.MAXIMIZE else -1.0

    def best(self, values: Iterable[float]) -> float:
        """The best of some values, of which there is one at least."""
        return max(values) if self is Direction.MAXIMIZE else min(values)


class Purpose(StrEnum):
    """What a trial is for."""

    SEARCH = "search"
    CONFIRM = "confirm"
    """A finalist is trained again with another seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialStage:
    """Where a trial belongs in a search of several stages; the default in one of a single stage."""

    name: str = ""
    left: int = 0
    """Stages that come after it: 0 for the last one, in which the best trial is chosen."""
    parent: int | None = None
    """The trial of an earlier stage whose best checkpoint this one begins with."""
    batch: int | None = None
    """The first of the trials that are trained together with it; None where it is trained alone."""

    @property
    def label(self) -> str:
        """In a few words: `heads`, `full from trial 3`; empty in a search of a single stage."""
        return self.name if self.parent is None else f"{self.name} from trial {self.parent}"

    def is_counted(self, number: int) -> bool:
        """Whether trial `number` counts in a budget of trials, in which a batch counts as one."""
        return self.batch in (None, number)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, without what is not so."""
        return {name: value for name, value in asdict(self).items() if value not in ("", None)}


ONLY_STAGE = TrialStage()


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """What to train: the parameters, how far, and from where."""

    number: int
    params: dict[str, Any]
    """Searched parameters by dotted name, in spec units."""
    latents: dict[str, Any]
    """The same point as the sampler sees it (see `search_spaces.SearchSpace.encode`)."""
    until_epoch: int
    start_from: tuple[int, int] | None = None
    """(trial, epoch) whose checkpoint to start from."""
    note: str = ""
    """What people should know of how it was chosen, one line."""
    memo: dict[str, Any] | None = None
    """What the algorithm must find again when it is rebuilt from the ledger; plain data."""
    stage: TrialStage = ONLY_STAGE


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One validated epoch of a trial."""

    epoch: int
    """Counted from 1, after the epoch has ended."""
    value: float
    """The monitored metric."""
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    """Since the measurement before: of several epochs where not each is validated."""
    checkpoint: str | None = None
    """Path below the trial's folder."""
    gpus: float | None = None
    """GPUs that the trial held meanwhile; None in ledgers of versions that did not keep it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether a trial goes on, and why not."""

    stop: bool
    reason: str = ""


CONTINUE = Decision(stop=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One start of a trial, or of a batch of them, as handed to an executor."""

    number: int
    spec: dict[str, Any]
    """The trainer's full spec, nested."""
    folder: str
    """The trial's folder, absolute."""
    resume_from: str | None = None
    """Checkpoint to go on from, absolute."""
    start_epoch: int | None = None
    """Where `resume_from` is another trial's: the epoch that it must be of."""
    members: tuple[Launch, ...] = ()
    """The trials of a batch, this one first, which a `BatchTrainer` trains together."""

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Launch:
        """Make a launch of its plain data (`dataclasses.asdict`)."""
        return cls(**{**data, "members": tuple(cls.of(member) for member in data["members"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a trial ended, as an executor saw it: a receipt, a failure, or neither when stopped."""

    receipt: dict[str, Any] | None = None
    failure: dict[str, str] | None = None
    """`{"kind", "message"}`, kind one of `FAILURE_KINDS`."""


FALLBACK = "fallback"
"""Key of a memo: see `TrialRecord.is_fallback`."""


@dataclass(slots=True, kw_only=True)
class TrialRecord:
    """Everything the ledger knows of a trial."""

    number: int
    state: TrialState
    params: dict[str, Any]
    latents: dict[str, Any]
    until_epoch: int
    start_from: tuple[int, int] | None = None
    note: str = ""
    memo: dict[str, Any] | None = None
    purpose: Purpose = Purpose.SEARCH
    seed: int = 0
    measurements: list[Measurement] = field(default_factory=list)
    value: float | None = None
    """Best value over the epochs, for complete and pruned trials."""
    error: dict[str, str] | None = None
    """`{"kind", "message"}` of a failed trial."""
    receipt: dict[str, Any] | None = None
    seconds: float = 0.0
    """Time spent in the trial's epochs, downtime excluded."""
    started: float = 0.0
    """Unix time of the first start."""
    ended: float | None = None
    retries: int = 0
    """How often the trial was started again after its worker was lost."""
    stage: TrialStage = ONLY_STAGE
    is_chosen: bool = False
    """Whether a comparison of finalists chose this trial, and none was begun after that."""
    _best: _Best | None = field(default=None, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, suggestion: Suggestion, **facts: Any) -> TrialRecord:
        """The record of a trial that starts as it was suggested."""
        own = {item.name: getattr(suggestion, item.name) for item in fields(suggestion)}
        return cls(state=TrialState.RUNNING, **own, **facts)

    @property
    def is_repeat(self) -> bool:
        """Whether the trial is a finalist that is trained again."""
        return self.purpose == Purpose.CONFIRM

    @property
    def is_fallback(self) -> bool:
        """Whether a language model was to choose the trial and failed to."""
        # Earlier releases have left the note alone.
        return bool((self.memo or {}).get(FALLBACK)) or self.note.startswith(FALLBACK)

    @property
    def is_refused(self) -> bool:
        """Whether the trial was refused before it started, and so counts as none."""
        return self.error is not None and self.error["kind"] == OVER_LIMIT

    @property
    def is_counted(self) -> bool:
        """Whether it counts as one trial of the budget."""
        is_extra = self.is_repeat or self.is_refused
        return self.stage.is_counted(self.number) and not is_extra

    @property
    def epochs(self) -> int:
        """The last validated epoch, those before a warm start included."""
        return self.measurements[-1].epoch if self.measurements else self.base_epoch

    @property
    def base_epoch(self) -> int:
        """The epoch of the checkpoint that the trial starts from; 0 for a cold start."""
        return self.start_from[1] if self.start_from else 0

    @property
    def trained_epochs(self) -> int:
        """Epochs that this trial has trained itself, which is what it costs."""
        return self.epochs - self.base_epoch

    @property
    def seconds_per_epoch(self) -> float:
        """Mean over the epochs that it has trained itself; 0 before the first."""
        return self.seconds / self.trained_epochs if self.trained_epochs else 0.0

    def is_twin_of(self, other: TrialRecord) -> bool:
        """Whether both train one configuration: the same parameters from the same parent."""
        return self.params == other.params and self.stage.parent == other.stage.parent

    def best_measurement(self, direction: str) -> Measurement | None:
        """The epoch with the best value so far; the earliest of equals."""
        if not self.measurements:
            return None
        count, newest = len(self.measurements), self.measurements[-1]
        if self._best is None or not self._best.holds(count, newest, direction):
            sign = Direction(direction).sign
            best = max(self.measurements, key=lambda m: (sign * m.value, -m.epoch))
            self._best = _Best(count=count, newest=newest, direction=direction, measurement=best)
        return self._best.measurement


@dataclass(frozen=True, slots=True, kw_only=True)
class _Best:
    """The best of so many measurements, which is asked for far more often than it changes."""

    count: int
    newest: Measurement
    direction: str
    measurement: Measurement

    def holds(self, count: int, newest: Measurement, direction: str) -> bool:
        """Whether it is still the best of these."""
        return self.count == count and self.newest is newest and self.direction == direction
