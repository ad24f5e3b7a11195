"""Which jobs' artifacts stay while trials still run."""

from functools import partial
from types import SimpleNamespace

import pytest

from hpo.automl.retention import ArtifactCleaner, needed_trials
from hpo.core.selection import best_trial
from hpo.core.trial import Measurement, Purpose, Suggestion, TrialState
from hpo.run.ledger import Ledger


class Platform:
    """Notes what it is asked to delete."""

    def __init__(self):
        self.deleted = []

    def delete_job_artifacts(self, job_id):
        self.deleted.append(job_id)
        return True


@pytest.fixture
def ledger():
    return Ledger.create(None, "maximize")


def add(ledger, number, *values, purpose=Purpose.SEARCH, params=None, state=TrialState.COMPLETE):
    """A trial of three epochs, which runs until it has three values."""
    params = {"p": number if params is None else params}
    point = Suggestion(
        number=number, params=params, latents={k: float(v) for k, v in params.items()},
        until_epoch=3,
    )  # fmt: skip
    ledger.start(point, now=0.0, clock=0.0, seed=0, purpose=purpose, distributions=None)
    for epoch, value in enumerate(values, start=1):
        ledger.record(number, Measurement(epoch=epoch, value=value), clock=0.0)
    if len(values) == 3:
        ledger.finish(number, state, now=1.0, clock=0.0, error=None)


def sweep(ledger, *, confirm=0, lost=(), job_of=lambda number: (f"job{number}", "")):
    """Jobs whose artifacts are deleted."""
    platform = Platform()
    states = dict.fromkeys([*lost, *(job_of(t.number)[0] for t in ledger.trials())], "ended")
    book = SimpleNamespace(states=states, put=states.__setitem__)
    facts = SimpleNamespace(objectives=None, direction="maximize")
    needed = partial(needed_trials, ledger, facts, object(), name="random", confirm=confirm)
    ArtifactCleaner(platform, book, ledger, job_of, needed).sweep()
    return platform.deleted


def test_the_best_that_has_ended_stays_beside_a_running_one_that_is_ahead(ledger):
    for number, values in enumerate(([0.3, 0.6, 0.9], [0.95], [0.1, 0.2, 0.3])):
        add(ledger, number, *values)
    assert best_trial(ledger.trials(), "maximize").number == 1
    assert sweep(ledger) == ["job2"]


def test_finalists_stay_until_their_repeats_have_decided(ledger):
    for number, value in enumerate((0.7, 0.9, 0.89, 0.5)):
        add(ledger, number, 0.1, 0.2, value)
    assert sweep(ledger, confirm=2) == ["job3"]
    assert sweep(ledger) == ["job0", "job2", "job3"]
    for number, (again, value) in enumerate(((1, 0.6), (2, 0.8), (0, 0.65)), start=4):
        add(ledger, number, 0.1, 0.2, value, purpose=Purpose.CONFIRM, params=again)
    assert best_trial(ledger.trials(), "maximize").number == 2
    assert not {"job0", "job1", "job2"} & {*sweep(ledger, confirm=2)}


def test_what_a_lost_job_has_left_goes_once_another_has_taken_its_place(ledger):
    for number, values in enumerate(([0.3, 0.5, 0.9], [0.1], [0.1, 0.2, 0.3])):
        add(ledger, number, *values)
    assert sweep(ledger, lost=["lost0", "lost1"]) == ["lost0", "lost1", "job2"]


def test_an_id_that_a_platform_gave_twice_is_not_deleted_while_one_job_is_needed(ledger):
    for number, value in enumerate((0.3, 0.5, 0.9)):
        add(ledger, number, 0.1, 0.2, value)
    assert sweep(ledger, job_of=lambda number: (f"job{number % 2}", "")) == ["job1"]


def test_nothing_is_deleted_while_the_job_of_a_needed_trial_is_unknown(ledger, caplog):
    for number, value in enumerate((0.9, 0.5, 0.3)):
        add(ledger, number, 0.1, 0.2, value)
    known = {1: ("job1", ""), 2: ("job2", "")}
    job_of = lambda number: known.get(number, ("", ""))  # noqa: E731
    assert sweep(ledger, lost=["job0"], job_of=job_of) == []
    assert "which jobs these trials were is no longer known: 0" in caplog.text
    add(ledger, 3, 0.1)  # one that waits for its first job hinders nothing
    known[0] = ("job0", "")
    assert sweep(ledger, job_of=job_of) == ["job1", "job2"]
