"""Counts a search's events into what the live view and the status line show."""

from __future__ import annotations

import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import singledispatchmethod

from hpo.console.leading import Best, Leading
from hpo.core import events
from hpo.core.budget import Budget, Spent, epochs_in_full, fraction_used
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
        self._clock_s = 0.0
        self._since: float | None = None
        """When the clock began to run; None while no trial runs."""
        self.has_begun = False
        """Whether a trial has started in this start."""
        self._durations: list[float] = []
        """Of trials of the last stage."""
        self._paces: defaultdict[str, Pace] = defaultdict(Pace)
        """Name of a stage, or `trials` for the last one, and how quick it is in this start."""
        self._epoch_seconds: list[float] = []
        """Of epochs of the last stage and of repeats."""
        self._expected_s: float | None = None
        self._gpus = 0.0
        self._counted: set[int] = set()
        self.budget = Budget()
        self.spent = Spent()
        """Without the time of this start, and its epochs of earlier stages."""
        self._full = Spent()
        """Seconds and epochs of trials of the last stage, without repeats."""
        self._earlier = Spent()
        """Those of earlier stages in this start, of which a batch counts as one trial."""
        self.epochs_per_trial = 0
        self.slots = 1
        self.running: dict[int, RunningTrial] = {}
        self.counts: Counter[str] = Counter()
        self.causes: Counter[str] = Counter()
        self.leading = Leading()
        self._expected_repeats = 0
        self.metric_word = metric_word("")

    @singledispatchmethod
    def handle(self, event: events.Event) -> None:
        """Take an event into account; those not named below change no count."""

    # What is shown --------------------------------------------------------------------------------

    def done(self) -> int:
        """Trials that have ended."""
        return sum(self.counts.values())

    def elapsed(self) -> float:
        """Seconds of this start in which trials ran, as a budget counts them."""
        return self._clock_s + (0.0 if self._since is None else self._now() - self._since)

    @property
    def best(self) -> Best | None:
        """What leads so far."""
        return self.leading.best

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
        return min(1.0, max([*shares, fraction_used(others, self.spent_now())]))

    def repeats(self) -> tuple[int, int] | None:
        """Repeats that have ended, and about how many there will be.

        None while trials of a number of them are left, and where time is the limit.
        """
        under_way = [trial.is_repeat for trial in self.running.values()]
        ended = self.leading.ended_repeats
        begun = ended + sum(under_way)
        is_over = self.budget.trials is not None and self.done() >= self.budget.trials
        if not begun or not is_over or not all(under_way):
            return None
        return ended, max(begun, self._expected_repeats)

    def best_of(self, trial: RunningTrial) -> float | None:
        """The best value of a running trial in this start."""
        return max(trial.values, key=lambda value: self.sign * value, default=None)

    @property
    def sign(self) -> float:
        """1 where more is better, -1 where less is."""
        return self.leading.direction.sign

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
        spent, lefts = self.spent_now(), []
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
        begun = self.leading.ended_repeats + sum(t.is_repeat for t in self.running.values())
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

    def spent_now(self) -> Spent:
        """What was spent before, and since the first trial of this start.

        Epochs of earlier stages count as the epochs in full that take their time.
        """
        epochs = self.spent.epochs + epochs_in_full(self._earlier, self._full)
        return replace(self.spent, seconds=self.spent.seconds + self.elapsed(), epochs=epochs)

    # One method per event -------------------------------------------------------------------------

    @handle.register
    def _on_started(self, event: events.Started) -> None:
        self.budget, self.spent = event.budget, event.spent
        self.leading.direction = Direction(event.direction)
        self.metric_word = metric_word(event.metric)
        for row in event.trials:
            self._count(row)

    def _count(self, row: TrialRow) -> None:
        """Take up a trial of an earlier start."""
        self.leading.take(row)
        stage = row.stage or ONLY_STAGE
        if row.purpose != Purpose.SEARCH or row.is_refused or not stage.is_counted(row.trial):
            return
        self._counted.add(row.trial)
        if not stage.left:
            begun = row.start_from[1] if row.start_from else 0
            self._full += Spent(seconds=row.seconds, epochs=row.epoch - begun)
        if row.state is not TrialState.RUNNING:
            self.counts[row.state] += 1
            if row.error:
                self.causes[row.error["kind"]] += 1

    @handle.register
    def _on_review(self, event: events.Review) -> None:
        self.epochs_per_trial = event.epochs_per_trial
        self.slots = event.concurrent
        self._gpus = event.gpus_per_trial
        self._expected_s = event.estimate_s
        left = event.forecast.repeats if event.forecast else 0
        self._expected_repeats = self.leading.ended_repeats + left

    @handle.register
    def _on_trial_started(self, event: events.TrialStarted) -> None:
        self.has_begun = True
        number, resumed = event.trial, event.resumed_from_epoch or 0
        is_repeat, stage = event.purpose != Purpose.SEARCH, event.stage or ONLY_STAGE
        self._drop(number)  # one whose worker was lost starts again
        if self._since is None:
            self._since = self._now()
        self.running[number] = RunningTrial(
            began=self._now(), epoch=resumed, is_repeat=is_repeat, stage=stage
        )
        self.leading.begin(number, event.params, event.purpose, event.stage)
        if is_repeat:
            return
        self._paces[_pace_name(stage)].begin(self._now())
        if stage.is_counted(number):
            self._counted.add(number)

    @handle.register
    def _on_trial_progress(self, event: events.TrialProgress) -> None:
        if trial := self.running.get(event.trial):
            trial.doing = event.text

    @handle.register
    def _on_epoch(self, event: events.Epoch) -> None:
        number = event.trial
        if number not in self.running:
            self._on_trial_started(events.TrialStarted(trial=number))
        trial = self.running[number]
        epochs, gpus = event.epoch - trial.epoch, event.gpus
        trial.epoch, trial.doing = event.epoch, ""
        trial.values.append(event.value)
        own = Spent(seconds=event.seconds, epochs=epochs)
        if not trial.stage.left:  # an epoch of a head tells nothing of one in full
            self._epoch_seconds.append(event.seconds / max(1, epochs))
            self._full += Spent() if trial.is_repeat else own
        elif trial.stage.is_counted(number):
            self._earlier += own
        self.spent = replace(
            self.spent,
            gpu_seconds=self.spent.gpu_seconds
            + event.seconds * (self._gpus if gpus is None else gpus),
            epochs=self.spent.epochs + (0 if trial.stage.left else epochs),
        )
        self.leading.measure(number, event.epoch, event.value)

    @handle.register
    def _on_trial_finished(self, event: events.TrialFinished) -> None:
        self.leading.end(event.trial, event.state)
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
        self.leading.end(event.trial, event.state)

    @handle.register
    def _on_continued(self, event: events.Continued) -> None:
        if self._since is not None:
            self._since += event.waited_s

    def _drop(self, number: int, *, has_ended: bool = False) -> RunningTrial | None:
        """Take a trial from those that run."""
        trial = self.running.pop(number, None)
        if not self.running:  # what follows the last trial is not charged
            self._clock_s, self._since = self.elapsed(), None
        if trial is not None and not trial.is_repeat:
            self._paces[_pace_name(trial.stage)].end(self._now(), has_ended=has_ended)
        return trial


def _pace_name(stage: TrialStage) -> str:
    return stage.name if stage.left else _LAST
