"""MLflow's server away for the middle third of a search: nothing waits for it, and nothing is lost."""

import contextlib
import os
import signal
import statistics
import threading
import time
from collections import Counter

import pytest

from hpo.core.budget import Budget
from hpo.core.events import TrialFinished
from hpo.run.ledger import Ledger
from hpo.searching.session import Session, start_search
from hpo.searching.settings import SearchSettings
from hpo.tracking import server
from hpo.tracking.listener import mlflow_listener
from hpo.tracking.store import connect, steps_of
from hpo.tracking.summary import STEPS_METRIC
from tests.hpo.tracking.scripted import copy_store
from tests.quick_runs import quick_study

pytestmark = pytest.mark.slow

TRIALS, EPOCHS = 45, 9
THIRD = TRIALS // 3
STUDY = quick_study(
    {"fault.kind": "raise@20:4 nan@24:2", "fault.sleep": 0.06}, budget=Budget(trials=TRIALS)
)
SAID = "cannot be written; the search goes on"
PATIENCE_S = 0.5
"""A call of the driver that waits for a server takes seconds: a request's time limit is ten."""


class Gone:
    """A server that is stopped, and later started again at the same address."""

    def __init__(self, uri):
        self.uri, self.port = uri, server.choose_port("127.0.0.1", 0)
        self.base = server.base_url("127.0.0.1", self.port)
        self.stack = contextlib.ExitStack()
        self.is_up = threading.Event()
        self.start()

    def start(self):
        self.process = self.stack.enter_context(
            server.running_server(self.uri, "127.0.0.1", self.port)
        )
        self.is_up.set()

    def leave(self):
        self.is_up.clear()
        self.stack.close()

    def come_back(self):
        self.start()


class Hung(Gone):
    """A server that takes connections and answers none of them."""

    def leave(self):
        self.is_up.clear()
        os.killpg(self.process.pid, signal.SIGSTOP)

    def come_back(self):
        os.killpg(self.process.pid, signal.SIGCONT)
        self.is_up.set()


class Stage:
    """Moves the server at the thirds of the search, from a thread: the search must not notice.

    The server stays away until its absence has been said: a request to one that hangs takes ten
    seconds to fail, about as long as a third of the search.
    """

    def __init__(self, away, is_said):
        self.away, self.is_said, self.threads = away, is_said, []

    def handle(self, event):
        if not isinstance(event, TrialFinished):
            return
        if event.trial == THIRD - 1:
            self.do(self.away.leave)
        if event.trial == 2 * THIRD - 1:
            self.do(self.come_back)
        if event.trial == TRIALS - 2:  # the comparison is over: the start of a server is long
            self.away.is_up.wait(120.0)

    def come_back(self):
        patience = time.monotonic() + 60.0
        while not self.is_said() and time.monotonic() < patience:
            time.sleep(0.05)
        self.away.come_back()

    def do(self, what):
        self.threads.append(threading.Thread(target=what))
        self.threads[-1].start()

    def close(self):
        for thread in self.threads:
            thread.join()


class Timed:
    """A driver that keeps how long its calls took, by trial."""

    def __init__(self, driver):
        self.driver, self.calls, self.began, self.lasted = driver, [], {}, {}

    def __getattr__(self, name):
        method = getattr(self.driver, name)

        def timed(*args):
            began = time.monotonic()
            result = method(*args)
            self.calls.append((args[0] if args else -1, name, time.monotonic() - began))
            if name == "next_launch" and result is not None:
                self.began[result.number] = time.monotonic()
            if name == "on_end":
                self.lasted[args[0]] = began - self.began[args[0]]
            return result

        return timed


def search(out, *listeners):
    """One search, one trial at a time; its times."""
    kept = []

    class Watched(Session):
        def make_executor(self):
            executor = super().make_executor()
            run = executor.run
            executor.run = lambda driver: run(kept.append(Timed(driver)) or kept[0])
            return executor

    settings = SearchSettings(
        executor="inprocess", probe=False, listeners=listeners, make_session=Watched
    )
    result = start_search(STUDY, out, settings)
    assert result.finished is not None
    return result.run, kept[0]


@pytest.mark.parametrize("kind", [Gone, Hung])
def test_a_server_that_is_away_for_a_third_of_the_search(
    kind, template, tmp_path, monkeypatch, caplog
):
    caplog.set_level("INFO", "hpo.tracking")
    _, undisturbed = search(tmp_path / "without")
    out = copy_store(template, tmp_path / "runs")
    uri = f"sqlite:///{out / 'mlflow.db'}"
    away = kind(uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", away.base)
    monkeypatch.delenv("HPO_MLFLOW")
    stage = Stage(away, lambda: SAID in caplog.text)
    with away.stack:
        run, timed = search(out, mlflow_listener, lambda *_: stage)
    assert SAID in caplog.text
    assert "answers again" in caplog.text
    assert "is incomplete" not in caplog.text
    _assert_nothing_waited(timed, undisturbed)
    _assert_all_is_there_once(run, connect(uri))


def _assert_nothing_waited(timed, undisturbed):
    away = range(THIRD, 2 * THIRD)
    slowest = max(seconds for number, _, seconds in timed.calls if number in away)
    assert slowest < PATIENCE_S
    usual, then = (
        statistics.median(times.lasted[n] for n in away if times.lasted[n] > 0.4)
        for times in (undisturbed, timed)
    )
    print(f"trial: {usual:.3f} s, server away: {then:.3f} s; slowest call {slowest:.3f} s")
    assert then < 1.2 * usual


def _assert_all_is_there_once(run, client):
    ledger = Ledger.open(run.ledger_file)
    records = ledger.trials()
    (experiment,) = [e for e in client.search_experiments() if e.name == "quick"]
    place = [experiment.experiment_id]
    (parent,) = client.search_runs(place, "tags.`hpo.role` = 'study'")
    assert parent.info.status == "FINISHED"
    children = client.search_runs(place, "tags.`hpo.role` = 'trial'")
    assert len(records) == TRIALS
    assert sorted(int(c.data.tags["hpo.trial"]) for c in children) == list(range(TRIALS))
    statuses = {"complete": "FINISHED", "pruned": "FINISHED", "failed": "FAILED"}
    for child in children:
        record = records[int(child.data.tags["hpo.trial"])]
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert child.info.status == statuses[str(record.state)]
        assert "hpo.mirrored" in child.data.tags
        history = client.get_metric_history(child.info.run_id, "val_precision_at_1")
        assert Counter(p.step for p in history) == Counter(m.epoch for m in record.measurements)
        assert {p.step: p.value for p in history} == {m.epoch: m.value for m in record.measurements}
        assert float(child.data.params["train.lr"]) == record.params["train.lr"]
    assert max(steps_of(client, parent.info.run_id, STEPS_METRIC)) == TRIALS
    ledger.close()
