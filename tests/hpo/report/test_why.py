"""Reasons are checked against what is known of the rung, and by trying the value that was said."""

import copy
from dataclasses import replace

import pytest

from hpo.algorithms.entry import Context
from hpo.core.budget import Budget
from hpo.core.errors import RunError
from hpo.core.trial import Ended, TrialState
from hpo.report.why import explain
from hpo.run.ledger import Ledger
from hpo.run.replay import replay
from tests.count_calls import count_calls
from tests.quick_runs import Listed, make_engine, optuna_algorithm, receipt_of, run_all, train


def searched(tmp_path, name="random", pruner="successive_halving", trials=12):
    """A search whose trials have the constant values .00, .50, .10, .60, .20 ...; the default is 0."""

    def make():
        return optuna_algorithm(name, pruner=pruner)

    engine = make_engine(tmp_path, make(), budget=Budget(trials=trials), num_epochs=None)
    for number in range(trials):
        level = (number % 2) * 0.5 + number // 2 / 10
        launch = engine.next_launch()
        last = train(engine, launch, lambda epoch, v=level: v)
        engine.on_end(launch.number, Ended(receipt=None) if last < 9 else Ended())
    return engine.ledger, make


def test_a_pruned_trial_by_hand(tmp_path):
    """Trial 2 (.1) comes to epoch 2 after 0 (.0) and 1 (.5): of three the best one goes on."""
    ledger, make = searched(tmp_path)
    found = explain(ledger, 2, make)
    assert (found["state"], found["epoch"], found["place"]) == ("pruned", 2, 2)
    assert [row["trial"] for row in found["competitors"]] == [1, 2, 0]
    assert found["needed"] == 0.5
    assert found["lines"] == [
        "stopped at epoch 2 of 9: best 0.1000 by then, place 2 of 3 trials that had been measured "
        "at this epoch",
        "it would have gone on with at least 0.5000 (+0.4000)",
        "against trial 1: 0.5000, trial 0: 0.0000",
    ]


def test_a_trial_that_had_failed_by_then_is_no_competitor(tmp_path):
    engine = make_engine(
        tmp_path, optuna_algorithm("random", pruner="successive_halving"), num_epochs=None
    )
    for number, (level, until) in enumerate([(0.4, 9), (0.9, 3), (0.1, 9)]):
        launch = engine.next_launch()
        train(engine, launch, lambda epoch, v=level: v, until=until)
        failure = {"kind": "diverged", "message": "not finite"} if number == 1 else None
        engine.on_end(number, Ended(failure=failure))
    make = lambda: optuna_algorithm("random", pruner="successive_halving")  # noqa: E731
    found = explain(engine.ledger, 2, make)
    assert [row["trial"] for row in found["competitors"]] == [0, 2]
    assert "place 2 of 2 trials" in found["lines"][0]
    assert "algorithm said" not in found["lines"][1], "what the algorithm counts is the same"


@pytest.mark.parametrize(
    ("name", "pruner"),
    [
        ("random", "successive_halving"),
        ("tpe", "median"),
        ("hyperband", "auto"),
        ("asha", "auto"),
        ("bohb", "auto"),
        ("hyperband_es", "auto"),
    ],
)
def test_the_value_that_is_said_would_have_saved_the_trial(tmp_path, name, pruner):
    ledger, make = searched(tmp_path, name, pruner)
    pruned = [t for t in ledger.trials() if t.state is TrialState.PRUNED]
    assert len(pruned) >= 3
    for trial in pruned:
        found = explain(ledger, trial.number, make)
        assert found["place"] >= 1
        if found["needed"] is None:
            continue
        for value, stops in ((found["needed"], False), (trial.value, True)):
            algorithm = make()
            for change in ledger.changes():
                record = ledger.trial(change.number)
                if change.what == "start":
                    algorithm.restore(record)
                elif change.what == "end":
                    algorithm.tell(record)
                elif (change.number, change.measurement.epoch) == (trial.number, trial.epochs):
                    shown = replace(change.measurement, value=value)
                    assert algorithm.report(trial.number, shown).stop is stops
                    break
                else:
                    algorithm.report(change.number, change.measurement)


@pytest.mark.parametrize(("metric", "sign"), [("loss", -1.0), ("accuracy", 1.0)])
def test_of_several_objectives_the_first_one_is_what_a_trial_is_stopped_by(tmp_path, metric, sign):
    """The score says the opposite of it; the value that would do is tried out in a replay."""
    stops_by = (metric, sign)

    def make():
        return optuna_algorithm("random", context=Context(stops_by=stops_by))

    engine = make_engine(tmp_path, make(), budget=Budget(trials=12), num_epochs=None)
    for number in range(12):
        level = (number % 2) * 0.5 + number // 2 / 10
        launch, epoch, goes_on = engine.next_launch(), 0, True
        while goes_on and epoch < 9:
            epoch += 1
            told = {"epoch": epoch, "value": -level, "metrics": {metric: sign * level}}
            goes_on = engine.on_epoch(launch.number, told | {"receipt": receipt_of(launch)})
        engine.on_end(launch.number, Ended())
    pruned = [t for t in engine.ledger.trials() if t.state is TrialState.PRUNED]
    assert len(pruned) >= 3
    for trial in pruned:
        found = explain(engine.ledger, trial.number, make, stops_by=stops_by)
        assert f"place {found['place']} of {len(found['competitors'])} " in found["lines"][0]
        assert "algorithm said" not in found["lines"][1], "what the algorithm counts is the same"
        assert f"best {metric} " in found["lines"][0]
        values = [sign * row["value"] for row in found["competitors"]]
        assert values == sorted(values, reverse=True)
        for value, stops in ((found["needed"], False), (found["needed"] - sign * 1e-6, True)):
            algorithm = make()
            last = (trial.number, trial.epochs)
            for change in engine.ledger.changes():
                record, told = engine.ledger.trial(change.number), change.measurement
                if change.what == "start":
                    algorithm.restore(record)
                elif change.what == "end":
                    algorithm.tell(record)
                elif (change.number, told.epoch) == last:
                    shown = replace(told, metrics={metric: value})
                    assert algorithm.report(trial.number, shown).stop is stops
                    break
                else:
                    algorithm.report(change.number, told)


def needed_by_hand(ledger, trial, make, values):
    """The least value that would have saved a trial, asked of an algorithm made anew for each."""
    (moment,) = [
        c for c in ledger.changes()
        if c.number == trial.number and c.measurement and c.measurement.epoch == trial.epochs
    ]  # fmt: skip
    saving = []
    for value in values:
        algorithm = make()
        replay(algorithm, ledger, before=moment.sequence)
        shown = replace(moment.measurement, value=value)
        saving += [] if algorithm.report(trial.number, shown).stop else [value]
    return min(saving, default=None)


@pytest.mark.parametrize(
    ("name", "pruner"), [("tpe", "median"), ("hyperband", "auto"), ("auto", "successive_halving")]
)
def test_what_would_have_saved_a_trial_is_what_a_new_algorithm_says(tmp_path, name, pruner):
    """Copies that share ended trials decide as one that was brought to the moment for itself."""
    ledger, make = searched(tmp_path, name, pruner, trials=24)
    pruned = [t for t in ledger.trials() if t.state is TrialState.PRUNED]
    assert len(pruned) >= 3
    for trial in pruned:
        found = explain(ledger, trial.number, make)
        values = [row["value"] for row in found["competitors"]]
        assert found["needed"] == needed_by_hand(ledger, trial, make, values)


def test_a_copy_of_an_algorithm_takes_as_long_however_many_trials_have_ended(tmp_path):
    def calls(trials):
        ledger, make = searched(tmp_path / str(trials), "tpe", "median", trials=trials)
        algorithm = make()
        replay(algorithm, ledger)
        return count_calls(copy.deepcopy, algorithm, of="deepcopy")

    few, many = calls(20), calls(60)
    assert many - few < 40 * 40  # a trial of Optuna alone is made of more parts than that


def test_the_search_is_gone_through_once(tmp_path):
    ledger, make = searched(tmp_path)
    assert len(explain(ledger, 2, make)["competitors"]) == 3
    assert count_calls(explain, ledger, 2, make, of="replay") == 1


def test_an_algorithm_that_asks_a_language_model_is_asked_all_the_same(tmp_path):
    """What it waits for an answer with cannot be copied."""
    ledger, make = searched(tmp_path)
    options = {"llm_model": "m", "llm_endpoint": "http://127.0.0.1:9/v1", "llm_api_key": "k"}
    found = explain(ledger, 2, lambda: optuna_algorithm("llm", options=options))
    assert found == explain(ledger, 2, make)


def test_hyperband_compares_within_a_bracket(tmp_path):
    ledger, make = searched(tmp_path, "hyperband", "auto")
    pruned = [t.number for t in ledger.trials() if t.state is TrialState.PRUNED]
    found = [explain(ledger, number, make) for number in pruned]
    assert any("in bracket" in line for row in found for line in row["lines"])
    for row in found:
        said = f"place {row['place']} of {len(row['competitors'])} at epoch"
        assert any(said in line for line in row["lines"]), row["lines"]


def unasked():
    raise AssertionError("only a pruned trial needs its algorithm")


def test_other_ends(tmp_path):
    engine = make_engine(tmp_path, Listed([0.1, 0.3, 0.2, 0.4]), budget=Budget(trials=4))
    launches = [engine.next_launch() for _ in range(4)]
    for launch in launches[:2]:
        train(engine, launch)
        engine.on_end(launch.number, Ended())
    train(engine, launches[2], until=3)
    engine.on_end(2, Ended(failure={"kind": "data", "message": "the disk is full"}))
    ledger = engine.ledger
    assert explain(ledger, 0, unasked)["lines"] == [
        "trained until its last epoch, 9: best value 0.1900, place 2 of 2 that were trained as long"
    ]
    assert explain(ledger, 2, unasked)["lines"] == ["failed after epoch 3 (data): the disk is full"]
    assert explain(ledger, 3, unasked)["lines"] == [
        "not ended: epoch 0 of 9; runs, or waits for a resume"
    ]
    with pytest.raises(RunError, match="there is no trial 7; trials are 0 to 3"):
        explain(ledger, 7, unasked)
    with pytest.raises(RunError, match="trials are none yet"):
        explain(Ledger.create(None, "maximize"), 0, unasked)


def test_a_repeat_says_what_it_is(tmp_path):
    engine = make_engine(tmp_path, Listed([0.1]), budget=Budget(trials=1), confirm=1)
    run_all(engine)
    assert explain(engine.ledger, 1, unasked)["lines"][0].startswith(
        "a finalist trained again with seed"
    )


def test_a_refused_trial_did_not_fail(tmp_path):
    engine = make_engine(
        tmp_path, Listed([0.1, 0.9]), budget=Budget(trials=2),
        refuse=lambda params: "too large" if params["train.lr"] == 0.9 else "",
    )  # fmt: skip
    run_all(engine)
    assert explain(engine.ledger, 1, unasked)["lines"][0] == "refused before it started: too large"
