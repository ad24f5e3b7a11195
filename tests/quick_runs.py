"""Searches with the trainer without torch: engines to drive by hand, and whole runs."""

from __future__ import annotations

from hpo.algorithms import create_algorithm
from hpo.core.event_json import data_of, to_dict
from hpo.core.events import Epoch
from hpo.core.spec_dicts import flatten
from hpo.core.trial import Decision, Ended, Suggestion
from hpo.run.ledger import Ledger
from hpo.run.run_dir import RunDir
from hpo.run.trial_specs import TrialSpecs
from hpo.searching.engine import Engine
from hpo.searching.engine_parts import Plan
from hpo.searching.settings import SearchSettings
from hpo.study.plan import build_base_spec, build_space
from hpo.study.spec import StudySpec
from tests.quick_trainer import NAME, TRAINER


def quick_study(spec=None, **changes):
    """A study of the quick trainer; `spec` may have dotted names."""
    return StudySpec(name="quick", trainer=NAME, spec=spec or {}, **changes)


def quick_space(study=None):
    study = study or quick_study()
    spec = build_base_spec(study, TRAINER, {})
    return build_space(study, TRAINER, spec, num_trials=study.budget.trials)


class Listed:
    """An algorithm that proposes learning rates from a list and prunes where it is told to.

    Keeps what it has heard, to compare an engine's calls with those of a replay.
    """

    def __init__(self, rates, stops=(), until_epoch=9):
        self.rates, self.stops, self.until_epoch = list(rates), set(stops), until_epoch
        self.heard, self.asked = [], 0

    def ask(self, number):
        if self.asked >= len(self.rates):
            return None
        rate = self.rates[self.asked]
        self.asked += 1
        self.heard.append(("start", number, rate))
        params = {"train.lr": rate, "train.margin": 0.5, "train.width": 100}
        return Suggestion(
            number=number, params=params, latents={"lr": rate}, until_epoch=self.until_epoch
        )

    def restore(self, trial):
        self.asked += 1
        self.heard.append(("start", trial.number, trial.params["train.lr"]))

    def report(self, number, measurement):
        self.heard.append(("epoch", number, measurement.epoch, measurement.value))
        if (number, measurement.epoch) in self.stops:
            return Decision(stop=True, reason="on the list")
        return Decision(stop=False)

    def tell(self, trial):
        self.heard.append(("end", trial.number, str(trial.state), trial.value))


class Events:
    """Keeps what is emitted."""

    def __init__(self):
        self.all = []

    def __call__(self, event):
        self.all.append((event.name, data_of(event)))

    def named(self, name):
        return [data for n, data in self.all if n == name]

    def names(self):
        return [name for name, _ in self.all]


def make_engine(folder, algorithm, *, ledger=None, study=None, should_stop=lambda: False, **plan):
    """An engine over a run in `folder`; its ledger is new unless it is given."""
    study = study or quick_study()
    run = RunDir(folder)
    run.path.mkdir(parents=True, exist_ok=True)
    facts = {
        "specs": TrialSpecs(
            base_spec=build_base_spec(study, TRAINER, {}), seed_key=TRAINER.seed_key, run=run
        ),
        "budget": study.budget,
        "confirm": study.search.confirm,
        "study_seed": study.search.used_seed,
        "num_epochs": 9,
    }
    emit = Events()
    engine = Engine(
        ledger=ledger or Ledger.create(None, TRAINER.direction),
        algorithm=algorithm,
        plan=Plan(**(facts | plan)),
        emit=emit,
        should_stop=should_stop,
    )
    engine.events, engine.ledger = emit, engine._ledger
    return engine


def optuna_algorithm(
    name="tpe", *, pruner="successive_halving", seed=0, direction="maximize", **more
):
    return create_algorithm(
        name, quick_space(), pruner=pruner, direction=direction, num_epochs=9, seed=seed, **more
    )


def receipt_of(launch):
    """What an honest trainer reads back."""
    flat = flatten(launch.spec)
    return {"applied": {f"train.{k}": flat[f"train.{k}"] for k in ("lr", "margin", "width")}}


def train(engine, launch, values=None, *, start=1, until=9, seconds=1.0):
    """Report epochs of a trial until it is stopped or done; returns the last reported epoch."""
    for epoch in range(start, until + 1):
        value = values(epoch) if callable(values) else launch.spec["train"]["lr"] + epoch / 100
        payload = {
            "epoch": epoch,
            "value": value,
            "seconds": seconds,
            "receipt": receipt_of(launch),
        }
        if not engine.on_epoch(launch.number, payload):
            return epoch
    return until


def train_to_end(engine, launch, values=None, **more):
    """Train a trial to its end and tell the engine of its end as an executor would."""
    last = train(engine, launch, values, **more)
    done = last >= engine.ledger.trial(launch.number).until_epoch
    engine.on_end(launch.number, Ended(receipt=receipt_of(launch) if done else None))


def run_all(engine, values=None, limit=1000):
    """Drive an engine with one slot to its end; returns the launches."""
    launches = []
    while (launch := engine.next_launch()) is not None:
        assert len(launches) < limit
        launches.append(launch)
        train_to_end(engine, launch, values)
    return launches


class Ear:
    """A listener that keeps every event as plain data; `stop_after` (trial, epoch) makes it wish for a pause."""

    def __init__(self, stop_after=None):
        self.events, self.stop_after, self.wish = [], stop_after, False

    def handle(self, event):
        self.events.append(to_dict(event))
        if isinstance(event, Epoch) and (event.trial, event.epoch) == self.stop_after:
            self.wish = True

    def close(self):
        pass

    def named(self, name):
        return [event for event in self.events if event["event"] == name]

    def names(self):
        return [event["event"] for event in self.events]

    def settings(self, **changes):
        """Settings of a start that this ear listens to."""
        facts = {
            "executor": "inprocess",
            "listeners": (lambda *_: self,),
            "should_stop": lambda: self.wish,
        }
        return SearchSettings(**(facts | changes))
