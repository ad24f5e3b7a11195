"""Several objectives: trials are stopped by the primary one and proposed by the score of all."""

import random

import pytest

from hpo.algorithms import create_algorithm
from hpo.algorithms.entry import Context
from hpo.algorithms.primary import StoppedByPrimary
from hpo.core.trial import Measurement, TrialState
from tests.contracts.searching import record_of
from tests.quick_runs import quick_space

EPOCHS = 9
BY_LOSS = ("loss", -1.0)


def create(name, pruner="none", direction="maximize", **context):
    return create_algorithm(
        name, quick_space(), pruner=pruner, direction=direction, num_epochs=EPOCHS, seed=5,
        context=Context(planned_trials=40, **context),
    )  # fmt: skip


class Curves:
    """Of each trial a noisy loss that falls and a score that says something else."""

    def __init__(self, score):
        self._score = score

    def at(self, record, epoch):
        rng = random.Random(f"{sorted(record.params.items())}")
        level, rate, other = rng.random(), rng.random(), rng.random()
        noise = random.Random(f"{level}-{epoch}").gauss(0.0, 0.2)
        loss = level + 2.0 * 0.5 ** (epoch * (0.2 + rate)) + noise
        return loss, self._score(loss, other)


def search(algorithm, curves, *, shown="score", trials=24):
    """Two trials at a time; returns (params, epochs, state) of each.

    Args:
        shown: what a trial's value is: `score` with the loss among the metrics, or `loss` alone.
    """
    done = []
    for number in range(0, trials, 2):
        running = [record_of(algorithm.ask(n)) for n in (number, number + 1)]
        for epoch in range(1, EPOCHS + 1):
            for record in running:
                if record.state is not TrialState.RUNNING or epoch > record.until_epoch:
                    continue
                loss, score = curves.at(record, epoch)
                value, metrics = (-loss, {}) if shown == "loss" else (score, {"loss": loss})
                record.measurements.append(Measurement(epoch=epoch, value=value, metrics=metrics))
                if algorithm.report(record.number, record.measurements[-1]).stop:
                    record.state = TrialState.PRUNED
        for record in running:
            if record.state is TrialState.RUNNING:
                record.state = TrialState.COMPLETE
            record.value = record.best_measurement("maximize").value
            algorithm.tell(record)
        done += running
    return [(record.params, record.epochs, record.state) for record in done]


@pytest.mark.parametrize(
    ("name", "pruner"),
    [
        ("random", "successive_halving"), ("random", "median"), ("random", "patient"),
        ("asha", "none"), ("hyperband", "none"), ("hyperband_es", "none"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("scale", [10.0, 0.01])
def test_trials_are_stopped_as_in_a_search_for_the_primary_alone(name, pruner, scale):
    """Random draws do not depend on values, so both searches propose the same."""
    curves = Curves(lambda loss, other: scale * (other - loss) + 3.0)
    by_primary = search(create(name, pruner, stops_by=BY_LOSS), curves)
    alone = search(create(name, pruner), curves, shown="loss")
    assert by_primary == alone
    assert sum(state is TrialState.PRUNED for *_, state in alone) >= 3


@pytest.mark.parametrize("name", ["tpe", "mfbo", "bfbo"])
def test_trials_are_proposed_by_the_score_where_none_is_stopped(name):
    curves = Curves(lambda loss, other: 5.0 * other - loss)
    assert search(create(name, stops_by=BY_LOSS), curves) == search(create(name), curves)


@pytest.mark.parametrize("name", ["dehb", "pbt"])
def test_who_goes_on_in_a_population_is_the_best_by_score(name):
    """There nobody is stopped: a rung, or a generation, takes what the search is for."""

    def asked(algorithm):
        """One trial at a time, each until its end."""
        curves, found = Curves(lambda loss, other: 5.0 * other - loss), []
        for number in range(24):
            record = record_of(algorithm.ask(number))
            for epoch in range(record.base_epoch + 1, record.until_epoch + 1):
                loss, score = curves.at(record, epoch)
                measured = Measurement(epoch=epoch, value=score, metrics={"loss": loss})
                record.measurements.append(measured)
                algorithm.report(number, measured)
            record.state, record.value = TrialState.COMPLETE, score
            algorithm.tell(record)
            found.append((record.params, record.start_from))
        return found

    assert asked(create(name, stops_by=BY_LOSS)) == asked(create(name))


def test_a_running_trial_is_seen_by_its_score():
    """As a model of curves sees it: at 10 times the accuracy less 12, like those that have ended."""
    algorithm = create("mfbo", stops_by=("accuracy", 1.0))
    for number in range(6):
        record = record_of(algorithm.ask(number))
        for epoch in range(1, EPOCHS + 1):
            accuracy = 0.5 + number / 20 + epoch / 100
            measured = Measurement(
                epoch=epoch, value=10 * accuracy - 12, metrics={"accuracy": accuracy}
            )
            record.measurements.append(measured)
            algorithm.report(number, measured)
        if number < 5:
            record.state, record.value = TrialState.COMPLETE, measured.value
            algorithm.tell(record)
    seen = [trial.value for trial in algorithm._seen.values()]
    assert seen == pytest.approx([10 * (0.59 + number / 20) - 12 for number in range(6)])


def test_without_its_metric_an_epoch_is_judged_by_the_value():
    """A rehearsal knows scores alone."""
    curves = Curves(lambda loss, _other: -loss)
    without = search(create("hyperband", stops_by=BY_LOSS), curves, shown="loss")
    assert without == search(create("hyperband"), curves, shown="loss")


def test_one_of_another_package_hears_the_primary():
    class Listening:
        heard = ()

        def report(self, number, measurement):
            self.heard += ((number, measurement.value),)

    inner = Listening()
    outer = StoppedByPrimary(inner, *BY_LOSS)
    outer.report(3, Measurement(epoch=1, value=-9.0, metrics={"loss": 0.25}))
    outer.report(4, Measurement(epoch=1, value=-8.0))
    assert inner.heard == ((3, -0.25), (4, -8.0))
