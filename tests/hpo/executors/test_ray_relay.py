"""The two Tune hooks with a driver by hand; no cluster is started."""

import json

import pytest

from hpo.core.trial import Ended, Job

tune = pytest.importorskip("ray.tune")


class Driver:
    """Hands out what it was given; keeps what it is told; breaks where it is asked to."""

    def __init__(self, jobs=(), over=True, breaks=""):
        self.jobs, self.over, self.breaks, self.heard = list(jobs), over, breaks, []
        self.goes_on = True

    def _note(self, name, *args):
        if name == self.breaks:
            raise KeyError(name)
        self.heard.append((name, *args))

    def next_job(self):
        self._note("next_job")
        return self.jobs.pop(0) if self.jobs else None

    def is_over(self):
        self._note("is_over")
        return self.over

    def on_epoch(self, number, payload):
        self._note("on_epoch", number, payload)
        return self.goes_on

    def on_end(self, number, ended):
        self._note("on_end", number, ended)


def job(number):
    return Job(number=number, spec={"a": 1}, folder=f"/t/{number}")


def relay(driver):
    from hpo.executors.ray_relay import make_relay

    return make_relay(driver, {"trainer_name": "x", "threads": 1})


def epoch(number, value=0.5):
    return {"number": number, "payload": json.dumps({"epoch": 1, "value": value})}


def test_jobs_become_configurations():
    searcher, _ = relay(Driver([job(3)]))
    assert searcher.suggest("t1") == {
        "trainer_name": "x", "threads": 1,
        "job": {"number": 3, "spec": {"a": 1}, "folder": "/t/3", "resume_from": None, "start_epoch": None},
    }  # fmt: skip


@pytest.mark.parametrize("over", [True, False])
def test_no_job_means_wait_or_go_home(over):
    from ray.tune.search import Searcher

    searcher, _ = relay(Driver(over=over))
    assert searcher.suggest("t1") == (Searcher.FINISHED if over else None)


def test_epochs_pass_and_decisions_come_back():
    driver = Driver([job(3)])
    searcher, scheduler = relay(driver)
    searcher.suggest("t1")
    assert scheduler.on_trial_result(None, None, epoch(3)) == "CONTINUE"
    driver.goes_on = False
    assert scheduler.on_trial_result(None, None, epoch(3, float("nan"))) == "STOP"
    told = [h for h in driver.heard if h[0] == "on_epoch"]
    assert told[0] == ("on_epoch", 3, {"epoch": 1, "value": 0.5})
    assert told[1][2]["value"] != told[1][2]["value"]  # nan arrives as nan


def test_ray_asks_with_results_that_are_none_of_ours():
    _, scheduler = relay(Driver())
    assert scheduler.on_trial_result(None, None, {"training_iteration": 1}) == "CONTINUE"


@pytest.mark.parametrize(
    ("outcome", "error", "ended"),
    [
        ({"receipt": {"a": 1}}, False, Ended(receipt={"a": 1})),
        (
            {"failure": {"kind": "code", "message": "m"}}, False,
            Ended(failure={"kind": "code", "message": "m"}),
        ),
        (None, False, Ended()),
        (
            None, True,
            Ended(failure={
                "kind": "infrastructure", "message": "the worker process was lost",
            }),
        ),
    ],
)  # fmt: skip
def test_how_a_trial_ended(outcome, error, ended):
    driver = Driver([job(3)])
    searcher, scheduler = relay(driver)
    searcher.suggest("t1")
    if outcome is not None:
        result = {"number": 3, "outcome": json.dumps(outcome)}
        assert scheduler.on_trial_result(None, None, result) == "CONTINUE"
    searcher.on_trial_complete(trial_id="t1", result={"x": 1}, error=error)
    assert driver.heard[-1] == ("on_end", 3, ended)


def test_an_end_is_told_once():
    driver = Driver([job(3)])
    searcher, _ = relay(driver)
    searcher.suggest("t1")
    for _ in range(3):
        searcher.on_trial_complete(trial_id="t1", error=False)
    searcher.on_trial_complete(trial_id="unknown", error=True)
    assert [h[0] for h in driver.heard].count("on_end") == 1


@pytest.mark.parametrize("breaks", ["next_job", "is_over", "on_epoch", "on_end"])
def test_a_fault_of_the_driver_ends_the_experiment_and_is_raised_after_it(breaks):
    from ray.tune.search import Searcher

    driver = Driver([] if breaks == "is_over" else [job(3), job(4)], breaks=breaks)
    searcher, scheduler = relay(driver)
    searcher.raise_fault()
    searcher.suggest("t1")
    if breaks in ("on_epoch", "on_end"):
        stopped = scheduler.on_trial_result(None, None, epoch(3))
        assert stopped == ("STOP" if breaks == "on_epoch" else "CONTINUE")
        searcher.on_trial_complete(trial_id="t1", error=False)
    assert searcher.suggest("t2") == Searcher.FINISHED
    assert scheduler.on_trial_result(None, None, epoch(4)) == "STOP"
    with pytest.raises(KeyError, match=breaks):
        searcher.raise_fault()


def test_tune_gets_nothing_to_keep():
    searcher, scheduler = relay(Driver())
    assert searcher.__getstate__() == {}
    assert scheduler.__getstate__() == {}
    assert searcher.set_search_properties(metric=None, mode=None, config={}) is True
