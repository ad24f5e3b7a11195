"""Samplers beside every pruner, checked against slow recomputation."""

import random
from dataclasses import replace

import optuna
import pytest

from hpo.algorithms import PRUNERS, create_algorithm
from hpo.algorithms.entry import Context
from hpo.core.budget import Budget
from hpo.core.trial import Measurement, TrialRecord, TrialState
from tests.quick_runs import optuna_algorithm, quick_space, quick_study
from tests.quick_trainer import value_at
from tests.search_spaces import building

EPOCHS = 9
SAMPLERS = ("random", "tpe", "bayesian")
DEFAULT = {"train.lr": 0.001, "train.margin": 0.3, "train.width": 64}


def record_of(suggestion):
    return TrialRecord(
        number=suggestion.number, state=TrialState.RUNNING, params=suggestion.params,
        latents=suggestion.latents, until_epoch=suggestion.until_epoch,
    )  # fmt: skip


def curve(params, epoch):
    spec = {name.removeprefix("train."): value for name, value in params.items()}
    return value_at(spec, epoch, seed=0)


def train(algorithm, record, values, sign=1.0):
    """Report epochs until the algorithm stops the trial, and tell it of the end."""
    record.state = TrialState.COMPLETE
    for epoch in range(1, EPOCHS + 1):
        measurement = Measurement(epoch=epoch, value=sign * values(epoch))
        record.measurements.append(measurement)
        if algorithm.report(record.number, measurement).stop:
            record.state = TrialState.PRUNED
            break
    best = record.best_measurement("maximize" if sign > 0 else "minimize")
    record.value = best.value
    algorithm.tell(record)


def search(name, pruner="successive_halving", *, trials=8, seed=0, direction="maximize"):
    """A search with one slot; returns the records."""
    algorithm = optuna_algorithm(name, pruner=pruner, seed=seed, direction=direction)
    sign = 1.0 if direction == "maximize" else -1.0
    records = []
    for number in range(trials):
        record = record_of(algorithm.ask(number))
        train(algorithm, record, lambda e, r=record: curve(r.params, e), sign)
        records.append(record)
    return records


def proposals(name, **options):
    return [record.params for record in search(name, **options)]


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_first_trial_is_the_default_configuration(name):
    assert optuna_algorithm(name).ask(0).params == DEFAULT


@pytest.mark.parametrize("name", SAMPLERS)
def test_params_are_what_the_latents_mean(name):
    space = quick_space()
    for record in search(name):
        assert space.decode(record.latents) == record.params
        assert record.until_epoch == EPOCHS


@pytest.mark.parametrize("pruner", PRUNERS)
def test_the_default_is_never_pruned(pruner):
    """Also not where another trial, running beside it, is better in every epoch."""
    algorithm = optuna_algorithm("random", pruner=pruner)
    trials = [algorithm.ask(number) for number in range(8)]
    for epoch in range(1, EPOCHS + 1):
        for trial in reversed(trials):
            value = -1.0 if trial.number == 0 else 0.5 + trial.number / 100
            decision = algorithm.report(trial.number, Measurement(epoch=epoch, value=value))
            assert not (trial.number == 0 and decision.stop)


def test_successive_halving_against_a_slow_recount():
    """Rungs at 2 and 6 epochs; the best third of those who reached a rung goes on, at least one."""
    algorithm, rng = optuna_algorithm("random"), random.Random(1)
    rungs, stopped = {2: [], 6: []}, 0
    for number in range(40):
        record = record_of(algorithm.ask(number))
        values = [rng.random() for _ in range(EPOCHS)]
        train(algorithm, record, lambda e, v=values: v[e - 1])
        expected = EPOCHS
        for rung, seen in rungs.items():
            best = max(values[:rung])
            seen.append(best)
            place = sum(other > best for other in seen)
            if number > 0 and place >= max(1, len(seen) // 3):
                expected = rung
                break
        assert record.epochs == expected, number
        stopped += expected < EPOCHS
    assert 20 < stopped < 39


def test_median_against_a_slow_recount():
    """From the fifth trial and the second epoch on: below the median of the finished ones' best."""
    algorithm, rng = optuna_algorithm("random", pruner="median"), random.Random(2)
    complete, stopped = [], 0
    for number in range(25):
        record = record_of(algorithm.ask(number))
        values = [rng.random() for _ in range(EPOCHS)]
        train(algorithm, record, lambda e, v=values: v[e - 1])
        expected = EPOCHS
        for epoch in range(2, EPOCHS):
            others = sorted(max(v[:epoch]) for v in complete)
            middle = len(others) // 2
            median = (
                0.0 if not others
                else others[middle] if len(others) % 2 else (others[middle - 1] + others[middle]) / 2
            )  # fmt: skip
            if len(others) >= 4 and max(values[:epoch]) < median:
                expected = epoch
                break
        assert record.epochs == expected, number
        if expected == EPOCHS:
            complete.append(values)
        stopped += expected < EPOCHS
    assert 5 < stopped < 25


def test_patience_stops_who_is_below_the_median_and_falls():
    """At the second value that is worse than the one before; a bad trial that rises goes on."""
    algorithm = optuna_algorithm("random", pruner="patient")
    for number in range(5):
        train(algorithm, record_of(algorithm.ask(number)), lambda e: 0.5 + e / 100)
    rising, falling = record_of(algorithm.ask(5)), record_of(algorithm.ask(6))
    train(algorithm, rising, lambda e: e / 100)
    train(algorithm, falling, lambda e: 0.2 - e / 100)
    assert (rising.state, rising.epochs) == (TrialState.COMPLETE, EPOCHS)
    assert falling.state is TrialState.PRUNED
    assert falling.epochs <= 4


def test_one_bad_epoch_stops_nobody():
    algorithm = optuna_algorithm("random", pruner="median")
    for number in range(6):
        record = record_of(algorithm.ask(number))
        train(algorithm, record, lambda e: 0.5)
        assert record.state is TrialState.COMPLETE
    late = record_of(algorithm.ask(6))
    train(algorithm, late, lambda e: 0.9 if e == 1 else 0.0)
    assert late.state is TrialState.COMPLETE


def test_a_stopped_trial_is_told_where_it_stood():
    algorithm = optuna_algorithm("random")
    for number, level in enumerate((0.5, 0.9)):
        train(algorithm, record_of(algorithm.ask(number)), lambda e, v=level: v)
    algorithm.ask(2)
    algorithm.report(2, Measurement(epoch=1, value=0.1))
    decision = algorithm.report(2, Measurement(epoch=2, value=0.6))
    assert decision.stop
    assert decision.reason == "place 2 of 3 at epoch 2"


@pytest.mark.parametrize("name", SAMPLERS)
def test_same_seed_same_proposals_other_seed_others(name):
    here, there = proposals(name, trials=6), proposals(name, trials=6, seed=1)
    assert proposals(name, trials=6) == here
    assert here[0] == there[0]
    assert all(a != b for a, b in zip(here[1:], there[1:], strict=True))


MIRRORED = [(n, p) for n in ("random", "tpe") for p in PRUNERS] + [("bayesian", "hyperband")]


@pytest.mark.parametrize(("name", "pruner"), MIRRORED)
def test_minimizing_the_negative_mirrors_maximizing(name, pruner):
    trials = 7 if name == "bayesian" else 14
    upward = search(name, pruner, trials=trials)
    downward = search(name, pruner, trials=trials, direction="minimize")
    assert [r.params for r in upward] == [r.params for r in downward]
    assert [(r.state, r.epochs) for r in upward] == [(r.state, r.epochs) for r in downward]


@pytest.mark.parametrize("name", SAMPLERS)
def test_trials_that_run_at_the_same_time_differ(name):
    algorithm = optuna_algorithm(name)
    asked = [algorithm.ask(number).params for number in range(6)]
    assert len({tuple(params.items()) for params in asked}) == 6


@pytest.mark.parametrize("name", SAMPLERS)
def test_failures_are_no_values_and_stop_nothing(name):
    algorithm = optuna_algorithm(name)
    for number in range(8):
        record = record_of(algorithm.ask(number))
        if number % 2:
            algorithm.report(number, Measurement(epoch=1, value=1e9))
            record.state = TrialState.FAILED
            algorithm.tell(record)
        else:
            train(algorithm, record, lambda e, r=record: curve(r.params, e))
    states = [t.state.name for t in algorithm._study.get_trials(deepcopy=False)]
    assert states[1::2] == ["FAIL"] * 4
    assert all(
        t.value is None
        for t in algorithm._study.get_trials(deepcopy=False)
        if t.state.name == "FAIL"
    )


@pytest.mark.parametrize("kind", ["out_of_memory", "diverged"])
def test_a_sampler_keeps_away_from_where_trials_cannot_be_trained(kind):
    """Wide models do not fit; of a fault in the code, which lies elsewhere, nothing is learnt."""

    def too_wide(kind, seed):
        algorithm, tried = optuna_algorithm("tpe", pruner="none", seed=seed), []
        for number in range(30):
            record = record_of(algorithm.ask(number))
            tried.append(record.params["train.width"] > 100)
            if tried[-1]:
                record.state, record.error = TrialState.FAILED, {"kind": kind, "message": "no"}
                algorithm.tell(record)
            else:
                train(algorithm, record, lambda e, lr=record.params["train.lr"]: -lr)
        return sum(tried[-15:])

    assert too_wide(kind, 1) < too_wide("code", 1)


@pytest.mark.parametrize("name", ["mfbo", "bfbo"])
def test_a_surrogate_keeps_away_however_well_such_trials_began(name):
    """The wider the better, but those above 100 fail after an epoch whose value is the best yet."""

    def num_too_wide(kind):
        algorithm, tried = optuna_algorithm(name, pruner="none", seed=1), []
        for number in range(30):
            record = record_of(algorithm.ask(number))
            width = record.params["train.width"]
            tried.append(width > 100)
            if tried[-1]:
                first = Measurement(epoch=1, value=width)
                record.measurements.append(first)
                algorithm.report(number, first)
                record.state, record.value = TrialState.FAILED, width
                record.error = {"kind": kind, "message": "no"}
                algorithm.tell(record)
            else:
                train(algorithm, record, lambda e, w=width: w)
        return sum(tried[-15:])

    assert num_too_wide("out_of_memory") <= 3
    assert num_too_wide("code") >= 10


def out_of_memory(algorithm, record):
    record.state, record.error = TrialState.FAILED, {"kind": "out_of_memory", "message": "no"}
    algorithm.tell(record)


def test_a_point_to_avoid_has_no_value_that_any_result_could_be_taken_for():
    algorithm = optuna_algorithm("tpe", pruner="none")
    for number in range(3):
        record = record_of(algorithm.ask(number))
        train(algorithm, record, lambda e, n=number: 0.3 + n / 10)
    out_of_memory(algorithm, record_of(algorithm.ask(3)))
    *_, failed, avoided = algorithm._study.get_trials(deepcopy=False)
    assert (failed.state.name, failed.value) == ("FAIL", None)
    assert avoided.params == failed.params
    assert (avoided.state.name, avoided.value) == ("PRUNED", None)


@pytest.mark.parametrize("after", [0, 2])
def test_a_surface_is_as_low_as_its_worst_trial_where_one_failed_whenever_that_was(after):
    """It fails before there is any value, or after two of three; the lowest value comes last."""
    algorithm = optuna_algorithm("bayesian", pruner="none")
    records = [record_of(algorithm.ask(number)) for number in range(4)]
    for number, value in enumerate((0.5, 0.4, 0.3)):
        if number == after:
            out_of_memory(algorithm, records[3])
        train(algorithm, records[number], lambda e, v=value: v)
    seen = algorithm._within(algorithm._space).get_trials(deepcopy=False)
    assert [t.value for t in seen] == [0.5, 0.4, 0.3, pytest.approx(0.3)]
    assert seen[-1].params == algorithm._study.get_trials(deepcopy=False)[3].params
    assert algorithm.ask(4) is not None


def test_a_trial_that_was_refused_is_none_of_those_that_were_asked_for():
    algorithm = create_algorithm(
        "tpe", quick_space(), direction="maximize", num_epochs=EPOCHS, seed=0, pruner="none",
        options={"max_recommendations": 3},
    )  # fmt: skip
    records = [record_of(algorithm.ask(number)) for number in range(3)]
    assert algorithm.ask(3) is None
    records[1].state, records[1].error = TrialState.FAILED, {"kind": "over_limit", "message": "no"}
    algorithm.tell(records[1])
    assert algorithm.ask(3) is not None
    assert algorithm.ask(4) is None


class FailingSampler(optuna.samplers.RandomSampler):
    """Fails while it proposes a value, as one whose model cannot be fitted."""

    def sample_relative(self, study, trial, search_space):
        raise ValueError("the matrix is singular")


def test_a_sampler_that_fails_costs_a_note_and_not_the_search(monkeypatch, caplog):
    algorithm = optuna_algorithm("tpe", pruner="none")
    recipe = replace(algorithm._recipe, make_sampler=lambda seed: FailingSampler(seed=seed))
    monkeypatch.setattr(algorithm, "_recipe", recipe)
    first = algorithm.ask(0)
    assert first.params == DEFAULT  # what no sampler chooses stays as it is
    asked = [algorithm.ask(number) for number in range(1, 7)]
    assert len({str(s.params) for s in asked}) == 6
    note = "drawn at random: the sampler failed by ValueError: the matrix is singular"
    assert [s.note for s in asked[-2:]] == [note] * 2
    assert "the matrix is singular" in caplog.text
    running = [t for t in algorithm._study.get_trials(deepcopy=False) if t.state.name == "RUNNING"]
    assert len(running) == 7
    again = optuna_algorithm("tpe", pruner="none")
    monkeypatch.setattr(again, "_recipe", recipe)
    for suggestion in [first, *asked[:-1]]:
        again.restore(record_of(suggestion))
    assert again.ask(6).params == asked[-1].params


@pytest.mark.parametrize("name", ["tpe", pytest.param("bayesian", marks=pytest.mark.slow)])
def test_learning_beats_chance_on_a_known_surface(name):
    """Mean over seeds of the best of so many proposals, without noise from pruning."""
    trials, seeds = (12, range(2)) if name == "bayesian" else (20, range(6))

    def best(which, seed):
        records = search(which, "none", trials=trials, seed=seed)
        return max(curve(r.params, EPOCHS) for r in records)

    learned = sum(best(name, seed) for seed in seeds) / len(seeds)
    chance = sum(best("random", seed) for seed in seeds) / len(seeds)
    assert learned > chance


def test_a_short_search_starts_from_narrower_ranges():
    study = quick_study(budget=Budget(trials=4))
    space = quick_space(study)
    assert space.early_trials == 2
    algorithm = create_algorithm(
        "random", space, pruner="none", direction="maximize", num_epochs=EPOCHS, seed=0
    )
    assert algorithm.ask(0).params == DEFAULT
    narrow = space.for_trial(1)
    latents = algorithm.ask(1).latents
    for dimension in narrow.dimensions:
        assert dimension.low <= latents[dimension.name] <= dimension.high
    assert any(
        (n.low, n.high) != (w.low, w.high)
        for n, w in zip(narrow.dimensions, space.dimensions, strict=True)
    )


@pytest.mark.parametrize(
    ("name", "options"),
    [("tpe", {}), ("pbt", {"population_size": 7}), ("dehb", {"epoch_multiplier": 1})],
)
def test_ranges_are_narrower_for_the_first_half_of_a_short_search_alone(name, options):
    rates = {f"a.rate{n}": building.number(1e-6, 1.0, 1e-3) for n in range(30)}
    space = building.space_of(rates, num_trials=8)
    ends = {d.name: (d.low, d.high) for d in space.for_trial(0).dimensions}
    for seed in range(3):
        algorithm = create_algorithm(
            name, space, direction="maximize", num_epochs=EPOCHS, seed=seed, options=options
        )
        asked = [algorithm.ask(number).latents for number in range(8)]
        outside = [
            sum(not ends[name][0] <= value <= ends[name][1] for name, value in row.items())
            for row in asked
        ]
        assert outside[:4] == [0] * 4
        assert min(outside[4:]) > 0


def test_every_option_occurs_among_the_first_trials_whatever_is_given_to_begin_with():
    """The default and what others found take places in which an option may have stood."""
    option = {"type": "categorical", "enum": ["a", "b", "c"], "default": "a"}
    space = building.space_of({"o.name": option, "o.rate": building.number(0.0, 1.0, 0.5)})
    given = ({"o.name": "a", "o.rate": 0.1},)
    for seed in range(20):
        algorithm = create_algorithm(
            "tpe", space, direction="maximize", num_epochs=EPOCHS, seed=seed,
            context=Context(first=given),
        )  # fmt: skip
        asked = [algorithm.ask(number) for number in range(4)]
        assert asked[1].latents == given[0]
        assert {suggestion.params["o.name"] for suggestion in asked} == {"a", "b", "c"}


def test_a_value_that_is_moved_into_limits_may_make_another_parameter_active():
    def inactive(spec):
        return {"b.extra": "a.rate is large"} if spec["a"]["rate"] > 0.1 else {}

    rate, extra = building.number(0.0, 1.0, 0.5), building.number(1.0, 3.0, 2.0)
    space = building.space_of({"a.rate": rate, "b.extra": extra}, inactive=inactive)
    algorithm = create_algorithm(
        "random", space, pruner="none", direction="maximize", num_epochs=EPOCHS, seed=0
    )
    drawn = [algorithm.ask(n).params for n in range(9)]
    assert any("b.extra" not in params for params in drawn[1:])
    algorithm.narrow({"a.rate": (-1.0, 0.05)})  # limits of a range that was wider
    for suggestion in map(algorithm.ask, range(9, 20)):
        space.validate(suggestion.params)
        assert suggestion.params["a.rate"] <= 0.05
        assert space.decode(suggestion.latents) == suggestion.params


def test_what_a_trial_carries_from_another_stage_makes_no_new_configuration_of_it():
    """The record of a trial that began with a head holds the head's parameters, too."""
    nodes = {
        "m.kind": {"type": "categorical", "enum": ["a", "b", "c"], "default": "a"},
        "m.width": building.number(1, 2, 1, kind="int"),
    }
    space = building.space_of(nodes)
    going, resumed = (
        create_algorithm(
            "bfbo",
            space,
            pruner="none",
            direction="maximize",
            num_epochs=EPOCHS,
            seed=2,
            context=Context(has_parents=True),
        )
        for _ in range(2)
    )
    for number in range(6):
        record = record_of(going.ask(number))
        train(going, record, lambda _, r=record: float(r.params["m.width"]))
        kept = replace(record, params={"head.rate": 0.1 + number, **record.params})
        resumed.restore(kept)
        for measurement in record.measurements:
            resumed.report(number, measurement)
        resumed.tell(kept)
    assert resumed.ask(6).params == going.ask(6).params


def counted_space():
    """Three lengths with slots by weight, and two shapes under one of them: four configurations."""

    def inactive(spec):
        return {"a.shape": "a.length is not 32"} if spec["a"]["length"] != 32 else {}

    length = {
        "type": "categorical",
        "enum": [32, 64, 128],
        "option_weights": [3, 2, 1],
        "default": 64,
    }
    shape = {"type": "categorical", "enum": ["flat", "deep"], "default": "flat"}
    return building.space_of({"a.length": length, "a.shape": shape}, inactive=inactive)


@pytest.mark.parametrize("name", ["random", "tpe", "bfbo", "mfbo"])
def test_a_space_that_can_be_counted_is_tried_once_and_then_the_search_is_over(name):
    algorithm = create_algorithm(
        name, counted_space(), direction="maximize", num_epochs=EPOCHS, seed=3, pruner="none"
    )
    records = []
    while len(records) < 9 and (suggestion := algorithm.ask(len(records))) is not None:
        records.append(record_of(suggestion))
        train(algorithm, records[-1], lambda e, r=records[-1]: r.params["a.length"] / 100)
    found = sorted((r.params["a.length"], r.params.get("a.shape", "")) for r in records)
    assert found == [(32, "deep"), (32, "flat"), (64, ""), (128, "")]


def test_trials_that_differ_by_their_parents_may_have_the_same_configuration():
    algorithm = create_algorithm(
        "random", counted_space(), direction="maximize", num_epochs=EPOCHS, seed=3, pruner="none",
        context=Context(has_parents=True),
    )  # fmt: skip
    assert len([algorithm.ask(number).params for number in range(9)]) == 9
