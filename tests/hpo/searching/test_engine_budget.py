"""What counts against a budget, to the trial, the epoch and the second."""

from dataclasses import replace

import pytest

from hpo.core.budget import Budget
from hpo.core.seeds import derive_seed
from hpo.core.trial import Ended
from hpo.run.ledger import Ledger
from tests.quick_runs import Listed, make_engine, run_all, train, train_to_end

LOST = Ended(failure={"kind": "infrastructure", "message": "the worker was lost"})
BROKEN = Ended(failure={"kind": "code", "message": "broke"})
RATES = [n / 100 for n in range(1, 31)]


class Clock:
    """Stands in for the `time` module of the engine."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now

    def time(self):
        return 1e9 + self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr("hpo.searching.engine.time", made)
    monkeypatch.setattr("hpo.searching.budget_account.time", made)
    return made


def test_every_started_trial_counts_once(tmp_path):
    engine = make_engine(tmp_path, Listed(RATES, stops={(1, 2)}), budget=Budget(trials=4))
    train_to_end(engine, engine.next_launch())  # complete
    train_to_end(engine, engine.next_launch())  # pruned
    engine.next_launch()
    engine.on_end(2, BROKEN)  # failed
    train(engine, engine.next_launch(), until=3)
    engine.on_end(3, LOST)
    assert engine.spent().trials == 4
    retry = engine.next_launch()
    assert retry.number == 3
    assert engine.spent().epochs == 9 + 2 + 3
    train_to_end(engine, retry, start=4)
    assert engine.next_launch() is None
    assert engine.is_over()
    assert len(engine.ledger.trials()) == 4


@pytest.mark.parametrize(("limit", "full", "cut"), [(20, 2, 2), (18, 2, 0), (1, 0, 1), (9, 1, 0)])
def test_epochs_are_counted_exactly(tmp_path, limit, full, cut):
    engine = make_engine(tmp_path, Listed(RATES), budget=Budget(epochs=limit))
    run_all(engine)
    assert engine.spent().epochs == limit
    assert [t.epochs for t in engine.ledger.trials()] == [9] * full + [cut] * (cut > 0)
    assert [str(t.state) for t in engine.ledger.trials()] == ["complete"] * full + ["running"] * (
        cut > 0
    )
    assert engine.ended_because == "epochs"
    assert engine.is_over()


def test_each_of_two_slots_ends_within_its_epoch(tmp_path):
    engine = make_engine(tmp_path, Listed(RATES), budget=Budget(epochs=5))
    first, second = engine.next_launch(), engine.next_launch()
    assert train(engine, first, until=3) == 3
    assert train(engine, second, until=1) == 1
    assert train(engine, first, start=4) == 4  # the fifth epoch
    assert train(engine, second, start=2) == 2  # was under way
    assert engine.spent().epochs == 6


def test_seconds_run_from_the_first_proposal_to_the_last_epoch(tmp_path, clock):
    engine = make_engine(tmp_path, Listed(RATES), budget=Budget(seconds=100))
    clock.now += 500  # probe and review
    assert engine.spent().seconds == 0
    launch = engine.next_launch()
    for epoch in range(1, 9):
        clock.now += 10
        assert train(engine, launch, start=epoch, until=epoch) == epoch
    clock.now += 9
    train_to_end(engine, launch, start=9)
    assert engine.spent().seconds == 89
    launch = engine.next_launch()
    clock.now += 10.5
    assert engine.on_epoch(1, {"epoch": 1, "value": 0.5}) is True
    clock.now += 0.75
    assert engine.on_epoch(1, {"epoch": 2, "value": 0.5}) is False
    engine.on_end(1, Ended())
    assert engine.is_over()
    clock.now += 1000  # evaluation and export
    assert engine.spent().seconds == 100.25
    assert engine.events.named("trial_suspended")[0]["reason"] == "budget of time spent"


class NeverStarts(Listed):
    """Proposes what is refused before it starts, or cannot start, from the second trial on."""

    def ask(self, number):
        asked = super().ask(number)
        return replace(asked, start_from=(0, 9)) if asked and number else asked


@pytest.mark.parametrize(
    ("algorithm", "plan", "because"),
    [
        (Listed(RATES[:1]), {}, "algorithm"),
        (Listed(RATES[:1]), {"budget": Budget(trials=9)}, "algorithm"),
        (Listed(RATES[:3], stops={(1, 1), (2, 1)}), {}, "algorithm"),
        (Listed(RATES), {"budget": Budget(trials=2)}, "trials"),
        (Listed(RATES), {"budget": Budget(epochs=12)}, "epochs"),
        (Listed(RATES[:2]), {"confirm": 1}, "algorithm"),
        (Listed(RATES[:4]), {"refuse": lambda params: "x" * (params["train.lr"] > 0.01)}, "algorithm"),
        (NeverStarts(RATES), {"budget": Budget(trials=3)}, "trials"),
        (NeverStarts(RATES), {}, "checkpoints must be kept"),
    ],
)  # fmt: skip
def test_what_follows_the_last_trial_is_not_charged_however_a_search_ends(
    tmp_path, clock, algorithm, plan, because
):
    engine = make_engine(tmp_path, algorithm, **{"budget": Budget(), **plan})
    while (launch := engine.next_launch()) is not None:
        clock.now += 5
        train_to_end(engine, launch)
    spent = engine.spent().seconds
    assert spent == 5 * sum(bool(t.measurements) for t in engine.ledger.trials())
    clock.now += 1000  # average, evaluation and export
    assert engine.spent().seconds == spent
    assert engine.is_over()
    assert because in engine.ended_because


def test_time_without_a_driver_is_not_charged(tmp_path, clock):
    ledger = Ledger.create(None, "maximize")
    engine = make_engine(tmp_path, Listed(RATES), ledger=ledger, budget=Budget(seconds=100))
    launch = engine.next_launch()
    clock.now += 40
    train(engine, launch, until=1)
    clock.now += 10_000
    engine = make_engine(tmp_path, Listed(RATES), ledger=ledger, budget=Budget(seconds=100))
    assert engine.spent().seconds == 40
    launch = engine.next_launch()
    clock.now += 59
    assert train(engine, launch, start=2, until=2) == 2
    clock.now += 1
    assert engine.on_epoch(0, {"epoch": 3, "value": 0.5}) is False


def test_gpu_seconds_are_the_trials_own_times_their_share(tmp_path):
    engine = make_engine(
        tmp_path, Listed(RATES), budget=Budget(gpu_seconds=6.0), gpus_per_trial=0.5
    )
    launch = engine.next_launch()
    assert train(engine, launch, seconds=1.0) == 9  # 4.5 GPU seconds
    engine.on_end(0, Ended())
    launch = engine.next_launch()
    assert train(engine, launch, seconds=1.0) == 3
    assert engine.spent().gpu_seconds == 6.0


@pytest.mark.parametrize("later", [0.25, 1.0, 2.0])
def test_another_share_of_a_gpu_charges_only_what_comes_after(tmp_path, later):
    """Three epochs at half a GPU, then a resume at another share: the past costs what it cost."""
    ledger = Ledger.create(tmp_path / "ledger.db", "maximize")
    plan = {"budget": Budget(gpu_seconds=1e9), "ledger": ledger}
    first = make_engine(tmp_path, Listed(RATES), gpus_per_trial=0.5, **plan)
    launch = first.next_launch()
    train(first, launch, until=3, seconds=2.0)
    assert first.spent().gpu_seconds == 3.0
    ledger.close()
    plan["ledger"] = ledger = Ledger.open(tmp_path / "ledger.db")
    again = make_engine(tmp_path, Listed(RATES), gpus_per_trial=later, **plan)
    assert again.spent().gpu_seconds == 3.0
    again.next_launch()  # the same trial goes on
    train(again, launch, start=4, until=5, seconds=2.0)
    assert again.spent().gpu_seconds == 3.0 + 2 * 2.0 * later
    again.take_places(1, 0.125)  # divided anew once the probe has measured
    assert again.spent().gpu_seconds == 3.0 + 2 * 2.0 * later
    ledger.close()


def test_a_trainer_that_tells_no_seconds_is_timed_by_its_reports(tmp_path, clock):
    engine = make_engine(tmp_path, Listed(RATES), budget=Budget(gpu_seconds=1e9), gpus_per_trial=1)
    engine.next_launch()
    for epoch, took in enumerate((3.0, 5.0), 1):
        clock.now += took
        engine.on_epoch(0, {"epoch": epoch, "value": 0.5})
    assert engine.spent().gpu_seconds == 8.0


def test_the_first_limit_ends_it(tmp_path):
    engine = make_engine(tmp_path, Listed(RATES), budget=Budget(trials=50, epochs=10))
    run_all(engine)
    assert engine.ended_because == "epochs"
    assert len(engine.ledger.trials()) == 2


def test_an_extended_search_finishes_what_was_cut_off_first(tmp_path):
    ledger = Ledger.create(None, "maximize")
    run_all(make_engine(tmp_path, Listed(RATES), ledger=ledger, budget=Budget(epochs=12)))
    same = make_engine(tmp_path, Listed(RATES), ledger=ledger, budget=Budget(epochs=12))
    assert same.is_over()
    assert same.next_launch() is None
    more = make_engine(tmp_path, Listed(RATES), ledger=ledger, budget=Budget(epochs=27))
    assert not more.is_over()
    run_all(more)
    assert [(t.epochs, str(t.state)) for t in ledger.trials()] == [(9, "complete")] * 3
    assert more.spent().epochs == 27


# Confirmations ---------------------------------------------------------------------------------


def confirmed(engine):
    return [t for t in engine.ledger.trials() if t.purpose == "confirm"]


def test_finalists_are_trained_again_beyond_a_budget_of_trials(tmp_path):
    engine = make_engine(tmp_path, Listed([0.1, 0.5, 0.4, 0.3]), budget=Budget(trials=4), confirm=2)
    launches = run_all(engine)
    assert [launch.number for launch in launches] == list(range(10))
    repeats = confirmed(engine)
    # The best, the default to compare with, the next; all with the same two new seeds.
    assert [t.params["train.lr"] for t in repeats] == [0.5, 0.1, 0.4] * 2
    seeds = [derive_seed(0, "confirm", nth) for nth in (0, 1)]
    assert [t.seed for t in repeats] == [seeds[0]] * 3 + [seeds[1]] * 3
    assert [launch.spec["train"]["seed"] for launch in launches[4:]] == [t.seed for t in repeats]
    assert len({t.seed for t in engine.ledger.trials()}) == 3
    assert engine.spent().trials == 4
    assert len(engine.events.named("confirmed")) == 6
    assert len(engine.events.named("trial_finished")) == 4
    assert engine.is_over()
    assert engine.ended_because == "trials"


def test_confirmations_wait_for_the_last_trial(tmp_path):
    engine = make_engine(tmp_path, Listed([0.1, 0.5]), budget=Budget(trials=2), confirm=1)
    first, second = engine.next_launch(), engine.next_launch()
    train_to_end(engine, first)
    assert engine.next_launch() is None
    assert not engine.is_over()
    train_to_end(engine, second)
    assert engine.next_launch().spec["train"]["lr"] == 0.5


def test_confirmations_are_told_to_no_algorithm(tmp_path):
    algorithm = Listed([0.1, 0.5], stops={(2, 1), (3, 1)})
    engine = make_engine(tmp_path, algorithm, budget=Budget(trials=2), confirm=1)
    run_all(engine)
    assert {h[1] for h in algorithm.heard} == {0, 1}
    assert [t.epochs for t in confirmed(engine)] == [9] * 4


def test_the_mean_over_new_seeds_decides(tmp_path):
    engine = make_engine(tmp_path, Listed([0.1, 0.2]), budget=Budget(trials=2), confirm=2)
    values = {0: 0.7, 1: 0.8, 2: 0.7, 3: 0.9, 4: 0.9, 5: 0.8}  # 2 and 4 repeat 1, 3 and 5 repeat 0
    while (launch := engine.next_launch()) is not None:
        train_to_end(engine, launch, lambda _epoch, n=launch.number: values[n])
    assert [t.params["train.lr"] for t in confirmed(engine)] == [0.2, 0.1] * 2
    assert engine.best().number == 0


def epochs_of(engine):
    """Epochs of the search, and of each repeat."""
    searched = [t.epochs for t in engine.ledger.trials() if t.purpose == "search"]
    return sum(searched), [t.epochs for t in confirmed(engine)]


@pytest.mark.parametrize(
    ("limit", "confirm", "searched", "repeats"),
    [
        (20, 3, 20, []),  # 15 % are three epochs, in which no repeat comes to its end
        (59, 1, 59, []),
        (68, 1, 58, [9]),
        (100, 1, 90, [9]),
        (130, 1, 111, [9, 9]),
        (400, 1, 360, [9] * 4),  # 60 are not needed
        (400, 3, 340, [9] * 6),
    ],
)
@pytest.mark.parametrize("unit", ["epochs", "seconds", "gpu_seconds"])
def test_what_repeats_need_is_kept_of_a_budget(
    tmp_path, clock, unit, limit, confirm, searched, repeats
):
    """With a second an epoch and a GPU it is nearly the same in every unit."""
    budget = Budget(**{unit: limit})
    rates = [n / 1000 for n in range(50)]
    engine = make_engine(tmp_path, Listed(rates), budget=budget, confirm=confirm, gpus_per_trial=1)
    launches = []
    while (launch := engine.next_launch()) is not None:
        launches.append(launch)

        def value(epoch, rate=launch.spec["train"]["lr"]):
            clock.now += 1
            return rate + epoch / 100

        train_to_end(engine, launch, value)
    told = epochs_of(engine)
    assert told[1] == repeats
    assert told[0] == pytest.approx(searched, abs=1)
    assert engine.spent().epochs <= limit
    assert engine.is_over()
    assert len(launches) == len(engine.ledger.trials())


def test_no_repeat_is_begun_beside_others_that_take_what_is_left(tmp_path):
    engine = make_engine(tmp_path, Listed(RATES), budget=Budget(epochs=150), confirm=3, at_a_time=4)
    while (launch := engine.next_launch()) and not engine.ledger.trial(launch.number).is_repeat:
        train_to_end(engine, launch)
    first, second = launch, engine.next_launch()
    assert engine.ledger.trial(second.number).is_repeat
    assert engine.next_launch() is None
    train_to_end(engine, first)
    assert engine.next_launch() is None
    train_to_end(engine, second)
    assert engine.is_over()
    assert epochs_of(engine) == (127, [9, 9])


def test_a_resumed_search_leaves_the_confirmations_their_share(tmp_path):
    """A trial that was cut off by the search's part of the budget is not trained on for free."""
    ledger, limits = Ledger.create(None, "maximize"), {"budget": Budget(epochs=65), "confirm": 1}
    engine = make_engine(tmp_path, Listed(RATES), ledger=ledger, **limits)
    for _ in range(7):
        train_to_end(engine, engine.next_launch())
    assert [t.epochs for t in ledger.trials()] == [9] * 6 + [1]
    again = make_engine(tmp_path, Listed(RATES), ledger=ledger, **limits)
    launch = again.next_launch()
    assert ledger.trial(launch.number).purpose == "confirm"
    train_to_end(again, launch)
    assert again.next_launch() is None
    assert again.is_over()
    assert epochs_of(again) == (55, [9])


def test_a_confirmation_that_was_cut_off_goes_on(tmp_path):
    ledger = Ledger.create(None, "maximize")
    limits = {"budget": Budget(trials=2), "confirm": 1}
    engine = make_engine(tmp_path, Listed(RATES), ledger=ledger, **limits)
    for _ in range(2):
        train_to_end(engine, engine.next_launch())
    cut = engine.next_launch()
    train(engine, cut, until=4)
    again = make_engine(tmp_path, Listed(RATES), ledger=ledger, **limits)
    launch = again.next_launch()
    assert (launch.number, launch.spec) == (cut.number, cut.spec)
    train_to_end(again, launch, start=5)
    run_all(again)
    assert [(t.purpose, t.epochs) for t in ledger.trials()] == [
        ("search", 9), ("search", 9), *[("confirm", 9)] * 4,
    ]  # fmt: skip


def test_without_a_request_nothing_is_confirmed(tmp_path):
    engine = make_engine(tmp_path, Listed(RATES), budget=Budget(trials=3))
    run_all(engine)
    assert confirmed(engine) == []


# Convergence -----------------------------------------------------------------------------------


def stalling(epoch):
    return 0.5 + min(epoch, 5) / 100  # the best value stands still from the first trial on


def test_a_search_that_stands_still_ends_before_its_budget(tmp_path):
    engine = make_engine(
        tmp_path, Listed([0.1] * 99), budget=Budget(trials=60), until_converged=0.0
    )
    run_all(engine, stalling)
    assert 16 <= len(engine.ledger.trials()) <= 20
    assert engine.is_over()
    assert engine.ended_because.startswith("converged: the last 1m 12s of training (8 trials)")


def test_without_the_wish_it_goes_on_to_its_budget(tmp_path):
    engine = make_engine(tmp_path, Listed([0.1] * 99), budget=Budget(trials=60))
    run_all(engine, stalling)
    assert len(engine.ledger.trials()) == 60
    assert engine.ended_because == "trials"


def test_a_search_that_still_gains_goes_on(tmp_path):
    engine = make_engine(
        tmp_path, Listed([n / 100 for n in range(1, 41)]), budget=Budget(trials=40),
        until_converged=0.0,
    )  # fmt: skip
    run_all(engine)  # a value is the rate and a hundredth for each epoch
    assert engine.ended_because == "trials"


def test_finalists_are_confirmed_after_convergence(tmp_path):
    engine = make_engine(
        tmp_path, Listed([0.1] * 99), budget=Budget(trials=60), until_converged=0.0, confirm=1
    )
    run_all(engine, stalling)
    assert confirmed(engine)
