import json
import random

import pytest

from hpo.core.budget import Budget, Spent, parse_budget
from hpo.core.trial import Measurement, Suggestion, TrialStage, TrialState
from hpo.run.ledger import Ledger
from hpo.run.run_dir import RunDir
from hpo.run.trial_specs import TrialSpecs
from hpo.searching.budget_account import Account, remark_on
from hpo.searching.engine_parts import Plan
from tests.count_calls import count_calls


class Clock:
    now = 50.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr("hpo.searching.budget_account.time", made)
    return made


@pytest.fixture
def ledger():
    """Two searched trials and a confirmation: 2 + 1 + 3 epochs of two seconds each."""
    made = Ledger.create(None, "maximize")
    for number, (epochs, purpose) in enumerate([(2, "search"), (1, "search"), (3, "confirm")]):
        suggestion = Suggestion(number=number, params={}, latents={}, until_epoch=9)
        made.start(suggestion, now=0.0, clock=0.0, purpose=purpose)
        for epoch in range(1, epochs + 1):
            made.record(number, Measurement(epoch=epoch, value=0.5, seconds=2.0), clock=30.0)
    return made


def account(ledger, confirm=0, gpus=0.5, **limits):
    return account_of(ledger, Budget(**limits), confirm=confirm, gpus_per_trial=gpus)


def account_of(ledger, budget, **plan):
    specs = TrialSpecs(base_spec={}, seed_key="train.seed")
    return Account(ledger, Plan(specs=specs, budget=budget, **plan))


def test_what_is_counted(ledger):
    spent = account(ledger, trials=9).spent()
    assert spent == Spent(trials=2, seconds=30.0, gpu_seconds=6.0, epochs=6)


def test_the_gain_is_measured_once_after_each_end(ledger):
    book = account_of(ledger, Budget(), until_converged=0)

    def search():
        for number in range(3):
            for _ in range(10):
                book.limit_of_search()
            ledger.finish(number, TrialState.COMPLETE, now=1.0, clock=30.0)

    assert count_calls(search, of="measure_gain") == 3
    assert count_calls(book.limit_of_search, of="ended") == 1
    assert count_calls(book.limit_of_search, of="ended") == 0


def test_what_is_counted_is_the_sum_over_all_trials_at_any_moment():
    """Against a loop over the whole ledger, while trials begin, train and end in any order."""
    rng, made, running = random.Random(3), Ledger.create(None, "maximize"), []
    book = account(made, gpus=0.25)
    for _ in range(300):
        move = rng.choice(["start", "epoch", "epoch", "epoch", "end"])
        if move == "start":
            number = made.next_number
            warm = (0, made.trial(0).epochs) if number and made.trial(0).measurements else None
            suggestion = Suggestion(
                number=number, params={}, latents={}, until_epoch=99, start_from=warm
            )
            purpose = rng.choice(["search", "confirm"])
            made.start(suggestion, now=0.0, clock=0.0, purpose=purpose)
            running.append(number)
        elif running:
            number = rng.choice(running)
            if move == "epoch":
                seconds, epoch = rng.random(), made.trial(number).epochs + 1
                measurement = Measurement(epoch=epoch, value=0.5, seconds=seconds)
                made.record(number, measurement, clock=0.0)
            else:
                kind = rng.choice(["out_of_memory", "over_limit"])
                is_whole = made.trial(number).measurements and rng.random() < 0.6
                cause = None if is_whole else {"kind": kind, "message": "m"}
                state = TrialState.FAILED if cause else TrialState.COMPLETE
                made.finish(number, state, now=0.0, clock=0.0, error=cause)
                running.remove(number)
        seconds = epochs = trials = 0
        for trial in made.trials():
            seconds += trial.seconds
            epochs += len(trial.measurements)
            refused = trial.error is not None and trial.error["kind"] == "over_limit"
            trials += trial.purpose == "search" and not refused
        spent = book.spent()
        assert (spent.trials, spent.epochs) == (trials, epochs)
        assert spent.gpu_seconds == pytest.approx(0.25 * seconds)
    assert made.next_number > 20
    assert any(t.is_refused for t in made.trials())


@pytest.mark.parametrize(
    ("seconds", "epochs"),
    [(0.2, 7), (2.0, 14), (0.01, 6), (10.0, 46)],  # two batches of 20 epochs beside six of 10 s
)
def test_epochs_of_an_earlier_stage_count_by_the_time_they_take(seconds, epochs):
    made = Ledger.create(None, "maximize")
    book = account_of(made, Budget(epochs=100), num_epochs=6)

    def add(number, stage, seconds, until):
        suggestion = Suggestion(
            number=number, params={}, latents={}, until_epoch=until, stage=stage
        )
        made.start(suggestion, now=0.0, clock=0.0)
        for epoch in range(1, until + 1):
            made.record(number, Measurement(epoch=epoch, value=0.5, seconds=seconds), clock=0.0)

    add(0, TrialStage(name="full"), 10.0, 6)
    assert book.spent().epochs == 6
    for number in range(1, 7):
        first = 1 if number < 4 else 4
        add(number, TrialStage(name="heads", left=1, batch=first), seconds, 20)
    assert (book.spent().trials, book.spent().epochs) == (3, epochs)


def test_the_clock_goes_on_from_the_ledger_and_only_while_started(ledger, clock):
    book = account(ledger, trials=9)
    clock.now += 100
    assert book.clock() == 30.0
    book.start_clock()
    clock.now += 4
    book.start_clock()
    clock.now += 1
    assert book.clock() == 35.0
    book.stop_clock()
    clock.now += 100
    book.stop_clock()
    assert book.clock() == 35.0
    book.start_clock()
    clock.now += 2
    assert book.clock() == 37.0


def test_trials_limit_only_what_is_new(ledger):
    book = account(ledger, trials=2)
    assert book.limit_of_search() == "trials"
    assert book.limit_of_everything() is None
    assert [book.limit_of(t) for t in ledger.trials()] == [None, None, None]


@pytest.mark.parametrize(
    ("limits", "searched", "all_of_it"),
    [
        ({"epochs": 6}, "epochs", "epochs"),
        ({"epochs": 7}, "epochs", None),  # 85 % of 7 are 5
        ({"epochs": 8}, "epochs", None),
        ({"epochs": 9}, None, None),  # 7
        ({"epochs": 1}, "epochs", "epochs"),
        ({"seconds": 35.2}, "seconds", None),  # 29.92
        ({"seconds": 35.4}, None, None),  # 30.09
        ({"gpu_seconds": 7.0}, "gpu_seconds", None),  # 5.95
        ({"gpu_seconds": 7.1}, None, None),  # 6.035
    ],
)
def test_confirmations_keep_their_part(ledger, limits, searched, all_of_it):
    book = account(ledger, confirm=2, **limits)
    assert book.limit_of_search() == searched
    assert book.limit_of_everything() == all_of_it
    first, _, repeat = ledger.trials()
    assert (book.limit_of(first), book.limit_of(repeat)) == (searched, all_of_it)


def test_without_confirmations_the_search_has_it_all(ledger):
    assert account(ledger, epochs=7).limit_of_search() is None
    assert account(ledger, epochs=6).limit_of_search() == "epochs"


@pytest.mark.parametrize(
    ("begun", "limits", "has_room"),
    [
        ([], {"gpu_seconds": 136.0}, False),  # 55 + 9 x 3 spent, and the next costs 55
        ([], {"gpu_seconds": 138.0}, True),
        ([5], {"gpu_seconds": 191.0}, False),  # 15 of 55 spent by a repeat that goes on
        ([5], {"gpu_seconds": 193.0}, True),
        ([5], {"epochs": 47}, False),  # 28 + 5 + 5 + 10
        ([5], {"epochs": 48}, True),
        ([10], {"gpu_seconds": 191.0}, False),
        ([10], {"gpu_seconds": 193.0}, True),
        ([5, 5], {"seconds": 84.0}, False),
        ([5, 5], {"seconds": 86.0}, True),  # 30 on the clock
    ],
)
def test_a_repeat_takes_what_whole_trainings_take_where_later_epochs_cost_more(
    begun, limits, has_room
):
    """Epoch n takes n seconds; all but the default are stopped after two."""
    made = Ledger.create(None, "maximize")
    lengths = [(10, "search"), *[(2, "search")] * 9, *[(epochs, "confirm") for epochs in begun]]
    for number, (epochs, purpose) in enumerate(lengths):
        suggestion = Suggestion(number=number, params={}, latents={}, until_epoch=10)
        made.start(suggestion, now=0.0, clock=0.0, purpose=purpose)
        for epoch in range(1, epochs + 1):
            measurement = Measurement(epoch=epoch, value=0.5, seconds=epoch)
            made.record(number, measurement, clock=30.0)
        if purpose == "search":
            made.finish(number, TrialState.COMPLETE, now=0.0, clock=30.0)
    plan = {"confirm": 1, "gpus_per_trial": 1.0, "num_epochs": 10}
    assert account_of(made, Budget(**limits), **plan).has_room_for_repeat() is has_room


def test_time_before_the_first_trial_counts_once(ledger):
    fresh = Ledger.create(None, "maximize")
    assert account_of(fresh, Budget(), spent_before_s=12.5).clock() == 12.5
    # The clock of a ledger that has begun holds it already.
    assert account_of(ledger, Budget(), spent_before_s=12.5).clock() == 30.0


@pytest.mark.parametrize(
    ("confirm", "limits", "advice"),
    [
        (0, {"seconds": 100.0}, "150s"),
        (0, {"seconds": 110.0}, None),
        (2, {"seconds": 110.0}, "150s"),  # 85 % of it are 93.5
        (2, {"seconds": 118.0}, None),
        (2, {"trials": 4}, "6trials"),
        (2, {"trials": 5}, None),
        (2, {"trials": 5, "epochs": 10}, "6trials,14epochs"),  # 85 % of 10 are 8
    ],
)
def test_a_budget_of_which_the_search_has_had_its_part_is_told(
    tmp_path, caplog, confirm, limits, advice
):
    run = RunDir(tmp_path)
    spent = {"trials": 4, "seconds": 100.0, "epochs": 9}
    run.state_file.write_text(json.dumps({"spent": spent}))
    remark_on(Budget(**limits), run, confirm)
    assert bool(caplog.messages) is bool(advice)
    assert not advice or caplog.messages[0].endswith(f"write more than that, such as {advice}")
    caplog.clear()
    if advice:
        remark_on(parse_budget(advice), run, confirm)
    assert not caplog.messages


@pytest.mark.parametrize(
    ("epochs", "repeats", "is_told"),
    [
        (940, 0, False),  # four repeats of 9 epochs, and a tenth more, are kept of it
        (961, 0, True),
        (975, 2, True),
        (995, 0, False),  # too little for a repeat, so the search goes on with it
    ],
)
def test_a_long_budget_keeps_for_repeats_what_those_of_the_run_need(
    tmp_path, caplog, epochs, repeats, is_told
):
    run = RunDir(tmp_path)
    row = {"state": "complete", "epoch": 9, "until_epoch": 9, "seconds": 90.0, "params": {}}
    purposes = ["search"] * 5 + ["confirm"] * repeats
    trials = [{**row, "trial": n, "purpose": purpose} for n, purpose in enumerate(purposes)]
    spent = {"trials": 5, "seconds": 100.0, "epochs": epochs}
    run.state_file.write_text(json.dumps({"spent": spent, "trials": trials}))
    remark_on(Budget(epochs=1000), run, 1)
    assert bool(caplog.messages) is is_told


@pytest.mark.parametrize(("spent_s", "is_told"), [(895, False), (905, True)])
def test_a_budget_of_gpu_time_keeps_what_whole_trainings_take(tmp_path, caplog, spent_s, is_told):
    """Of 1000 s about 97 are kept: a tenth more than the 80 of a training, and an epoch."""
    run = RunDir(tmp_path)
    lengths = [(9, 80.0), *[(2, 4.0)] * 205]
    trials = [
        {"trial": n, "state": "complete", "epoch": epochs, "until_epoch": 9, "seconds": seconds}
        for n, (epochs, seconds) in enumerate(lengths)
    ]
    spent = {"trials": 206, "seconds": 900.0, "gpu_seconds": spent_s, "epochs": 419}
    run.state_file.write_text(json.dumps({"spent": spent, "trials": trials}))
    remark_on(Budget(gpu_seconds=1000.0), run, 1)
    assert bool(caplog.messages) is is_told


@pytest.mark.parametrize(
    ("because", "said"),
    [
        ("algorithm", "(the algorithm has no more trials to propose)"),
        ("converged: nothing gained in 8 trials", "(converged: nothing gained in 8 trials)"),
        ("trials", None),
        ("train: no images", None),  # mended, it goes on
    ],
)
def test_a_budget_that_brings_no_trial_however_large_is_told(tmp_path, caplog, because, said):
    run = RunDir(tmp_path / "my run")
    run.write_state({"finished": {"run_dir": str(run), "ended_because": because}})
    remark_on(Budget(trials=40), run, 0)
    assert len(caplog.messages) == bool(said)
    if said:
        assert f"has not used its budget up {said}" in caplog.text
        assert f"--warm-start '{run}'" in caplog.text
