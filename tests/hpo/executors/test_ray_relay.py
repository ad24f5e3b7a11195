"""The two Tune hooks with a driver by hand; no cluster is started."""

import json
from dataclasses import replace

import pytest

from hpo.core.budget import Budget
from hpo.core.events import TrialProgress
from hpo.core.trial import Ended, Launch
from tests.quick_runs import Listed, make_engine, receipt_of, run_all

tune = pytest.importorskip("ray.tune")


class Driver:
    """Hands out what it was given; keeps what it is told; breaks where it is asked to."""

    def __init__(self, launches=(), over=True, breaks=""):
        self.launches, self.over, self.breaks, self.heard = list(launches), over, breaks, []
        self.goes_on = True

    def _note(self, name, *args):
        if name == self.breaks:
            raise KeyError(name)
        self.heard.append((name, *args))

    def next_launch(self):
        self._note("next_launch")
        return self.launches.pop(0) if self.launches else None

    def is_over(self):
        self._note("is_over")
        return self.over

    def on_epoch(self, number, payload):
        self._note("on_epoch", number, payload)
        return self.goes_on

    def emit(self, event):
        self._note("emit", event)

    def on_end(self, number, ended):
        self._note("on_end", number, ended)


def launch(number):
    return Launch(number=number, spec={"a": 1}, folder=f"/t/{number}")


def relay(driver):
    from hpo.executors.ray_relay import make_relay

    return make_relay(driver, {"trainer_name": "x", "threads": 1})


def epoch(number, value=0.5):
    return {"number": number, "payload": json.dumps({"epoch": 1, "value": value})}


def test_launches_become_configurations():
    searcher, _ = relay(Driver([launch(3)]))
    assert searcher.suggest("t1") == {
        "trainer_name": "x", "threads": 1,
        "launch": {
            "number": 3, "spec": {"a": 1}, "folder": "/t/3", "resume_from": None,
            "start_epoch": None, "members": (),
        },
    }  # fmt: skip


def test_what_is_done_before_an_epoch_is_passed_on_and_stops_nobody():
    driver = Driver()
    driver.goes_on = False
    searcher, scheduler = relay(driver)
    told = {"number": 3, "progress": "head epochs 7/20"}
    assert scheduler.on_trial_result(None, None, told) == "CONTINUE"
    assert driver.heard == [("emit", TrialProgress(trial=3, text="head epochs 7/20"))]
    assert not searcher.has_progressed  # as far as a lost worker's retries are concerned


def test_a_batch_is_one_configuration_that_ends_with_its_last_trial():
    members = (launch(3), launch(4))
    driver = Driver([replace(launch(3), members=members)])
    searcher, scheduler = relay(driver)
    config = json.loads(json.dumps(searcher.suggest("t1")))
    assert Launch.of(config["launch"]) == replace(launch(3), members=members)
    assert scheduler.on_trial_result(None, None, epoch(4)) == "CONTINUE"
    driver.goes_on = False
    assert scheduler.on_trial_result(None, None, epoch(3)) == "CONTINUE"  # trial 4 goes on
    told = {"number": 4, "outcome": json.dumps({"receipt": {"a": 1}})}
    assert scheduler.on_trial_result(None, None, told) == "CONTINUE"
    assert scheduler.on_trial_result(None, None, epoch(4)) == "STOP"
    searcher.on_trial_complete(trial_id="t1", result=None, error=False)
    ends = [h[1:] for h in driver.heard if h[0] == "on_end"]
    assert ends == [(3, Ended()), (4, Ended(receipt={"a": 1}))]


@pytest.mark.parametrize("over", [True, False])
def test_no_launch_means_wait_or_go_home(over):
    from ray.tune.search import Searcher

    searcher, _ = relay(Driver(over=over))
    assert searcher.suggest("t1") == (Searcher.FINISHED if over else None)


def test_epochs_pass_and_decisions_come_back():
    driver = Driver([launch(3)])
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
    driver = Driver([launch(3)])
    searcher, scheduler = relay(driver)
    searcher.suggest("t1")
    if outcome is not None:
        result = {"number": 3, "outcome": json.dumps(outcome)}
        assert scheduler.on_trial_result(None, None, result) == "CONTINUE"
    searcher.on_trial_complete(trial_id="t1", result={"x": 1}, error=error)
    assert driver.heard[-1] == ("on_end", 3, ended)


def test_an_end_is_told_once():
    driver = Driver([launch(3)])
    searcher, _ = relay(driver)
    searcher.suggest("t1")
    for _ in range(3):
        searcher.on_trial_complete(trial_id="t1", error=False)
    searcher.on_trial_complete(trial_id="unknown", error=True)
    assert [h[0] for h in driver.heard].count("on_end") == 1


@pytest.mark.parametrize("breaks", ["next_launch", "is_over", "on_epoch", "on_end"])
def test_a_fault_of_the_driver_ends_the_experiment_and_is_raised_after_it(breaks):
    from ray.tune.search import Searcher

    driver = Driver([] if breaks == "is_over" else [launch(3), launch(4)], breaks=breaks)
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


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_trial_that_a_fault_of_the_driver_cuts_off_stays_open(is_lost):
    members = (launch(5), launch(6))
    driver = Driver([launch(3), launch(4), replace(launch(5), members=members)])
    searcher, scheduler = relay(driver)
    for name in ("t1", "t2", "t3"):
        searcher.suggest(name)
    done = {"number": 4, "outcome": json.dumps({"receipt": {"a": 1}})}
    half = {"number": 5, "outcome": json.dumps({"receipt": {"a": 2}})}
    assert scheduler.on_trial_result(None, None, done) == "CONTINUE"
    assert scheduler.on_trial_result(None, None, half) == "CONTINUE"
    driver.breaks = "next_launch"
    searcher.suggest("t4")
    assert scheduler.on_trial_result(None, None, epoch(3)) == "STOP"
    for name in ("t1", "t2", "t3"):
        searcher.on_trial_complete(trial_id=name, error=is_lost)
    ends = [h[1:] for h in driver.heard if h[0] == "on_end"]
    # What had ended has ended; trial 3 and the other half of the batch go on after a resume.
    assert ends == [(4, Ended(receipt={"a": 1})), (5, Ended(receipt={"a": 2}))]


def test_after_a_fault_the_ledger_has_the_other_trials_to_go_on_with(tmp_path):
    """With the engine itself: a search of two slots whose algorithm breaks at the third proposal."""

    class Breaking(Listed):
        def ask(self, number):
            if number == 2:
                raise RuntimeError("the endpoint is away")
            return super().ask(number)

    engine = make_engine(tmp_path, Breaking([0.01] * 3), budget=Budget(trials=3))
    searcher, scheduler = relay(engine)
    launches = [Launch.of(searcher.suggest(name)["launch"]) for name in ("t0", "t1")]

    def report(launch, number):
        told = {"epoch": number, "value": number / 10, "receipt": receipt_of(launch)}
        result = {"number": launch.number, "payload": json.dumps(told)}
        return scheduler.on_trial_result(None, None, result)

    for number in range(1, 10):
        assert report(launches[0], number) == "CONTINUE"
    assert report(launches[1], 1) == "CONTINUE"
    told = {"number": 0, "outcome": json.dumps({"receipt": receipt_of(launches[0])})}
    scheduler.on_trial_result(None, None, told)
    searcher.on_trial_complete(trial_id="t0")
    searcher.suggest("t2")
    assert report(launches[1], 2) == "STOP"
    searcher.on_trial_complete(trial_id="t1")
    with pytest.raises(RuntimeError, match="the endpoint is away"):
        searcher.raise_fault()
    assert [(str(t.state), t.epochs) for t in engine.ledger.trials()] == [
        ("complete", 9), ("running", 1),
    ]  # fmt: skip
    again = make_engine(tmp_path, Listed([0.01] * 3), ledger=engine.ledger, budget=Budget(trials=3))
    assert [launch.number for launch in run_all(again)] == [1, 2]
    assert {str(t.state) for t in again.ledger.trials()} == {"complete"}


class Failing:
    """Stands for a call of a worker, and keeps what Tune is told of it."""

    def __init__(self):
        self.told = []
        actor = type("Actor", (), {"_on_error": self.note, "actor_id": 1})()
        self._tracked_actor = actor
        self._on_error = self.note

    def note(self, actor, error):
        self.told.append(error)


def lost_errors():
    from ray import exceptions

    return [
        exceptions.OutOfMemoryError("low on memory"), exceptions.WorkerCrashedError(),
        exceptions.ActorDiedError(), exceptions.ActorUnavailableError("away", None),
        exceptions.NodeDiedError("gone"), exceptions.LocalRayletDiedError(),
        exceptions.OutOfDiskError("full"), exceptions.RuntimeEnvSetupError("broken"),
        exceptions.ObjectLostError("0" * 56, None, ""), exceptions.RpcError("away"),
        exceptions.RayTaskError("train", "text", TypeError("cannot pickle")), OSError("odd"),
    ]  # fmt: skip


@pytest.mark.parametrize("error", lost_errors(), ids=lambda error: type(error).__name__)
def test_every_error_of_a_worker_ends_its_trial_and_not_the_experiment(error, monkeypatch):
    from ray.exceptions import RayActorError, RayTaskError

    from hpo.executors.ray_relay import Workers

    manager = Workers.__new__(Workers)
    manager._failed_actor_ids = set()
    monkeypatch.setattr(manager, "_cleanup_actor", lambda tracked_actor: None)
    call = Failing()
    manager._actor_task_failed(call, error)
    assert call.told
    assert all(isinstance(told, RayActorError | RayTaskError) for told in call.told)
    assert manager.last_error is error


def test_tune_has_our_manager_of_workers():
    from ray.tune.execution import tune_controller

    from hpo.executors.ray_relay import Workers

    relay(Driver())
    assert tune_controller.RayActorManager is Workers


def test_the_error_that_ended_a_trial_becomes_its_cause():
    from types import SimpleNamespace

    from ray.exceptions import OutOfMemoryError

    driver = Driver([launch(3)])
    searcher, scheduler = relay(driver)
    searcher.suggest("t1")
    manager = SimpleNamespace(last_error=OutOfMemoryError("low"))
    controller = SimpleNamespace(_actor_manager=manager)
    scheduler.on_trial_error(controller, SimpleNamespace(trial_id="t1"))
    searcher.on_trial_complete(trial_id="t1", error=True)
    assert "memory ran low" in driver.heard[-1][2].failure["message"]


def test_all_running_trials_are_lost_where_ray_has_ended():
    from hpo.executors.ray_faults import RayLostError

    driver = Driver([launch(3), launch(4)])
    searcher, _ = relay(driver)
    searcher.suggest("t1")
    searcher.suggest("t2")
    searcher.on_trial_complete(trial_id="t1", error=False)
    searcher.lose_running(RayLostError("raylet"))
    ends = [heard[1:] for heard in driver.heard if heard[0] == "on_end"]
    assert [number for number, _ in ends] == [3, 4]
    assert ends[1][1].failure["message"] == "Ray's own process on this machine has ended"
    assert searcher.numbers == {}


def test_tune_gets_nothing_to_keep():
    searcher, scheduler = relay(Driver())
    assert searcher.__getstate__() == {}
    assert scheduler.__getstate__() == {}
    assert searcher.set_search_properties(metric=None, mode=None, config={}) is True
