"""Forecasts against schedules worked out by hand, and against the search that follows."""

import functools
from dataclasses import replace

import pytest

from hpo.core.budget import Budget, Spent, parse_budget
from hpo.core.trial import Measurement, Purpose, Suggestion, TrialState
from hpo.executors.division import Slots
from hpo.results.average import NEAR
from hpo.run.ledger import Ledger
from hpo.searching.forecast import (
    AVERAGE_COST,
    LEAST_REHEARSALS,
    REHEARSED_TRIALS,
    SPEEDS,
    forecast,
)
from hpo.searching.make_plan import plan_study
from hpo.searching.rehearsal import TRIAL_START_S
from hpo.searching.session import resume_search, start_search
from hpo.searching.settings import SearchSettings
from hpo.searching.shortening import MOST_TRIALS
from tests.count_calls import count_calls
from tests.quick_runs import Ear, quick_space, quick_study
from tests.quick_trainer import TRAINER


@pytest.fixture(autouse=True)
def _as_users_have_them(monkeypatch):
    """Here they are rehearsed as often as a user's are, which tests of searches do without."""
    monkeypatch.setattr("hpo.searching.forecast.REHEARSED_TRIALS", REHEARSED_TRIALS)
    monkeypatch.setattr("hpo.searching.forecast.SPEEDS", SPEEDS)


def foresee(
    budget,
    *,
    seconds=10.0,
    slots=2,
    gpus=0.0,
    start_s=0.0,
    confirm=0,
    spent=None,
    begun=None,
    options=(),
    probe=None,
    **changes,
):
    study = quick_study(budget=parse_budget(budget) if isinstance(budget, str) else budget)
    search = replace(study.search, confirm=confirm, algorithm_options=dict(options))
    plan = replace(plan_study(study, TRAINER), **changes)
    division = Slots(count=slots, cpus=1, gpus=gpus, total_cpus=slots, total_gpus=int(slots * gpus))
    return forecast(
        replace(study, search=search),
        plan,
        quick_space(study),
        TRAINER,
        division,
        probe={"seconds_per_epoch": seconds, "start_s": start_s, **(probe or {})},
        spent=spent,
        begun=begun,
    )


def test_full_trials_take_what_they_take():
    expected = foresee("4trials", algorithm="random", pruner="none", num_epochs=3)
    # Two slots, two trials after one another in each: 2 * (3 * 10 s + the start).
    assert expected.seconds == pytest.approx(2 * (30 + TRIAL_START_S))
    assert expected.low_s == pytest.approx(2 * (0.85 * 30 + TRIAL_START_S))
    assert expected.high_s == pytest.approx(2 * (1.15 * 30 + TRIAL_START_S))
    assert (expected.trials, expected.epochs, expected.pruned) == (4, 12, 0)
    assert expected.busy_share == pytest.approx(1.0)


def test_a_new_worker_starts_once():
    expected = foresee("4trials", algorithm="random", pruner="none", num_epochs=3, start_s=7.0)
    assert expected.seconds == pytest.approx(7 + 2 * (30 + TRIAL_START_S))


def test_an_average_takes_a_share_of_an_epoch_for_each_trial_near_the_best():
    plain = foresee("8trials", algorithm="random", pruner="none", num_epochs=3)
    expected = foresee("8trials", algorithm="random", pruner="none", num_epochs=3, averages=True)
    assert expected.seconds == pytest.approx(plain.seconds + NEAR * AVERAGE_COST * 10)
    few = foresee("2trials", algorithm="random", pruner="none", num_epochs=3, averages=True)
    assert few.seconds == pytest.approx(30 + TRIAL_START_S + 2 * AVERAGE_COST * 10)


def test_an_odd_trial_leaves_a_slot_idle():
    expected = foresee("3trials", algorithm="random", pruner="none", num_epochs=3)
    assert expected.seconds == pytest.approx(2 * (30 + TRIAL_START_S))
    assert expected.busy_share == pytest.approx(0.75)


def test_a_long_search_is_scaled():
    many = 10 * MOST_TRIALS
    expected = foresee(f"{many}trials", algorithm="random", pruner="none", num_epochs=3)
    assert expected.trials == many
    assert expected.epochs == 3 * many
    assert expected.seconds == pytest.approx(many / 2 * (30 + TRIAL_START_S))


@pytest.mark.parametrize(
    ("budget", "confirm", "trials", "seconds"),
    [
        (
            "1000trials",
            1,
            1000,
            17 * 30.5,
        ),  # no slot trains more than 16, and the finalists once more, all at a time
        ("600s", 0, 64 * 600 / 30.5, 610),
        ("600s", 1, 64 * (600 - 1.1 * 30) / 30.5, 600),
    ],
)
def test_a_long_search_takes_its_waves_and_no_more(budget, confirm, trials, seconds, monkeypatch):
    monkeypatch.setattr("hpo.searching.shortening.MOST_TRIALS", 70)
    monkeypatch.setattr("hpo.searching.forecast.SPEEDS", (1.0,))
    facts = {"algorithm": "random", "pruner": "none", "num_epochs": 3, "slots": 64}
    expected = foresee(budget, confirm=confirm, **facts)
    assert expected.charged_s == pytest.approx(seconds, rel=0.02)
    assert expected.trials == pytest.approx(trials, rel=0.08)
    assert (expected.after_s > 0) == (confirm == 1)
    assert expected.longest == 3


@pytest.mark.parametrize("budget", [Budget(), Budget(trials=1000)])
def test_brackets_that_end_by_themselves_have_no_parts(budget, monkeypatch):
    monkeypatch.setattr("hpo.searching.shortening.MOST_TRIALS", 5)
    monkeypatch.setattr("hpo.searching.forecast.SPEEDS", (1.0,))
    options = {"reduction_factor": 2, "epoch_multiplier": 1, "rounds": 1, "max_epochs": 4}
    facts = {"algorithm": "hyperband", "pruner": "none", "num_epochs": 4, "options": options}
    rungs = foresee(budget, **facts, slots=8, route_style="rungs")
    assert (rungs.trials, rungs.epochs, rungs.longest) == (15, 32, None)


def test_where_only_the_search_can_tell_its_end_the_whole_ends_where_its_part_does(monkeypatch):
    monkeypatch.setattr("hpo.searching.forecast.REHEARSED_TRIALS", 1)
    monkeypatch.setattr("hpo.searching.forecast.SPEEDS", (1.0,))
    facts = {"algorithm": "asha", "pruner": "none", "num_epochs": 4, "slots": 1}
    facts["options"] = {"min_top_configs": 2, "reduction_factor": 2}
    whole = foresee("40trials", **facts)
    assert whole.trials < 20
    monkeypatch.setattr("hpo.searching.shortening.MOST_TRIALS", 20)
    assert foresee("1000trials", **facts) == foresee(Budget(), **facts) == whole


def test_epochs_of_their_own_lengths_are_counted_as_such():
    """Pictures grow: the first epochs are quick, and where trials end there the search is."""
    facts = {"algorithm": "random", "pruner": "none", "num_epochs": 3, "slots": 1}
    growing = {"probe": {"epoch_seconds": [1.0, 2.0, 27.0]}}
    assert foresee("2epochs", **facts, **growing).seconds == pytest.approx(1 + 2 + TRIAL_START_S)
    assert foresee("4trials", **facts, **growing) == foresee("4trials", **facts)
    odd = {"probe": {"epoch_seconds": [1.0, 2.0]}}  # not of every epoch
    assert foresee("2epochs", **facts, **odd) == foresee("2epochs", **facts)
    # Two of 10 s have come as the probe says, so the third is one of 40 s.
    left = foresee(
        "1trials", **facts, seconds=20.0, probe={"epoch_seconds": [10.0, 10.0, 40.0]},
        spent=Spent(trials=1, seconds=20.0, epochs=2), begun=begun_with([2]),
    )  # fmt: skip
    assert left.seconds == pytest.approx(40 + TRIAL_START_S)


@pytest.mark.parametrize(
    ("budget", "epochs"), [("7epochs", 10), ("11epochs", 12), ("13epochs", 17), ("1trials", 12)]
)
def test_trials_are_judged_and_ended_where_they_are_validated(budget, epochs):
    """Every fifth epoch, and the last of twelve."""
    facts = {"algorithm": "random", "pruner": "none", "num_epochs": 12, "slots": 1}
    assert foresee(budget, **facts, validated_every=5).epochs == epochs


def test_a_time_limit_is_kept_to_an_epoch():
    expected = foresee("600s", algorithm="random", pruner="none", num_epochs=3)
    assert 600 <= expected.low_s <= expected.high_s <= 600 + 11.5
    assert expected.trials == pytest.approx(2 * 600 / 30.5, abs=3)


def test_gpu_hours_are_counted_over_all_slots():
    expected = foresee("600gpus", gpus=0.5, algorithm="random", pruner="none", num_epochs=3)
    # Two trials of half a GPU each use one GPU second a second.
    assert expected.seconds == pytest.approx(600, rel=0.06)


def test_finalists_are_trained_again_after_the_search():
    plain = foresee("8trials", algorithm="random", pruner="none", num_epochs=3)
    expected = foresee("8trials", algorithm="random", pruner="none", num_epochs=3, confirm=8)
    # All eight, the default among them, are trained with two new seeds each.
    assert expected.repeats == 16
    assert expected.trials == plain.trials == 8
    assert expected.epochs == plain.epochs + 3 * expected.repeats
    # Then each is loaded in 1 s and validated in a fifth of an epoch.
    assert expected.seconds == pytest.approx(plain.seconds + 8 * (30 + TRIAL_START_S) + 16 * 3)


def test_finalists_are_not_scaled_with_a_long_search():
    many = 10 * MOST_TRIALS
    expected = foresee(f"{many}trials", algorithm="random", pruner="none", num_epochs=3, confirm=1)
    assert expected.repeats in (2, 4)
    searched = many / 2 * (30 + TRIAL_START_S)
    assert searched < expected.seconds <= searched + 2.5 * (30 + TRIAL_START_S) + 4 * 3


@pytest.mark.parametrize(("budget", "trials"), [("50000s", 3279), ("9000epochs", 3000)])
def test_finalists_take_no_more_of_a_long_budget_than_they_need(budget, trials):
    facts = {"algorithm": "random", "pruner": "none", "num_epochs": 3}
    expected = foresee(budget, confirm=1, **facts)
    assert expected.repeats in (2, 4)
    assert expected.trials == pytest.approx(trials, rel=0.05)
    assert expected.seconds == pytest.approx(foresee(budget, **facts).seconds, rel=0.02)


@pytest.mark.parametrize(
    ("budget", "repeats"),
    [
        ("79epochs", 0),
        ("80epochs", 1),
        ("150epochs", 2),
        ("650s", 0),
        ("680s", 4),
        ("400epochs", 4),
    ],
)
def test_repeats_have_what_is_kept_for_them_though_others_end_late(budget, repeats):
    facts = {"algorithm": "random", "pruner": "none", "num_epochs": 9, "slots": 4, "confirm": 1}
    assert foresee(budget, **facts).repeats == repeats


def test_what_earlier_starts_used_is_left_out():
    spent = Spent(trials=6, seconds=90.0, epochs=18)
    left = foresee("10trials", algorithm="random", pruner="none", num_epochs=3, spent=spent)
    assert (left.trials, left.epochs) == (4, 12)


def test_workers_start_within_a_time_limit():
    plain = foresee("600s", algorithm="random", pruner="none", num_epochs=3)
    expected = foresee("600s", algorithm="random", pruner="none", num_epochs=3, start_s=61.0)
    assert 600 <= expected.low_s <= expected.high_s <= 600 + 11.5
    assert plain.trials - expected.trials == pytest.approx(2 * 61 / 30.5, abs=1)
    long = foresee("50000s", algorithm="random", pruner="none", num_epochs=3, start_s=61.0)
    assert long.seconds == pytest.approx(50000, rel=0.01)


def begun_with(epochs, *, repeats=(), scale=1.0, every=1):
    """A ledger whose trials have so many epochs of three; those with all of them have ended."""
    ledger = Ledger.create(None, "maximize")
    for number, done in enumerate([*epochs, *repeats]):
        is_repeat = number >= len(epochs)
        params = {
            "train.lr": 0.001 * (1 + (0 if is_repeat else number)),
            "train.margin": 0.5,
            "train.width": 100,
        }
        suggestion = Suggestion(number=number, params=params, latents={}, until_epoch=3)
        purpose = Purpose.CONFIRM if is_repeat else Purpose.SEARCH
        ledger.start(suggestion, now=0.0, clock=0.0, seed=is_repeat * (number + 1), purpose=purpose)
        for epoch in range(every, done + 1, every):
            value = scale * (0.5 - 0.1 * number if not is_repeat else 0.5)
            measured = Measurement(epoch=epoch, value=value, seconds=10.0 * every)
            ledger.record(number, measured, clock=20.0)
        if done == 3:
            ledger.finish(number, TrialState.COMPLETE, now=0.0, clock=20.0)
    return ledger


def test_a_resumed_search_goes_on_with_what_it_has_begun():
    spent = Spent(trials=3, seconds=20.0, epochs=6)
    left = foresee(
        "4trials", algorithm="random", pruner="none", num_epochs=3,
        spent=spent, begun=begun_with([3, 2, 1]),
    )  # fmt: skip
    # One epoch is left of trial 1, then trial 3 has that slot; two are left of trial 2.
    assert left.seconds == pytest.approx(10 + 30 + 2 * TRIAL_START_S)
    assert (left.trials, left.epochs) == (3, 1 + 2 + 3)


def test_the_longest_trial_of_all_starts_is_told():
    facts = {"algorithm": "random", "pruner": "none", "num_epochs": 3, "slots": 1}
    spent = Spent(trials=2, seconds=20.0, epochs=5)
    assert foresee("6epochs", spent=spent, begun=begun_with([3, 2]), **facts).longest == 3
    assert foresee("2epochs", **facts).longest == 2
    assert foresee("3epochs", **{**facts, "slots": 2}).longest == 2  # two trials, four epochs
    many = {**facts, "slots": 300, "probe": {"epoch_seconds": [1.0, 9.0, 99.0]}}
    short = Spent(seconds=20.0)  # 300 slots come to the second epoch; a part of them is rehearsed
    assert foresee("26s", spent=short, begun=begun_with([2]), **many).longest == 2
    assert foresee("26s", spent=short, begun=begun_with([3]), **many).longest == 3


def test_trials_that_others_may_start_from_are_counted_for_the_disk():
    facts = {"num_epochs": 9, "pruner": "none", "options": {"population_size": 4}}
    members = foresee(Budget(trials=13), algorithm="pbt", **facts).start_points
    assert 4 <= members <= 4 + 2  # one of each generation that some still stand at
    assert foresee(Budget(trials=13), algorithm="random", **facts).start_points == 0


def test_a_population_goes_on_as_it_was_planned_whatever_the_new_budget(tmp_path):
    search = replace(quick_study().search, algorithm="pbt")
    study = quick_study(budget=parse_budget("12trials"), search=search)
    cut = start_search(study, tmp_path, Ear(stop_after=(6, 7)).settings())
    ear = Ear()
    done = resume_search(cut.run, ear.settings(), budget=parse_budget("40trials")).finished
    (review,) = ear.named("review")
    assert review["forecast"]["trials"] == sum(done.trials.values()) - 6


def test_a_search_resumed_among_its_repeats_trains_those_that_are_left():
    spent = Spent(trials=2, seconds=20.0, epochs=6)
    left = foresee(
        "2trials", algorithm="random", pruner="none", num_epochs=3, confirm=1, slots=1,
        spent=spent, begun=begun_with([3, 3], repeats=[3]),
    )  # fmt: skip
    # The best is the default: two repeats, one of which is done.
    assert (left.trials, left.repeats, left.epochs) == (0, 1, 3)
    assert left.seconds == pytest.approx(30 + TRIAL_START_S + 3)


@pytest.mark.parametrize(
    ("probed", "every", "counted"),
    [(12.0, 1, 10.0), (7.0, 1, 10.0), (16.0, 1, 16.0), (12.0, 3, 10.0)],
)
def test_epochs_of_earlier_starts_tell_what_an_epoch_takes(probed, every, counted):
    """They took 10 s, whether each was validated or not; a probe of 16 s is of another machine."""
    left = foresee(
        "5trials", algorithm="random", pruner="none", num_epochs=3, slots=1, seconds=probed,
        spent=Spent(trials=3, seconds=90.0, epochs=9), begun=begun_with([3, 3, 3], every=every),
    )  # fmt: skip
    assert left.seconds == pytest.approx(2 * (3 * counted + TRIAL_START_S))


@functools.cache
def with_nothing_begun(options):
    """The forecast of 300 trials, which is that of every scale."""
    return foresee("300trials", **dict(options))


@pytest.mark.parametrize("scale", [0.01, -100.0])
def test_trials_to_come_are_compared_with_earlier_ones_on_the_scale_of_the_metric(scale):
    """A third passes a rung that keeps a third, whatever the metric is."""
    options = {
        "algorithm": "random", "num_epochs": 3, "slots": 1, "pruner": "successive_halving",
    }  # fmt: skip
    spent = Spent(trials=6, seconds=90.0, epochs=18)
    left = foresee("306trials", begun=begun_with([3] * 6, scale=scale), spent=spent, **options)
    plain = with_nothing_begun(tuple(options.items()))
    assert left.pruned == pytest.approx(plain.pruned, rel=0.1)
    few = foresee("18trials", begun=begun_with([3] * 6, scale=scale), spent=spent, **options)
    assert few.pruned == pytest.approx(8, abs=1)


def test_little_is_left_of_a_long_search_and_rehearsed_for_a_while_alone(monkeypatch):
    options = {
        "algorithm": "random", "num_epochs": 3, "slots": 1, "pruner": "successive_halving",
        "begun": begun_with([3] * 6), "spent": Spent(trials=6, seconds=90.0, epochs=18),
    }  # fmt: skip
    whole = foresee("8trials", **options)
    monkeypatch.setattr("hpo.searching.forecast.MOST_REHEARSING_S", 0.0)
    assert count_calls(foresee, "8trials", of="rehearse", **options) == LEAST_REHEARSALS
    assert foresee("8trials", **options).seconds == pytest.approx(whole.seconds, rel=0.5)


def test_rungs_that_are_trials_of_their_own_are_counted_as_such():
    options = {"reduction_factor": 2, "epoch_multiplier": 1, "rounds": 1, "max_epochs": 4}
    facts = {"algorithm": "hyperband", "pruner": "none", "num_epochs": 4, "options": options}
    # Brackets of 4 epochs: 4 at 1, 2 at 2, 1 at 4 | 3 at 2, 1 at 4 | 3 at 4. Where trials run on,
    # the first at a rung passes it, so up to two more do.
    running = foresee(Budget(trials=1000), **facts, route_style="running")
    assert running.trials == 10
    assert 28 <= running.epochs <= 28 + 2 * 2
    rungs = foresee(Budget(trials=1000), **facts, route_style="rungs")
    # 7 + 4 + 3 rung trials, and the default configuration, which is trained in full beside them.
    assert (rungs.trials, rungs.epochs) == (15, 32)
    assert rungs.seconds == pytest.approx(running.seconds, rel=0.3)


@pytest.mark.parametrize(
    ("budget", "algorithm", "is_hopeless"),
    [
        ("10trials", "dehb", True),  # nine until epoch 3, three until 9, one until 30
        ("14trials", "dehb", False),
        (
            "40m",
            "pbt",
            True,
        ),  # eight generations of ten members and the default: 330 epochs of 10 s
        ("60m", "pbt", False),
        ("5m", "tpe", False),  # where trials run on, one that is cut short may be ahead
        ("1trials", "dehb", False),
    ],
)
def test_a_budget_with_which_nothing_but_the_default_can_win_is_told(
    budget, algorithm, is_hopeless
):
    facts = {"pruner": "none", "num_epochs": 30, "planned_trials": None, "slots": 1}
    assert foresee(budget, algorithm=algorithm, **facts).only_default == is_hopeless


def test_without_an_end_in_sight_nothing_is_said():
    assert foresee(Budget(), algorithm="random", pruner="none", num_epochs=3) is None


def test_pruning_shortens_it():
    full = foresee("40trials", algorithm="tpe", pruner="none")
    pruned = foresee("40trials", algorithm="tpe", pruner="successive_halving")
    assert pruned.seconds < 0.7 * full.seconds
    assert pruned.pruned > 20


def test_it_is_the_same_each_time():
    assert foresee("20trials") == foresee("20trials")


def test_without_a_time_per_epoch_nothing_is_said():
    assert foresee("20trials", seconds=0.0) is None
    assert foresee("20trials", seconds=float("nan")) is None


@pytest.mark.parametrize("algorithm", ["auto", "pbt", "dehb", "hyperband"])
def test_the_search_that_follows_trains_about_as_many_epochs(tmp_path, algorithm):
    study = quick_study(budget=parse_budget("30"))
    study = replace(study, search=replace(study.search, algorithm=algorithm))
    reviews = []
    settings = SearchSettings(
        executor="inprocess", confirm_start=lambda review: reviews.append(review) or True
    )
    finished = start_search(study, tmp_path, settings).finished
    expected = reviews[0].forecast
    assert expected.trials == sum(finished.trials.values())
    assert finished.spent.epochs == pytest.approx(expected.epochs, rel=0.5)
