"""Searches without a trainer: known surfaces, several slots, every kind of trouble; milliseconds each."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from hpo.algorithms import create_algorithm
from hpo.algorithms.entry import Context
from hpo.core.asking import ask
from hpo.core.trial import Measurement, TrialRecord, TrialState
from tests.quick_runs import quick_space
from tests.quick_trainer import peak

EPOCHS = 9
MOST_TRIALS = 60


def record_of(suggestion):
    return TrialRecord(
        number=suggestion.number, state=TrialState.RUNNING, params=suggestion.params,
        latents=suggestion.latents, until_epoch=suggestion.until_epoch,
        start_from=suggestion.start_from, note=suggestion.note, memo=suggestion.memo,
    )  # fmt: skip


def curve(params, epoch):
    """A known learning curve in [0, 1] that rises towards the trial's peak."""
    spec = {name.removeprefix("train."): value for name, value in params.items()}
    noise = random.Random(f"{epoch}-{sorted(params.items())}").gauss(0.0, 0.002)
    return peak(spec) * (1 - math.exp(-epoch / 3)) + noise


@dataclass
class Search:
    """A search driven by hand with several slots whose epochs alternate; keeps all it has heard.

    `fails(number)` says after how many epochs a trial fails; `direction` minimize sees negative values.
    """

    name: str
    seed: int = 0
    direction: str = "maximize"
    slots: int = 1
    space: object = None
    values: object = curve
    epochs: int = EPOCHS
    fails: object = lambda number: False
    options: dict = field(default_factory=dict)
    context: dict = field(default_factory=dict)
    route: bool = True
    pruner: str = "auto"
    most: int = MOST_TRIALS
    stop_after: int | None = None
    """Calls of the algorithm after which the driver dies."""

    def __post_init__(self):
        self.space = self.space or quick_space()
        self.records, self.live, self.calls = [], [], []
        self.algorithm = self.make()
        self.idle = 0

    def make(self):
        context = Context(slots=self.slots, route=self.route, **self.context)
        options = dict(self.options)
        if "max_epochs" not in options and self.name in HALVING:
            options["max_epochs"] = self.epochs
        return create_algorithm(
            self.name, self.space, direction=self.direction, num_epochs=self.epochs, seed=self.seed,
            pruner=self.pruner, options=options, context=context,
        )  # fmt: skip

    def run(self):
        """Go on until the algorithm has no more, or `most` trials; returns self."""
        while not self.is_dead():
            self.fill()
            if not self.live:
                return self
            for number in list(self.live):
                self.step(self.records[number])
        return self

    def is_dead(self):
        return self.stop_after is not None and len(self.calls) >= self.stop_after

    def fill(self):
        while len(self.live) < self.slots and len(self.records) < self.most:
            suggestion = ask(self.algorithm, len(self.records))
            if suggestion is None:
                self.idle += 1
                return
            record = record_of(suggestion)
            self.records.append(record)
            self.live.append(record.number)
            self.calls.append(("start", record.number, None))

    def first_epoch(self, record):
        return (record.start_from[1] if record.start_from else 0) + 1

    def step(self, record):
        """One epoch of one trial."""
        epoch = len(record.measurements) + self.first_epoch(record)
        if 0 < self.fails(record.number) <= len(record.measurements):
            self.end(record, TrialState.FAILED)
            return
        sign = 1.0 if self.direction == "maximize" else -1.0
        measurement = Measurement(epoch=epoch, value=sign * self.values(record.params, epoch))
        record.measurements.append(measurement)
        self.calls.append(("epoch", record.number, measurement))
        if self.algorithm.report(record.number, measurement).stop:
            self.end(record, TrialState.PRUNED)
        elif epoch >= record.until_epoch:
            self.end(record, TrialState.COMPLETE)

    def end(self, record, state):
        record.state = state
        best = record.best_measurement(self.direction)
        record.value = best.value if best and state is not TrialState.FAILED else None
        if state is TrialState.FAILED:
            record.error = {"kind": "code", "message": "broke on purpose"}
        self.live.remove(record.number)
        self.calls.append(("end", record.number, None))
        self.algorithm.tell(record)

    def story(self):
        return [
            [r.number, r.params, r.until_epoch, list(r.start_from or ()), str(r.state),
             len(r.measurements)]
            for r in self.records
        ]  # fmt: skip

    def replayed(self):
        """The same search after a restart: a fresh algorithm that is told what was recorded."""
        again = Search(**{f: getattr(self, f) for f in FIELDS}, stop_after=None)
        states = {r.number: (r.state, r.value, r.error) for r in self.records}
        for what, number, measurement in self.calls:
            record = self.records[number]
            if what == "start":
                record.state, record.value, record.error = TrialState.RUNNING, None, None
                again.algorithm.restore(record)
            elif what == "epoch":
                again.algorithm.report(number, measurement)
            else:
                record.state, record.value, record.error = states[number]
                again.algorithm.tell(record)
        again.records, again.live, again.calls = self.records, self.live, list(self.calls)
        return again


HALVING = ("hyperband", "hyperband_es", "asha", "bohb", "dehb", "pbt")
FIELDS = (
    "name", "seed", "direction", "slots", "space", "values", "epochs", "fails", "options", "context",
    "route", "pruner", "most",
)  # fmt: skip
