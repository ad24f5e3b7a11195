"""A search that was killed goes on as if it had not been: same proposals, same decisions, same end.

The kill comes before or after a write of the ledger, which are the only moments that differ to a later start.
"""

import pytest

from hpo.algorithms.entry import Context
from hpo.algorithms.for_study import build_algorithm
from hpo.core.budget import Budget
from hpo.executors.inprocess import InProcessExecutor
from hpo.run.ledger import Ledger
from hpo.run.run_dir import RunDir
from hpo.searching.make_plan import plan_study
from hpo.study.plan import build_space
from hpo.study.sections import SearchOptions
from hpo.study.spec import StudySpec
from hpo.study.stages import make_specs, planned_stages
from tests import staged_trainer
from tests.quick_runs import Listed, make_engine, optuna_algorithm, run_all
from tests.quick_trainer import NAME


class Killed(BaseException):
    """The driver is gone."""


class MortalLedger(Ledger):
    """Dies before or after its n-th write."""

    def __init__(self, storage, direction, *, at=0, after=False):
        super().__init__(storage, direction)
        self.writes, self.at, self.after = 0, at, after

    def _write(self, name, *args, **kwargs):
        self.writes += 1
        if self.writes == self.at and not self.after:
            raise Killed
        result = getattr(Ledger, name)(self, *args, **kwargs)
        if self.writes == self.at:
            raise Killed
        return result

    def start(self, *args, **kwargs):
        return self._write("start", *args, **kwargs)

    def record(self, *args, **kwargs):
        return self._write("record", *args, **kwargs)

    def annotate(self, *args, **kwargs):
        return self._write("annotate", *args, **kwargs)

    def finish(self, *args, **kwargs):
        return self._write("finish", *args, **kwargs)


def go(folder, make_algorithm, storage=None, *, at=0, after=False, trainer=NAME, **plan):
    """One start of the search with the real trainer in this process; returns its ledger.

    `specs` of a plan are made for the folder.
    """
    if "specs" in plan:
        plan["specs"] = plan["specs"](folder)
    if storage is None:
        storage = Ledger.create(None, "maximize")._storage
    ledger = MortalLedger(storage, "maximize", at=at, after=after)
    engine = make_engine(folder, make_algorithm(), ledger=ledger, **plan)
    try:
        InProcessExecutor(trainer).run(engine)
    except Killed:
        return ledger, False
    assert engine.is_over()
    return ledger, True


def story(ledger):
    """What must not depend on a kill."""
    return [
        (t.number, str(t.state), t.params, t.latents, t.seed, t.purpose, t.value, t.stage,
         [(m.epoch, m.value) for m in t.measurements])
        for t in Ledger(ledger._storage, "maximize").trials()
    ]  # fmt: skip


def trained(folder):
    return {
        path.parent.name: [int(line) for line in path.read_text().split()]
        for path in sorted((folder / "trials").glob("*/trained.txt"))
    }


def brains(name, pruner):
    return lambda: optuna_algorithm(name, pruner=pruner, seed=3)


def rungs(name, **options):
    """An algorithm whose trials start from the checkpoints of others."""
    context = Context(style="rungs", restart_keys=("train.width",))
    return lambda: optuna_algorithm(name, pruner="auto", seed=3, options=options, context=context)


def in_stages():
    """A default in full, two batches of heads, and whole trainings from the best of them."""
    options = SearchOptions(**staged_trainer.SEARCH, seed=3)
    study = StudySpec(
        trainer=staged_trainer.NAME,
        budget=Budget(trials=7),
        spec={"train": {"warm": False}},  # a value that a parent changes
        search=options,
    )
    plan = plan_study(study, staged_trainer.TRAINER)
    space = build_space(study, staged_trainer.TRAINER, plan.base_spec, num_trials=7)
    parts = (study, plan, staged_trainer.TRAINER, space)
    stages = planned_stages(*parts[:3])
    more = {"budget": study.budget, "confirm": 1, "trainer": staged_trainer.NAME}
    return (
        lambda: build_algorithm(*parts),
        {"specs": lambda folder: make_specs(*parts, stages, run=RunDir(folder)), **more},
        37,
    )


CASES = {
    "stages": in_stages(),
    "bohb": (brains("bohb", "auto"), {"budget": Budget(trials=9)}, 37),
    "hyperband_es": (brains("hyperband_es", "auto"), {"budget": Budget(trials=9)}, 37),
    "asha": (brains("asha", "auto"), {"budget": Budget(trials=9)}, 37),
    "asha_rungs": (rungs("asha", epoch_multiplier=1), {"budget": Budget(trials=12)}, 23),
    "hyperband_rungs": (
        rungs("hyperband", epoch_multiplier=1, rounds=1),
        {"budget": Budget(trials=20)},
        47,
    ),
    "bohb_rungs": (rungs("bohb", epoch_multiplier=1), {"budget": Budget(trials=14)}, 31),
    "dehb": (rungs("dehb", epoch_multiplier=1), {"budget": Budget(trials=16)}, 31),
    "pbt": (rungs("pbt", population_size=4, eval_interval=3), {"budget": Budget(trials=13)}, 31),
    "random": (brains("random", "successive_halving"), {"budget": Budget(trials=7)}, 23),
    "tpe": (brains("tpe", "successive_halving"), {"budget": Budget(trials=9)}, 31),
    "tpe_median": (brains("tpe", "median"), {"budget": Budget(trials=9)}, 47),
    "tpe_hyperband": (brains("tpe", "hyperband"), {"budget": Budget(trials=9)}, 47),
    "bayesian": (brains("bayesian", "successive_halving"), {"budget": Budget(trials=6)}, 47),
    "epochs": (brains("random", "none"), {"budget": Budget(epochs=23), "confirm": 1}, 11),
    "confirm": (
        lambda: Listed([0.01, 0.02, 0.05], stops={(1, 2)}),
        {"budget": Budget(trials=3), "confirm": 1},
        7,
    ),
}
"""name -> (algorithm, plan, distance between the kills that are tried)."""


@pytest.mark.parametrize("name", CASES)
def test_a_killed_search_ends_like_an_unbroken_one(tmp_path, name):
    make_algorithm, plan, step = CASES[name]
    whole, done = go(tmp_path / "whole", make_algorithm, **plan)
    assert done
    expected, epochs = story(whole), trained(tmp_path / "whole")
    for at in range(1, whole.writes + 1, step):
        for after in (False, True):
            folder = tmp_path / f"{at}-{after}"
            first, done = go(folder, make_algorithm, at=at, after=after, **plan)
            assert not done
            second, done = go(folder, make_algorithm, first._storage, **plan)
            assert done
            assert story(second) == expected, (at, after)
            assert trained(folder) == epochs, (at, after)  # not one epoch was trained twice


@pytest.mark.parametrize("distance", [1, 2, 5])
def test_kills_without_end_cost_nothing_but_patience(tmp_path, distance):
    make_algorithm, plan, _ = CASES["random"]
    whole, _ = go(tmp_path / "whole", make_algorithm, **plan)
    ledger, done = go(tmp_path / "cut", make_algorithm, at=distance, after=True, **plan)
    starts = 1
    while not done:
        ledger, done = go(
            tmp_path / "cut", make_algorithm, ledger._storage, at=distance, after=True, **plan
        )
        starts += 1
    assert story(ledger) == story(whole)
    assert trained(tmp_path / "cut") == trained(tmp_path / "whole")
    assert starts > 40 // distance


def test_proposals_after_a_restart_differ_from_those_before(tmp_path):
    for name in ("random", "tpe"):
        make = brains(name, "none")
        first, _ = go(tmp_path / name, make, budget=Budget(trials=4))
        second, _ = go(tmp_path / name, make, first._storage, budget=Budget(trials=12))
        rates = [t.params["train.lr"] for t in second.trials()]
        assert len(set(rates)) == 12


def test_an_extended_search_goes_on_as_if_it_had_been_longer_from_the_start(tmp_path):
    make = brains("tpe", "successive_halving")
    whole, _ = go(tmp_path / "whole", make, budget=Budget(trials=12))
    part, _ = go(tmp_path / "part", make, budget=Budget(trials=5))
    more, _ = go(tmp_path / "part", make, part._storage, budget=Budget(trials=12))
    assert story(more) == story(whole)


def test_a_replay_tells_the_algorithm_what_it_heard_live(tmp_path):
    """With two slots, whose epochs alternate."""
    from hpo.core.trial import Ended
    from tests.quick_runs import train

    algorithm = Listed([0.01, 0.02, 0.03, 0.04], stops={(1, 3)})
    engine = make_engine(tmp_path, algorithm, budget=Budget(trials=4))
    first, second = engine.next_launch(), engine.next_launch()
    for epoch in (1, 2, 3):
        train(engine, second, start=epoch, until=epoch)
        train(engine, first, start=epoch, until=epoch)
    engine.on_end(second.number, Ended())
    third = engine.next_launch()
    train(engine, third, until=1)
    engine.on_end(third.number, Ended(failure={"kind": "code", "message": "broke"}))
    again = Listed([0.01, 0.02, 0.03, 0.04])
    ledger = Ledger(engine.ledger._storage, "maximize")
    rebuilt = make_engine(tmp_path, again, ledger=ledger, budget=Budget(trials=4))
    assert again.heard == algorithm.heard
    assert [launch.number for launch in run_all(rebuilt)] == [0, 3]


def test_a_trial_that_was_over_at_the_kill_is_only_booked(tmp_path):
    from tests.quick_runs import train

    algorithm = Listed([0.01, 0.02, 0.03], stops={(1, 2)})
    engine = make_engine(tmp_path, algorithm, budget=Budget(trials=3))
    whole, cut = engine.next_launch(), engine.next_launch()
    assert train(engine, whole) == 9
    assert train(engine, cut) == 2
    ledger = Ledger(engine.ledger._storage, "maximize")
    again = make_engine(
        tmp_path, Listed([0.01, 0.02, 0.03], stops={(1, 2)}), ledger=ledger, budget=Budget(trials=3)
    )
    assert again.next_launch().number == 2
    assert [str(t.state) for t in ledger.trials()] == ["complete", "pruned", "running"]
    assert [e["reason"] for e in again.events.named("trial_finished")] == ["", "on the list"]
