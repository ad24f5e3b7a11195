"""The simulated executor against schedules worked out by hand, through the real engine."""

from dataclasses import replace

import pytest

from hpo.core.budget import Budget
from hpo.core.trial import TrialStage
from hpo.executors.simulator import SimulatedEpoch, SimulatedExecutor
from hpo.run.ledger import Ledger
from hpo.run.trial_specs import TrialSpecs
from hpo.searching.engine import Engine
from hpo.searching.engine_parts import Plan
from tests.quick_runs import Events, Listed, optuna_algorithm

SPEC = {"train": {"seed": 1, "lr": 0.0, "margin": 0.0, "width": 0}}


def steady(seconds, epochs=9):
    """Trial n needs `seconds[n]` an epoch; its value is its learning rate."""

    def replay(launch):
        for _ in range(epochs):
            yield SimulatedEpoch(value=launch.spec["train"]["lr"], seconds=seconds[launch.number])

    return replay


def engine_of(algorithm, executor, *, budget, ledger=None):
    return Engine(
        ledger=ledger or Ledger.create(None, "maximize"),
        algorithm=algorithm,
        plan=Plan(
            specs=TrialSpecs(base_spec=SPEC, seed_key="train.seed"),
            budget=budget,
            num_epochs=9,
        ),
        emit=Events(),
        now=executor.now,
    )


def search(algorithm, replay, slots, *, budget, **more):
    executor = SimulatedExecutor(replay, slots, **more)
    ledger = Ledger.create(None, "maximize")
    engine = engine_of(algorithm, executor, budget=budget, ledger=ledger)
    executor.run(engine)
    return executor, engine, ledger


def test_slots_are_filled_as_they_become_free():
    algorithm = Listed([0.1, 0.2, 0.3, 0.4], until_epoch=3)
    replay = steady([1.0, 2.0, 1.0, 0.5], epochs=3)
    executor, engine, ledger = search(algorithm, replay, 2, budget=Budget(trials=4))
    # One slot: trials 0 (0..3) and 2 (3..6); the other: trial 1 (0..6), whose last epoch was begun
    # before that of trial 2 and is heard before it, and trial 3.
    assert executor.spans == [(0, 0.0, 3.0), (1, 0.0, 6.0), (2, 3.0, 6.0), (3, 6.0, 7.5)]
    assert executor.now() == 7.5
    assert executor.busy_share() == pytest.approx((3 + 6 + 3 + 1.5) / (2 * 7.5))
    assert engine.spent().seconds == 7.5
    assert [t.seconds for t in ledger.trials()] == [3.0, 6.0, 3.0, 1.5]
    assert [str(t.state) for t in ledger.trials()] == ["complete"] * 4


def test_a_stopped_trial_frees_its_slot_at_once():
    algorithm = Listed([0.1, 0.2], stops={(0, 2)}, until_epoch=3)
    executor, _, ledger = search(
        algorithm, steady([1.0, 1.0], epochs=3), 1, budget=Budget(trials=2), overhead_s=0.25
    )
    assert executor.spans == [(0, 0.0, 2.25), (1, 2.25, 5.5)]
    assert [str(t.state) for t in ledger.trials()] == ["pruned", "complete"]


class Rungs(Listed):
    """Trial 0 until epoch 2; trial 1 goes on from there until epoch 5."""

    def ask(self, number):
        suggestion = super().ask(number)
        if suggestion is None:
            return None
        first = number == 0
        return replace(
            suggestion, until_epoch=2 if first else 5, start_from=None if first else (0, 2)
        )


def test_a_trial_that_goes_on_from_a_checkpoint_is_not_trained_twice():
    def replay(launch):
        for epoch in range(1, 10):
            yield SimulatedEpoch(value=epoch / 10, seconds=float(epoch))

    executor, _, ledger = search(Rungs([0.1, 0.1]), replay, 1, budget=Budget(trials=2))
    # 1 s + 2 s; then epochs 3, 4 and 5.
    assert executor.spans == [(0, 0.0, 3.0), (1, 3.0, 15.0)]
    assert [[m.epoch for m in t.measurements] for t in ledger.trials()] == [[1, 2], [3, 4, 5]]


def test_epochs_that_are_not_validated_are_not_reported():
    def replay(launch):
        for epoch in (2, 4, 5):
            yield SimulatedEpoch(value=epoch / 10, seconds=float(epoch), epoch=epoch)

    executor, _, ledger = search(Rungs([0.1, 0.1]), replay, 1, budget=Budget(trials=2))
    assert executor.spans == [(0, 0.0, 2.0), (1, 2.0, 11.0)]
    assert [[m.epoch for m in t.measurements] for t in ledger.trials()] == [[2], [4, 5]]


def test_more_slots_are_filled_from_then_on():
    def replay(launch):
        if launch.number == 2:
            executor.widen(2)
        yield from steady([1.0] * 4, epochs=3)(launch)

    executor = SimulatedExecutor(replay, 1)
    engine = engine_of(Listed([0.1] * 4, until_epoch=3), executor, budget=Budget(trials=4))
    executor.run(engine)
    assert executor.spans == [(0, 0.0, 3.0), (1, 3.0, 6.0), (2, 6.0, 9.0), (3, 6.0, 9.0)]
    assert executor.busy_share() == 1.0


def test_a_budget_of_time_ends_every_slot_at_its_next_epoch():
    algorithm = Listed([0.1] * 50, until_epoch=9)
    executor, _, _ = search(algorithm, steady([0.7] * 50), 2, budget=Budget(seconds=10.0))
    # 14 epochs of 0.7 s are 9.8 s; the fifteenth of both slots ends at 10.5.
    assert executor.now() == pytest.approx(10.5)
    assert executor.busy_share() == pytest.approx(1.0)


def test_eight_slots_with_unequal_trials_are_busy():
    """Trials differ tenfold in length and are pruned: no slot waits while there is budget."""

    def replay(launch):
        lr = launch.spec["train"]["lr"]
        for epoch in range(1, 10):
            yield SimulatedEpoch(
                value=lr * epoch, seconds=1.0 + 9.0 * (launch.number * 7 % 11) / 10
            )

    for name in ("random", "tpe"):
        algorithm = optuna_algorithm(name, seed=3)
        budget = Budget(seconds=300.0)
        executor, _, ledger = search(algorithm, replay, 8, budget=budget, overhead_s=0.1)
        assert executor.busy_share() >= 0.95
        assert len(ledger.trials()) > 30


def test_a_driver_that_waits_for_nothing_is_told():
    class Waiting(Listed):
        def ask(self, number):
            return None

    class Idle:
        def next_launch(self):
            return None

        def is_over(self):
            return False

    with pytest.raises(RuntimeError, match="starts nothing"):
        SimulatedExecutor(steady([1.0])).run(Idle())


def test_a_batch_holds_one_slot_for_as_long_as_its_slowest_trial():
    class Batched(Listed):
        """Trials 1 and 2 are a batch."""

        def ask(self, number):
            made = super().ask(number)
            return made and replace(made, stage=TrialStage(batch=1 if number in (1, 2) else None))

        def pace(self, share):
            pass

        def open_batch(self):
            return 1 if self.asked == 2 else None

    algorithm = Batched([0.1, 0.2, 0.3, 0.4], until_epoch=3)
    replay = steady([1.0, 1.0, 2.0, 0.5], epochs=3)
    executor, engine, ledger = search(algorithm, replay, 1, budget=Budget(trials=3))
    assert executor.spans == [(0, 0.0, 3.0), (1, 3.0, 9.0), (2, 3.0, 9.0), (3, 9.0, 10.5)]
    assert (engine.spent().trials, engine.spent().epochs) == (3, 9)
    assert [t.value for t in ledger.trials()] == [0.1, 0.2, 0.3, 0.4]
