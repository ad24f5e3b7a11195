"""Trials in Ray workers: one cluster for all tests of this file.

Ray is told of two GPUs, so that places on them can be tested where there is none.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest

from hpo.core.budget import Budget
from hpo.core.spec_dicts import flatten
from hpo.executors.division import divide_machine
from hpo.searching.engine import ReceiptError
from tests.quick_runs import Listed, make_engine, quick_study
from tests.quick_trainer import TRAINER
from tests.sharing_trainer import NAME

pytest.importorskip("ray")
pytestmark = pytest.mark.ray

CPUS, GPUS = 2, 2


@pytest.fixture(scope="module")
def executor():
    from hpo.executors.ray import RayExecutor

    before = dict(os.environ)
    handlers = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    made = RayExecutor(NAME, divide_machine(None, cpus=CPUS, gpus=GPUS))
    made.divide(divide_machine(2, cpus=CPUS, gpus=0))
    made.handlers = handlers
    yield made
    made.close()
    made.close()
    assert not made._scratch.exists()
    os.environ.clear()
    os.environ.update(before)


def run(executor, folder, algorithm, spec=None, **plan):
    engine = make_engine(folder, algorithm, study=quick_study(spec), **plan)
    executor.run(engine)
    return engine


def lines(path):
    return path.read_text().split()


def workers(folder, number):
    path = folder / f"trials/{number:04d}/workers.ndjson"
    return [json.loads(line) for line in path.read_text().splitlines()]


def states(engine):
    return [str(t.state) for t in engine.ledger.trials()]


def test_signals_are_still_ours(executor):
    """Ray sets a handler of its own for SIGTERM, which would end a search without saving."""
    assert {s: signal.getsignal(s) for s in executor.handlers} == executor.handlers


FAULTS = "kill_worker@2:4 raise@3:3 nan@5:3"
STOPS = {(1, 2), (4, 3), (6, 1)}
PAUSE = (7, 2)
STUDY = quick_study({"fault.kind": FAULTS, "fault.sleep": 0.1})
BUDGET = Budget(trials=10)


class Wish:
    """Asks for a pause when trial 7 has trained its second epoch; keeps how far others were."""

    def __init__(self, folder):
        self.folder, self.is_there = folder, False

    def __call__(self):
        number, epoch = PAUSE
        path = self.folder / f"trials/{number:04d}/trained.txt"
        self.is_there = self.is_there or (path.exists() and len(lines(path)) >= epoch)
        return self.is_there


@pytest.fixture(scope="module")
def paused(executor, tmp_path_factory):
    """Ten trials, two at a time, with everything that can happen to one, up to a pause."""
    folder = tmp_path_factory.mktemp("search")
    wish = Wish(folder)
    engine = make_engine(
        folder, Listed([0.01] * 10, STOPS), study=STUDY, budget=BUDGET, should_stop=wish
    )
    executor.run(engine)
    return folder, engine, [(str(t.state), t.epochs) for t in engine.ledger.trials()]


@pytest.fixture(scope="module")
def searched(executor, paused):
    """The same search, resumed and over."""
    folder, before, _ = paused
    engine = make_engine(
        folder, Listed([0.01] * 10, STOPS), ledger=before.ledger, study=STUDY, budget=BUDGET
    )
    executor.run(engine)
    return folder, engine


def test_a_pause_lets_epochs_end_and_keeps_their_trials(paused):
    _, engine, then = paused
    assert engine.was_interrupted
    assert engine.is_over()
    running = [n for n, (state, _) in enumerate(then) if state == "running"]
    assert 7 in running
    assert len(running) <= 2
    assert len(then) < 10
    suspended = engine.events.named("trial_suspended")
    assert [e["trial"] for e in suspended] == running
    assert [e["epoch"] for e in suspended] == [then[n][1] for n in running]


def trained(folder, number):
    return [int(line) for line in lines(folder / f"trials/{number:04d}/trained.txt")]


def test_every_trial_has_its_end(searched):
    _, engine = searched
    assert engine.is_over()
    assert states(engine) == [
        "complete", "pruned", "complete", "failed", "pruned", "failed", "pruned", "complete",
        "complete", "complete",
    ]  # fmt: skip
    assert engine.spent().trials == 10


class Saying:
    """A driver whose every call prints, and has another thread print."""

    def __init__(self, engine):
        self.engine = engine

    def __getattr__(self, name):
        def call(*args):
            print(f"{name} in the search")
            beside = threading.Thread(target=print, args=(f"{name} beside it",))
            beside.start()
            beside.join()
            return getattr(self.engine, name)(*args)

        return call


def test_what_listeners_and_other_threads_print_is_seen_and_what_tune_prints_is_not(
    executor, tmp_path, capsys
):
    engine = make_engine(tmp_path, Listed([0.01] * 2, {(1, 2)}), budget=Budget(trials=2))
    executor.run(Saying(engine))
    printed = capsys.readouterr().out.splitlines()
    names, places = ("next_launch", "is_over", "on_epoch", "on_end"), ("in the search", "beside it")
    assert {*printed} == {f"{name} {place}" for name in names for place in places}


def test_a_stopped_trial_is_told_by_false_and_ends_in_its_own_way(executor, tmp_path):
    """What a trainer does behind its loop is done; one that goes on all the same is ended."""
    study = quick_study({"fault.kind": "deaf@1:2"})
    stops = {(0, 3), (1, 2)}
    engine = make_engine(tmp_path, Listed([0.01] * 4, stops), study=study, budget=Budget(trials=4))
    executor.run(engine)
    assert states(engine) == ["pruned", "pruned", "complete", "complete"]
    ended = {n: (tmp_path / f"trials/{n:04d}/ended.txt").exists() for n in range(4)}
    assert ended == {0: True, 1: False, 2: True, 3: True}
    assert trained(tmp_path, 0) == [1, 2, 3]
    assert trained(tmp_path, 1) == [1, 2, 3]


def test_trials_run_two_at_a_time(paused):
    running, most = set(), 0
    for name, data in paused[1].events.all:
        if name == "trial_started":
            running.add(data["trial"])
        if name in ("trial_finished", "trial_suspended"):
            running.discard(data["trial"])
        most = max(most, len(running))
    assert most == 2


def test_a_resumed_trial_trains_no_epoch_twice(paused, searched):
    folder, engine = searched
    resumed = [e for e in engine.events.named("trial_started") if e["resumed_from_epoch"]]
    assert [e["trial"] for e in resumed] == [
        n for n, (s, _) in enumerate(paused[2]) if s == "running"
    ]
    for e in resumed:
        assert trained(folder, e["trial"]) == list(range(1, 10))


def test_pruned_trials_are_really_stopped(searched):
    folder, engine = searched
    for number, epoch in STOPS:
        assert trained(folder, number) == list(range(1, epoch + 1))
        assert engine.ledger.trial(number).epochs == epoch


def test_a_killed_worker_costs_one_epoch_at_most(searched):
    folder, engine = searched
    record = engine.ledger.trial(2)
    assert (record.retries, record.epochs) == (1, 9)
    assert [m.epoch for m in record.measurements] == list(range(1, 10))
    assert trained(folder, 2) == list(range(1, 10))  # the checkpoint came before the kill
    first, second = workers(folder, 2)
    assert first["pid"] != second["pid"]
    assert [t.number for t in engine.ledger.trials() if t.retries] == [2]


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (3, {"kind": "code", "message": "RuntimeError: the loss exploded on purpose"}),
        (5, {"kind": "diverged", "message": "the metric of epoch 3 is nan, not a number"}),
    ],
)
def test_a_failing_trial_keeps_its_cause(searched, number, cause):
    folder, engine = searched
    assert engine.ledger.trial(number).error == cause
    assert trained(folder, number) == [1, 2, 3]
    log = (folder / f"trials/{number:04d}/log.txt").read_text()
    assert ("Traceback" in log and "in _fail" in log) == (number == 3)


def test_workers_stay_warm_and_keep_to_their_threads(paused):
    folder, _, then = paused
    seen = [workers(folder, number)[0] for number in range(len(then))] + [workers(folder, 2)[1]]
    assert len(seen) >= 9
    assert 2 <= len({worker["pid"] for worker in seen}) <= 3  # two at a time, and one was killed
    assert {worker["omp"] for worker in seen} == {"1"}
    assert os.getpid() not in {worker["pid"] for worker in seen}


def test_what_a_worker_prints_is_in_its_trials_log(searched):
    folder, _ = searched
    for number in (0, 9):
        worker = workers(folder, number)[0]
        log = (folder / f"trials/{number:04d}/log.txt").read_text()
        assert f"worker {worker['pid']} trains {number:04d}" in log


def test_what_stopped_trials_still_write_is_there_when_the_search_is_over(executor, tmp_path):
    stops = {(0, 2), (1, 3), (2, 1)}
    spec = {"fault.kind": "writes_late", "fault.trial": 2}
    engine = run(executor, tmp_path, Listed([0.01] * 3, stops), spec, budget=Budget(trials=3))
    assert states(engine) == ["pruned"] * 3
    for number, epoch in stops:  # the last checkpoint of a trial may be its best
        assert lines(tmp_path / f"trials/{number:04d}/written.txt")[-1] == str(epoch)


@pytest.mark.slow
def test_broken_plumbing_ends_the_search_and_nothing_is_printed(executor, tmp_path, capfd):
    spec = {"fault.kind": "wrong_receipt", "fault.trial": 1}
    with pytest.raises(ReceiptError, match=r"trial 1: train\.lr: was suggested to be 0\.01"):
        run(executor, tmp_path, Listed([0.01] * 3), spec, budget=Budget(trials=3))
    assert capfd.readouterr().out == ""


def test_single_calls_run_in_a_worker(executor):
    from hpo.executors.ray import RemoteError

    spec = TRAINER.validate({})
    assert executor.call("probe", spec)["images_per_s"] == 1000.0
    with pytest.raises(RemoteError, match=r"RuntimeError: the probe broke on purpose") as caught:
        executor.call("probe", TRAINER.validate({"fault": {"kind": "probe_raises"}}))
    assert caught.value.kind == "code"
    assert "in probe" in caught.value.detail


def test_what_is_called_after_trials_has_all_cores(executor, searched):
    spec = TRAINER.validate({})
    assert executor.call("probe", spec)["omp"] == str(CPUS)
    assert [probe["omp"] for probe in executor.call_in_all_slots("probe", spec)] == ["1", "1"]


def test_a_worker_that_dies_in_a_call_is_told_in_one_line(executor):
    from hpo.executors.ray import RemoteError

    with pytest.raises(RemoteError, match="the worker process was lost") as caught:
        executor.call("probe", TRAINER.validate({"fault": {"kind": "probe_dies"}}))
    assert caught.value.kind == "infrastructure"
    assert "\n" not in str(caught.value)


def test_who_has_no_token_is_refused(executor):
    import ray

    client = ray._private.worker.global_worker.gcs_client
    code = (
        "from ray._raylet import GcsClient;"
        f"GcsClient(address={client.address!r}, cluster_id={client.cluster_id.hex()!r})"
        ".internal_kv_put(b'k', b'v', True, b'n', timeout=5); print('let in')"
    )
    token = os.environ["RAY_AUTH_TOKEN"]
    said = []
    for changes in ({"RAY_AUTH_TOKEN": token}, {"RAY_AUTH_TOKEN": "0" * len(token)}):
        said.append(
            subprocess.run(
                [sys.executable, "-c", code], env=os.environ | changes,
                capture_output=True, text=True, timeout=120, check=False,
            )
        )  # fmt: skip
    with_token, without = said
    assert with_token.stdout == "let in\n", with_token.stderr
    assert without.stdout == ""
    assert "InvalidAuthToken" in without.stderr


# On GPUs, which the tests above leave alone ------------------------------------------------------


def search_cards(executor, folder, trials, **fault):
    """Run trials of nine epochs; the engine and the trials."""
    study = quick_study({f"fault.{name}": value for name, value in fault.items()})
    engine = make_engine(folder, Listed([0.01] * trials), study=study, budget=Budget(trials=trials))
    executor.run(engine)
    records = engine.ledger.trials()
    assert len(records) == trials
    return engine, records


def test_two_trials_a_card_fill_both_cards(executor, tmp_path):
    slots = divide_machine(None, cpus=CPUS, gpus=GPUS, per_card=2)
    assert (slots.count, slots.gpus, slots.cpus, slots.threads) == (4, 0.5, 0.5, 1)
    executor.divide(slots)
    _, records = search_cards(
        executor, tmp_path, 4, kind="gather", trial=4
    )  # four at the same time
    assert Counter(t.receipt["visible_devices"] for t in records) == {"0": 2, "1": 2}
    assert {t.receipt["memory_share"] for t in records} == {0.5}
    assert len({t.receipt["pid"] for t in records}) == 4


def test_a_worker_tells_how_long_it_has_been_at_a_trial(executor, tmp_path):
    executor.divide(divide_machine(2, cpus=CPUS, gpus=0))
    engine = make_engine(tmp_path, Listed([0.01]), budget=Budget(trials=1))
    told, on_epoch = [], engine.on_epoch
    engine.on_epoch = lambda number, payload: told.append(payload) or on_epoch(number, payload)
    began = time.monotonic()
    executor.run(engine)
    elapsed = [payload["elapsed_s"] for payload in told]
    assert elapsed == sorted(elapsed)
    assert 0.0 < elapsed[0] <= elapsed[-1] < time.monotonic() - began


def test_one_trial_a_card_has_its_memory_to_itself(executor, tmp_path):
    executor.divide(divide_machine(None, cpus=CPUS, gpus=GPUS))
    _, records = search_cards(executor, tmp_path, 2, kind="gather", trial=2)
    assert {t.receipt["visible_devices"] for t in records} == {"0", "1"}
    assert {t.receipt["memory_share"] for t in records} == {None}


def test_trials_of_two_devices_get_both_cards_and_a_worker_without_memory_is_not_used_again(
    executor, tmp_path
):
    slots = divide_machine(None, cpus=CPUS, gpus=GPUS, devices=2)
    assert (slots.count, slots.gpus, slots.threads) == (1, 2.0, 1)
    executor.divide(slots)
    engine, records = search_cards(executor, tmp_path, 4, kind="oom@1:2")
    assert {t.receipt["visible_devices"] for t in records} == {"0,1"}
    assert [str(t.state) for t in records] == ["complete", "failed", "complete", "complete"]
    assert records[1].error["kind"] == "out_of_memory"
    first, second, third, fourth = (t.receipt["pid"] for t in records)
    assert first == second  # warm until then
    assert third != second
    assert third == fourth
    assert [t.retries for t in records] == [0, 0, 0, 0]
    assert flatten(engine.specs.spec_of(records[2]))["train.lr"] == 0.01
