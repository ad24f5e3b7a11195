"""The mirror against a real store: what a search leaves in MLflow, whatever happens to either."""

import json
import logging
import os
import socket
import time
from pathlib import Path

import pytest

from hpo.core.event_json import from_json, to_json
from hpo.core.events import (
    Confirmed,
    Epoch,
    Paused,
    TrialFinished,
    TrialStarted,
    TrialSuspended,
)
from hpo.core.trial import TrialState
from hpo.run.run_dir import RunDir
from hpo.tracking import mirror as mirror_module
from hpo.tracking.store import CLIENT_SETTINGS, connect
from hpo.tracking.writer import _read_reasons
from tests.count_calls import count_calls
from tests.hpo.tracking.scripted import BEGAN, NAME, UUID, Script, copy_store

P1 = "val_precision_at_1"


class Store:
    """What stands in MLflow, asked by its own client."""

    def __init__(self, uri):
        self.client = connect(uri)
        self.experiment = self.client.get_experiment_by_name(NAME)
        everything = self.client.search_runs([self.experiment.experiment_id], max_results=500)
        children = [run for run in everything if "mlflow.parentRunId" in run.data.tags]
        (self.parent,) = [run for run in everything if run not in children]
        self.names = sorted(run.info.run_name for run in children)
        self.trials = {int(run.data.tags["hpo.trial"]): run for run in children}

    def history(self, number, name=P1):
        points = self.client.get_metric_history(self.trials[number].info.run_id, name)
        return [(p.step, p.value) for p in sorted(points, key=lambda p: (p.step, p.timestamp))]

    def artifacts(self, run, place=None):
        return sorted(f.path for f in self.client.list_artifacts(run.info.run_id, place))


def play_four(script):
    """A complete, a pruned, a failed and a suspended trial."""
    script.start(0, lr=0.1, width=64)
    script.epochs(0, 0.5, 0.7, 0.6)
    script.end(0, receipt={"applied": {"lr": 0.1}})
    script.start(1, lr=0.001, width=128)
    script.epochs(1, 0.2)
    script.end(1, TrialState.PRUNED, reason="0.2 is below the median 0.5")
    script.start(2, lr=0.5, width=32)
    script.end(2, TrialState.FAILED, error={"kind": "diverged", "message": "not a number"})
    script.start(3, lr=0.3, width=64)
    script.epochs(3, 0.4)
    script.suspend(3)


@pytest.fixture(scope="module")
def store(template, tmp_path_factory):
    """The store after one search with a trial of every kind."""
    script = Script(copy_store(template, tmp_path_factory.mktemp("root") / "runs"))
    script.open(trunk={"backbone": "resnet"})
    play_four(script)
    script.run.best_dir.mkdir()
    (script.run.best_dir / "report.json").write_text('{"value": 0.7}')
    script.close()
    return Store(script.uri)


def test_every_trial_has_one_run_with_its_state(store):
    assert store.names == ["trial-0000", "trial-0001", "trial-0002", "trial-0003"]
    statuses = [store.trials[n].info.status for n in range(4)]
    assert statuses == ["FINISHED", "FINISHED", "FAILED", "RUNNING"]
    states = [store.trials[n].data.tags["hpo.state"] for n in range(4)]
    assert states == ["complete", "pruned", "failed", "suspended"]
    assert store.trials[1].data.tags["hpo.reason"] == "0.2 is below the median 0.5"
    assert store.trials[2].data.tags["hpo.error"] == "diverged: not a number"
    parents = {run.data.tags["mlflow.parentRunId"] for run in store.trials.values()}
    assert parents == {store.parent.info.run_id}


def test_params_metrics_and_times_are_the_ledgers(store):
    assert store.trials[0].data.params == {"lr": "0.1", "width": "64"}
    assert store.history(0) == [(1, 0.5), (2, 0.7), (3, 0.6)]
    assert store.history(0, f"{P1}_best") == [(1, 0.5), (2, 0.7), (3, 0.7)]
    metrics = store.trials[0].data.metrics
    assert (metrics["epochs"], metrics["seconds"], metrics["epoch_seconds"]) == (3, 30, 10)
    assert metrics["p_5"] == 0.9
    assert store.trials[0].info.start_time == BEGAN * 1000
    assert store.trials[0].info.end_time == (BEGAN + 30) * 1000


def test_the_parent_tells_summary_progress_and_winner(store):
    parent = store.parent
    wanted = {"budget": "4 trials", "algorithm": "tpe", "trunk.backbone": "resnet"}
    assert parent.data.params == wanted
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["hpo.study_uuid"] == UUID
    assert parent.data.metrics[f"{P1}_best"] == 0.7
    assert parent.data.metrics["best_trial"] == 0
    assert parent.data.metrics["trials_pruned"] == 1
    note = parent.data.tags["mlflow.note.content"]
    assert note.startswith(f"**Trial 0 is the winner: {P1} 0.7000** in epoch 2 of 3")
    assert "4 trials: 1 unfinished, 1 complete, 1 pruned, 1 failed." in note
    assert store.trials[0].data.tags["hpo.best"] == "winner and default"
    assert "hpo.best" not in store.trials[1].data.tags  # pruned, and no repeat


def test_files_arrive_with_trials_and_study(store, tmp_path):
    assert store.artifacts(store.trials[0]) == ["log.txt", "receipt.json", "spec.yaml"]
    assert store.artifacts(store.trials[3]) == []
    assert store.artifacts(store.parent) == ["best", "study.yaml"]
    assert store.artifacts(store.parent, "best") == ["best/report.json"]
    run_id = store.trials[0].info.run_id
    got = store.client.download_artifacts(run_id, "receipt.json", str(tmp_path))
    assert json.loads(Path(got).read_text()) == {"applied": {"lr": 0.1}}


def test_the_winner_is_the_ledgers_whatever_became_of_the_others(script):
    script.open()
    script.start(0, lr=0.4)
    script.end(0, TrialState.FAILED, error={"kind": "over_limit", "message": "too slow"})
    for number, values in ((1, (0.5, 0.6, 0.9)), (2, (0.5, 0.6, 0.89))):
        script.start(number, lr=number / 10)
        script.epochs(number, *values)
        script.end(number)
    script.start(3, lr=0.3)
    script.epochs(3, 0.2)
    script.suspend(3)
    for number, again, value in ((4, 1, 0.8), (5, 2, 0.79)):
        script.start(number, purpose="confirm", lr=again / 10)
        script.epochs(number, 0.5, 0.6, value)
        script.end(number)
    script.ledger.choose(2)  # tied, and the cheaper one
    script.close()
    store = Store(script.uri)
    tags = {n: run.data.tags.get("hpo.best") for n, run in store.trials.items()}
    assert tags == {
        0: "default", 1: None, 2: "winner", 3: None, 4: "repeat of 1", 5: "repeat of 2"
    }  # fmt: skip
    assert store.trials[0].data.tags["hpo.state"] == "refused"
    assert store.parent.data.metrics["best_trial"] == 2
    assert store.parent.data.metrics[f"{P1}_best"] == 0.89
    note = store.parent.data.tags["mlflow.note.content"]
    assert note.startswith(f"**Trial 2 is the winner: {P1} 0.8900** in epoch 3 of 3.")


def test_a_resumed_search_goes_on_in_the_same_runs(script):
    script.open()
    play_four(script)
    script.close("interrupted")
    before = Store(script.uri)
    assert before.parent.info.status == "KILLED"
    assert before.trials[0].data.tags["hpo.best"] == "best so far and default"
    script.open(budget="6 trials")
    script.bus.emit(TrialStarted(trial=3, params={}, resumed_from_epoch=1))
    script.epochs(3, 0.8, 0.9)
    script.end(3)
    script.start(4, lr=0.2, width=64)
    script.epochs(4, 0.1)
    script.end(4, TrialState.PRUNED, reason="low")
    script.close()
    after = Store(script.uri)
    assert after.names == [f"trial-{n:04d}" for n in range(5)]
    for number in range(4):
        assert after.trials[number].info.run_id == before.trials[number].info.run_id
    assert after.history(3) == [(1, 0.4), (2, 0.8), (3, 0.9)]
    assert after.history(0) == [(1, 0.5), (2, 0.7), (3, 0.6)]
    assert "hpo.reason" not in after.trials[3].data.tags
    marked = {n: run.data.tags.get("hpo.best") for n, run in after.trials.items()}
    assert marked == {0: "default", 1: None, 2: None, 3: "winner", 4: None}
    assert after.parent.info.status == "FINISHED"
    assert after.parent.data.params["budget"] == "4 trials"
    assert after.parent.data.tags["hpo.budget"] == "6 trials"
    best = after.client.get_metric_history(after.parent.info.run_id, f"{P1}_best")
    assert [(p.step, p.value) for p in best] == [(1, 0.7), (2, 0.7), (3, 0.7), (4, 0.9), (5, 0.9)]


def test_a_search_killed_between_writes_is_completed(script):
    script.open()
    script.start(0, lr=0.1, width=64)
    script.epochs(0, 0.5)
    wait_for(lambda: Store(script.uri).history(0) == [(1, 0.5)])
    # The first mirror never hears of the rest, as after kill -9.
    old, script.bus = script.bus, type(script.bus)()
    script.epochs(0, 0.7)
    script.open()
    script.epochs(0, 0.6)
    script.end(0)
    script.close()
    store = Store(script.uri)
    assert store.names == ["trial-0000"]
    assert store.history(0) == [(1, 0.5), (2, 0.7), (3, 0.6)]
    old.close()


def test_values_are_seen_while_the_search_goes_on(script):
    script.open()
    script.start(0, lr=0.1, width=64)
    script.epochs(0, 0.5)
    wait_for(lambda: Store(script.uri).history(0) == [(1, 0.5)])
    script.epochs(0, 0.6)
    wait_for(lambda: len(Store(script.uri).history(0)) == 2)
    wait_for(lambda: Store(script.uri).trials[0].data.tags["hpo.state"] == "running")
    assert Store(script.uri).parent.info.status == "RUNNING"
    script.close()


def test_a_run_that_a_lost_answer_has_doubled_is_removed(script):
    script.open()
    play_four(script)
    script.close()
    store = Store(script.uri)
    tags = {k: v for k, v in store.trials[1].data.tags.items() if k != "hpo.mirrored"}
    store.client.create_run(store.experiment.experiment_id, tags=tags, run_name="trial-0001")
    script.open()
    script.close()
    assert Store(script.uri).names == [f"trial-{n:04d}" for n in range(4)]
    kept = Store(script.uri).trials[1]
    assert kept.info.run_id == store.trials[1].info.run_id


def test_a_refused_trial_does_not_keep_others_out(script, caplog):
    script.open()
    script.start(0, lr=0.1, width=64)
    script.close("interrupted")
    store = Store(script.uri)
    store.client.log_param(store.trials[0].info.run_id, "other", "1")
    script.ledger.trial(0).params["other"] = 2  # as if MLflow had kept another value
    script.open()
    script.epochs(0, 0.5)
    script.start(1, lr=0.2, width=64)
    script.epochs(1, 0.6)
    script.end(1)
    with caplog.at_level(logging.WARNING):
        script.close()
    assert Store(script.uri).trials[1].info.status == "FINISHED"
    assert "trial 0: " in caplog.text
    assert "is incomplete" in caplog.text


def test_names_that_mlflow_refuses_are_changed(script, caplog):
    script.metric = "mAP@50 (all)"
    script.open()
    for number, rate in enumerate((1e-4, 1e-1)):
        script.start(number, **{"opt.lr@x": rate})
        script.epochs(number, 0.5, 0.7)
        script.end(number)
    script.close()
    assert "MLflow" not in caplog.text
    store = Store(script.uri)
    assert store.history(1, "mAP_50 _all_") == [(1, 0.5), (2, 0.7)]
    assert store.parent.data.metrics["mAP_50 _all__best"] == 0.7
    assert store.trials[1].data.params == {"opt.lr_x": "0.1"}
    assert store.trials[1].data.metrics["opt.lr_x log10"] == -1


def test_parameters_over_decades_are_repeated_as_logarithms(script):
    script.open()
    script.start(0, **{"optim.lr": 1e-4})
    script.end(0)
    wait_for(lambda: "hpo.mirrored" in Store(script.uri).trials[0].data.tags)
    script.start(1, **{"optim.lr": 1e-1})
    script.end(1)
    script.close()
    logs = [
        run.data.metrics["optim.lr log10"] for _, run in sorted(Store(script.uri).trials.items())
    ]
    assert logs == [pytest.approx(-4.0), pytest.approx(-1.0)]


def test_a_dead_server_costs_the_search_nothing_and_is_caught_up(script, caplog):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        script.open(f"http://me:secret@127.0.0.1:{port}")
        slowest = 0.0
        play_four(script)
        for _ in range(200):
            began = time.perf_counter()
            script.mirror.handle(Epoch(trial=3, epoch=2, value=0.5))
            slowest = max(slowest, time.perf_counter() - began)
        assert slowest < 0.1
        began = time.perf_counter()
        with caplog.at_level(logging.WARNING):
            script.close()
        assert time.perf_counter() - began < mirror_module.CLOSE_SECONDS
    lines = [r.getMessage() for r in caplog.records if r.name.startswith("hpo.tracking")]
    assert len(lines) == 2
    assert "cannot be written; the search goes on" in lines[0]
    assert "4 trials (0, 1, 2, 3) did not arrive" in lines[1]
    assert "hpo resume" in lines[1]
    assert "secret" not in caplog.text
    script.open()
    script.close()
    store = Store(script.uri)
    assert store.history(0) == [(1, 0.5), (2, 0.7), (3, 0.6)]
    assert store.trials[1].data.tags["hpo.reason"] == "0.2 is below the median 0.5"
    assert [store.trials[n].info.status for n in range(4)] == [
        "FINISHED",
        "FINISHED",
        "FAILED",
        "RUNNING",
    ]


def wait_for(condition, seconds=60.0):
    """Wait until something has arrived."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if condition():
                return
        except (AttributeError, KeyError, ValueError):  # not all runs are there yet
            pass
        time.sleep(0.1)
    raise AssertionError("it has not arrived")


def test_an_address_that_cannot_work_costs_no_time_and_is_told_in_whole_sentences(
    tmp_path, caplog, monkeypatch
):
    script = Script(tmp_path / "runs")
    script.uri = "file:///srv/mlruns"
    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        script.open()
        script.start(0, lr=0.1, width=64)
        script.epochs(0, 0.5)
        script.end(0)
        script.close()
    assert time.monotonic() - began < 3.0
    first, last = caplog.messages
    assert first.startswith("the search goes on without MLflow: file:///srv/mlruns names a folder,")
    assert "set MLFLOW_TRACKING_URI to a server" in last
    assert last.endswith(f"after that `hpo resume {script.run}` writes all of it")


def test_artifacts_that_no_library_can_store_keep_nothing_else_out(script, caplog):
    """A bucket that clients write to by themselves, where its library is missing or has no keys."""
    connect(script.uri).create_experiment(NAME, artifact_location="s3://nobody/runs")
    with caplog.at_level(logging.WARNING):
        script.open()
        play_four(script)
        script.close()
    store = Store(script.uri)
    assert store.history(0) == [(1, 0.5), (2, 0.7), (3, 0.6)]
    assert store.trials[2].data.tags["hpo.state"] == "failed"
    assert store.parent.info.status == "FINISHED"
    first, last = (r.getMessage() for r in caplog.records if r.name.startswith("hpo.tracking"))
    assert first.startswith("MLflow does not take artifacts: ")
    assert "; pip install boto3" in first or "; set AWS_ACCESS_KEY_ID" in first
    assert "artifacts: " in last
    assert "time was too short" not in last
    assert "Traceback" not in caplog.text


class Untold:
    """What cannot be written down, as if the mirror had a fault."""

    def __str__(self):
        raise TypeError("no words")


def test_a_fault_of_the_mirror_itself_is_told_at_the_end(script, caplog):
    with caplog.at_level(logging.WARNING):
        script.open(bad=Untold())
        script.start(0, lr=0.1)
        script.close()
    said = [r.getMessage() for r in caplog.records if r.name.startswith("hpo.tracking")]
    assert said[0] == "the MLflow mirror has ended by a fault of its own"
    assert (
        "1 trial (0) did not arrive; the mirror has ended by a fault of its own: no words"
        in said[1]
    )


def test_the_programs_own_settings_of_mlflow_are_as_before(script, monkeypatch):
    for name in CLIENT_SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "70")
    before = dict(os.environ)
    script.open()
    wait_for(lambda: os.environ.get("MLFLOW_HTTP_REQUEST_MAX_RETRIES") == "0")
    script.close()
    assert dict(os.environ) == before


def test_reasons_of_earlier_starts_are_found_among_all_events(tmp_path):
    """Of lines that cannot tell one, none is parsed; every line is, by the loop beside it."""
    run = RunDir(tmp_path)
    ended = {"state": TrialState.PRUNED, "reason": 'below "trial_finished"'}
    events = [
        *(Epoch(trial=n % 5, epoch=n, value=0.5) for n in range(500)),
        TrialFinished(trial=0, **ended),
        Confirmed(trial=1, state=TrialState.COMPLETE, reason="repeat of 0"),
        TrialSuspended(trial=2, epoch=3, reason="stopped"),
        Paused(text='"confirmed"', free_bytes=1, needed_bytes=2),
        TrialStarted(trial=3),
    ]
    run.events_file.write_text("".join(to_json(event) + "\n" for event in events) + '{"event": "tr')
    found = map(from_json, run.events_file.read_text().splitlines())
    kinds = TrialFinished | Confirmed | TrialSuspended
    wanted = {event.trial: event.reason for event in found if isinstance(event, kinds)}
    assert len(wanted) == 3
    assert _read_reasons(run) == wanted
    assert count_calls(_read_reasons, run, of="from_json") <= 4
    assert _read_reasons(RunDir(tmp_path / "none")) == {}
