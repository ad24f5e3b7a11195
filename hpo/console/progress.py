"""Counts a search's events into what the live view and the status line show."""

from __future__ import annotations

import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import singledispatchmethod

from hpo.core import events
from hpo.core.budget import Budget, Spent, fraction_used
from hpo.core.selection import repeated
from hpo.core.text import metric_word
from hpo.core.trial import ONLY_STAGE, Direction, Purpose, TrialStage, TrialState
from hpo.core.trial_row import TrialRow

_LAST = "trials"
"""What trials of the last stage are called, which are those that people mean."""


@dataclass(slots=True, kw_only=True)
class RunningTrial:
    """One trial that is being trained."""

    began: float
    epoch: int = 0
    values: list[float] = field(default_factory=list)
    """Of the epochs that were trained in this start."""
    is_repeat: bool = False
    """Whether it is a finalist trained again."""
    stage: TrialStage = ONLY_STAGE
    doing: str = ""
    """What is done before its first epoch ends, such as `head epochs 12/20`; empty in an epoch."""

    def at(self, epochs: int) -> str:
        """Where it stands, of so many epochs: `3/9`, or what it does before them."""
        return self.doing or f"{self.epoch}/{epochs}"


@dataclass(slots=True, kw_only=True)
class Best:
    """The best value so far."""

    value: float
    trial: int
    epoch: int = 0
    """At which it was measured."""
    repeats: int = 0
    """Over how many it is the mean; 0 for the value of a trial's own run."""


@dataclass(slots=True)
class Pace:
    """How many trials of one stage end in the time in which some of it run."""

    ended: int = 0
    running: int = 0
    _busy_s: float = 0.0
    _since: float = 0.0

    def begin(self, now: float) -> None:
        """Count a trial that starts."""
        if not self.running:
            self._since = now
        self.running += 1

    def end(self, now: float, *, has_ended: bool) -> None:
        """Count a trial that no longer runs."""
        self.running -= 1
        self.ended += has_ended
        if not self.running:
            self._busy_s += now - self._since

    def per_hour(self, now: float) -> float | None:
        """Trials an hour; None before the first has ended."""
        seconds = self._busy_s + (now - self._since if self.running else 0.0)
        return 3600 * self.ended / seconds if self.ended and seconds > 0 else None


class Progress:
    """Counts what happens; asks a clock and nothing else.

    Args:
        now: a clock in seconds that never goes back.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._began: float | None = None
        self._durations: list[float] = []
        """Of trials of the last stage."""
        self._paces: defaultdict[str, Pace] = defaultdict(Pace)
        """Name of a stage, or `trials` for the last one, and how quick it is in this start."""
        self._epoch_seconds: list[float] = []
        self._expected_s: float | None = None
        self._gpus = 0.0
        self._counted: set[int] = set()
        self.budget = Budget()
        self.spent = Spent()
        self.epochs_per_trial = 0
        self.slots = 1
        self.running: dict[int, RunningTrial] = {}
        self.counts: Counter[str] = Counter()
        self.causes: Counter[str] = Counter()
        self.best: Best | None = None
        self._default: dict[int, float] = {}
        """Epoch -> best value of the default configuration by then."""
        self._defaults: dict[int, tuple[Mapping[str, object], int | None]] = {}
        """Trial of the default configuration -> its parameters and parent."""
        self._repeats: defaultdict[int, list[float]] = defaultdict(list)
        """Finalist -> values of its repeats."""
        self._ended_repeats = self._expected_repeats = 0
        self.direction = "maximize"
        self.metric_word = metric_word("")

    @singledispatchmethod
    def handle(self, event: events.Event) -> None:
        """Take an event into account; those not named below change no count."""

    # What is shown --------------------------------------------------------------------------------

    def done(self) -> int:
        """Trials that have ended."""
        return sum(self.counts.values())

    @property
    def has_begun(self) -> bool:
        """Whether a trial has started in this start."""
        return self._began is not None

    def elapsed(self) -> float:
        """Seconds since the first trial of this start."""
        return 0.0 if self._began is None else self._now() - self._began

    def fraction(self) -> float:
        """Share of the budget that is gone; a trial under way counts by its epochs.

        Of a number of trials; once they have ended, of the repeats that follow.
        """
        if (repeats := self.repeats()) is not None and self.epochs_per_trial:
            part = sum(t.epoch for t in self.running.values()) / self.epochs_per_trial
            shares = [(repeats[0] + part) / max(1, repeats[1])]
        elif self.budget.trials is not None and self.epochs_per_trial:
            part = sum(
                t.epoch for t in self.running.values() if not t.is_repeat and not t.stage.left
            )
            trials = self.done() + part / self.epochs_per_trial
            shares = [trials / self.budget.trials]
        else:
            shares = []
        others = replace(self.budget, trials=None)
        return min(1.0, max([*shares, fraction_used(others, self._spent_now())]))

    def repeats(self) -> tuple[int, int] | None:
        """Repeats that have ended, and about how many there will be.

        None while trials of a number of them are left, and where time is the limit.
        """
        under_way = [trial.is_repeat for trial in self.running.values()]
        begun = self._ended_repeats + sum(under_way)
        is_over = self.budget.trials is not None and self.done() >= self.budget.trials
        if not begun or not is_over or not all(under_way):
            return None
        return self._ended_repeats, max(begun, self._expected_repeats)

    def gain(self) -> float | None:
        """How much better the best is than the default configuration was by the same epoch."""
        if self.best is None or self.best.trial in self._defaults:
            return None
        if self.best.repeats:
            own = (found for number, found in self._repeats.items() if number in self._defaults)
            default = next(own, [])[: self.best.repeats]
            return self.best.value - statistics.fmean(default) if default else None
        return self.gain_of(self.best.value, self.best.epoch)

    def gain_of(self, value: float, epoch: int) -> float | None:
        """How much better a value is than the default's best by that epoch; None if unknown."""
        default = self._default.get(epoch)
        return None if default is None else value - default

    def best_of(self, trial: RunningTrial) -> float | None:
        """The best value of a running trial in this start."""
        return max(trial.values, key=lambda value: self.sign * value, default=None)

    @property
    def sign(self) -> float:
        """1 where more is better, -1 where less is."""
        return Direction(self.direction).sign

    def paces(self) -> dict[str, float]:
        """What ends in an hour, of the stages that run or, where none does, of the last one.

        Returns:
            `trials`, or the name of an earlier stage -> how many; those of which none has ended
            are left out.
        """
        now, paces = self._now(), self._paces
        names = [name for name, pace in paces.items() if pace.running] or [_LAST]
        found = {name: paces[name].per_hour(now) for name in names if name in paces}
        return {name: pace for name, pace in found.items() if pace is not None}

    def remaining(self) -> tuple[float, float] | None:
        """Seconds left, as the ends of an interval; None while nothing is known."""
        limits = [limit for limit in (self._time_left(), self._trials_left()) if limit is not None]
        if not limits:
            return None
        return min(low for low, _ in limits), min(high for _, high in limits)

    def _time_left(self) -> tuple[float, float] | None:
        """Until the limit on time or epochs."""
        spent, lefts = self._spent_now(), []
        if self.budget.seconds is not None:
            lefts.append(self.budget.seconds - spent.seconds)
        if self.budget.gpu_seconds is not None and self._gpus:
            lefts.append((self.budget.gpu_seconds - spent.gpu_seconds) / (self._gpus * self.slots))
        if self.budget.epochs is not None and self._epoch_seconds:
            pace = statistics.fmean(self._epoch_seconds[-50:]) / self.slots
            lefts.append((self.budget.epochs - spent.epochs) * pace)
        if not lefts:
            return None
        left = max(0.0, min(lefts))
        return left, left

    def _trials_left(self) -> tuple[float, float] | None:
        """Until the last trial: by the review at first, by the trials that have ended later."""
        if self.budget.trials is None:
            return None
        if len(self._durations) < 2:
            if self._expected_s is None:
                return None
            left = max(0.0, self._expected_s - self.elapsed())
            return 0.6 * left, 1.4 * left
        usual, count = statistics.fmean(self._durations), len(self._durations)
        # `statistics.stdev` reckons in fractions, which takes long.
        spread = (sum((d - usual) ** 2 for d in self._durations) / (count - 1)) ** 0.5
        waiting = max(0, self.budget.trials - len(self._counted))
        begun = self._ended_repeats + sum(t.is_repeat for t in self.running.values())
        again = max(0, self._expected_repeats - begun) * self._repeat_s()
        under_way = sum(
            max(0.1 * lasts, lasts - (self._now() - t.began))
            for t in self.running.values()
            for lasts in [self._repeat_s() if t.is_repeat else usual]
        )
        work = (waiting * usual + again + under_way) / self.slots
        doubt = 2 * spread * (waiting + len(self.running)) ** 0.5 / self.slots
        return max(0.0, work - doubt), work + doubt

    def _repeat_s(self) -> float:
        """Seconds of a repeat, which is never stopped early."""
        return self.epochs_per_trial * statistics.fmean(self._epoch_seconds[-50:] or [0.0])

    def _spent_now(self) -> Spent:
        """What was spent before, and since the first trial of this start."""
        return replace(self.spent, seconds=self.spent.seconds + self.elapsed())

    # One method per event -------------------------------------------------------------------------

    @handle.register
    def _on_started(self, event: events.Started) -> None:
        self.budget, self.spent = event.budget, event.spent
        self.direction = event.direction
        self.metric_word = metric_word(event.metric)
        for row in event.trials:
            self._count(row)

    def _count(self, row: TrialRow) -> None:
        """Take up a trial of an earlier start."""
        if row.state is TrialState.COMPLETE:
            self._take_repeat(repeated(row.role), row.value)
        if row.purpose != Purpose.SEARCH or row.is_refused:
            return
        stage = row.stage or ONLY_STAGE
        self._know(row.trial, row.params, stage)
        if not stage.is_counted(row.trial):
            return
        self._counted.add(row.trial)
        if row.state is not TrialState.RUNNING:
            self.counts[row.state] += 1
            if row.error:
                self.causes[row.error["kind"]] += 1
        if row.value is None or stage.left:
            return
        if row.trial in self._defaults:
            known = range(row.best_epoch or row.epoch, row.epoch + 1)
            self._default = dict.fromkeys(known, row.value) | self._default
        self._rate(row.trial, row.epoch, row.value)

    @handle.register
    def _on_review(self, event: events.Review) -> None:
        self.epochs_per_trial = event.epochs_per_trial
        self.slots = event.concurrent
        self._gpus = event.gpus_per_trial
        self._expected_s = event.estimate_s
        left = event.forecast.repeats if event.forecast else 0
        self._expected_repeats = self._ended_repeats + left

    @handle.register
    def _on_trial_started(self, event: events.TrialStarted) -> None:
        if self._began is None:
            self._began = self._now()
        number, resumed = event.trial, event.resumed_from_epoch or 0
        is_repeat, stage = event.purpose != Purpose.SEARCH, event.stage or ONLY_STAGE
        self._drop(number)  # one whose worker was lost starts again
        self.running[number] = RunningTrial(
            began=self._now(), epoch=resumed, is_repeat=is_repeat, stage=stage
        )
        if is_repeat:
            return
        self._know(number, event.params, stage)
        self._paces[_pace_name(stage)].begin(self._now())
        if stage.is_counted(number):
            self._counted.add(number)

    @handle.register
    def _on_trial_progress(self, event: events.TrialProgress) -> None:
        if trial := self.running.get(event.trial):
            trial.doing = event.text

    @handle.register
    def _on_epoch(self, event: events.Epoch) -> None:
        number, value = event.trial, event.value
        if number not in self.running:
            self._on_trial_started(events.TrialStarted(trial=number))
        trial = self.running[number]
        trial.epoch, trial.doing = event.epoch, ""
        trial.values.append(value)
        self._epoch_seconds.append(event.seconds)
        self.spent = replace(
            self.spent,
            gpu_seconds=self.spent.gpu_seconds + event.seconds * self._gpus,
            epochs=self.spent.epochs + int(trial.stage.is_counted(number)),
        )
        if trial.is_repeat or trial.stage.left:
            return
        if number in self._defaults:
            by_then = [value, *(v for at, v in self._default.items() if at <= event.epoch)]
            self._default[event.epoch] = max(by_then, key=lambda v: self.sign * v)
        self._rate(number, event.epoch, value)

    def _know(self, number: int, params: Mapping[str, object], stage: TrialStage) -> None:
        """Note a trial of the default configuration."""
        own = (params, stage.parent)
        if number == 0 or (params and own == self._defaults.get(0)):
            self._defaults[number] = own

    def _take_repeat(self, finalist: int | None, value: float | None) -> None:
        """Lead with the best mean over repeats, once there are any, as `best_trial` does."""
        if finalist is None or value is None:
            return
        self._repeats[finalist].append(value)
        self._ended_repeats += 1
        common = min(len(values) for values in self._repeats.values())
        means = {n: statistics.fmean(v[:common]) for n, v in self._repeats.items()}
        leader = max(means, key=lambda n: (self.sign * means[n], -n))
        self.best = Best(value=means[leader], trial=leader, repeats=common)

    def _rate(self, number: int, epoch: int, value: float) -> None:
        sign = self.sign
        if self.best is not None and self.best.repeats:
            return
        if self.best is None or sign * value > sign * self.best.value:
            self.best = Best(value=value, trial=number, epoch=epoch)
        elif number == self.best.trial:
            self.best.epoch = epoch  # trained on, and as good as before

    @handle.register
    def _on_trial_finished(self, event: events.TrialFinished) -> None:
        trial = self._drop(event.trial, has_ended=not event.is_refused)
        if trial is None or trial.is_repeat or event.is_refused:
            return
        if not trial.stage.is_counted(event.trial):
            return
        self.counts[event.state] += 1
        if not trial.stage.left:
            self._durations.append(self._now() - trial.began)
        if event.error:
            self.causes[event.error["kind"]] += 1

    @handle.register
    def _on_trial_suspended(self, event: events.TrialSuspended) -> None:
        self._drop(event.trial)

    @handle.register
    def _on_confirmed(self, event: events.Confirmed) -> None:
        self._drop(event.trial)
        if event.state is TrialState.COMPLETE:
            self._take_repeat(repeated(event.reason), event.value)

    def _drop(self, number: int, *, has_ended: bool = False) -> RunningTrial | None:
        """Take a trial from those that run."""
        trial = self.running.pop(number, None)
        if trial is not None and not trial.is_repeat:
            self._paces[_pace_name(trial.stage)].end(self._now(), has_ended=has_ended)
        return trial


def _pace_name(stage: TrialStage) -> str:
    return stage.name if stage.left else _LAST
