"""A cluster that runs already: joined with its token, and a node of it lost."""

import json
import logging
import os
import secrets
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from hpo.core.budget import Budget
from hpo.core.errors import HpoError
from hpo.core.events import Epoch
from hpo.core.machine import Node
from hpo.executors.division import divide_machine
from hpo.report.page import write_report
from hpo.report.run_data import load_run_data
from hpo.run.ledger import Ledger
from hpo.run.ledger_backup import ledgers_dir
from hpo.searching.session import start_search
from hpo.searching.settings import SearchSettings
from hpo.study.sections import SearchOptions
from hpo.study.spec import StudySpec
from tests.quick_runs import Ear
from tests.sharing_trainer import NAME

pytest.importorskip("ray")
pytestmark = [pytest.mark.ray, pytest.mark.slow]

TRIALS = 6
STUDY = StudySpec(
    name="quick",
    trainer=NAME,
    spec={"fault": {"sleep": 0.3}},
    budget=Budget(trials=TRIALS),
    search=SearchOptions(algorithm="random", pruner="none"),
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A head without cores and two nodes of one core, behind a token."""
    before = dict(os.environ)
    os.environ |= {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "HPO_TRAINER_MODULES": "tests",
        "HPO_LEDGER_DIR": str(tmp_path_factory.mktemp("driver")),
    }
    from ray.cluster_utils import Cluster

    from hpo.executors.ray_owner import read_settings_again

    read_settings_again()
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    made.small = [made.add_node(num_cpus=1) for _ in range(2)]
    yield made
    made.shutdown()
    os.environ.clear()
    os.environ.update(before)


class Killer(Ear):
    """Takes a node away when trial 1 has trained its third epoch there."""

    def __init__(self, cluster, folder):
        super().__init__()
        self.cluster, self.folder, self.lost = cluster, folder, None

    def handle(self, event):
        super().handle(event)
        if self.lost is None and isinstance(event, Epoch) and (event.trial, event.epoch) == (1, 3):
            (run,) = self.folder.glob("*/*/trials/0001/workers.ndjson")
            raylet = json.loads(run.read_text().splitlines()[0])["raylet"]
            (self.lost,) = [
                n for n in self.cluster.small
                if raylet == n.all_processes["raylet"][0].process.pid
            ]  # fmt: skip
            self.cluster.remove_node(self.lost, allow_graceful=False)


def test_a_search_goes_on_when_a_node_is_lost(cluster, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    ear = Killer(cluster, tmp_path)
    settings = SearchSettings(ray_address=cluster.address, probe=False, listeners=(lambda *_: ear,))
    result = start_search(STUDY, tmp_path, settings)
    assert result.finished.trials == {"complete": TRIALS, "pruned": 0, "failed": 0}
    assert ear.lost is not None
    assert "asks for no token" not in caplog.text
    ledger = Ledger.open(result.run.ledger_file)  # the copy that the run keeps
    records = ledger.trials()
    ledger.close()
    assert [(str(t.state), t.epochs) for t in records] == [("complete", 9)] * TRIALS
    moved = [t.number for t in records if t.retries]
    assert 1 in moved
    for number in range(TRIALS):
        folder = result.run.trial_dir(number)
        trained = Counter(map(int, (folder / "trained.txt").read_text().split()))
        assert sorted(trained) == list(range(1, 10))
        assert sum(trained.values()) <= 9 + (number in moved)  # one epoch repeated at most
        starts = [json.loads(line) for line in (folder / "workers.ndjson").read_text().splitlines()]
        assert len(starts) == 1 + (number in moved)
        assert len({one["raylet"] for one in starts}) == len(starts)  # elsewhere the second time
    assert (result.run.best_dir / "model.onnx").is_file()
    assert list(ledgers_dir().iterdir()) == []


def test_the_report_at_the_end_knows_what_was_handed_on(cluster, tmp_path):
    """The budget ends while trials run: their last epochs are recorded after the last end of one."""
    study = StudySpec(
        name="quick",
        trainer=NAME,
        budget=Budget(epochs=14),
        search=SearchOptions(algorithm="random", pruner="none"),
    )
    settings = SearchSettings(ray_address=cluster.address, probe=False, report=True)
    result = start_search(study, tmp_path / "runs", settings)
    assert result.finished.suspended
    again = write_report(load_run_data(result.run), None, tmp_path)
    assert "Estimated from the trials alone" in again.with_suffix(".md").read_text()
    told = Path(result.finished.report).with_suffix(".md").read_text()
    assert told == again.with_suffix(".md").read_text()


def test_a_cluster_is_looked_at(cluster):
    import ray

    from hpo.executors.ray_start import join_cluster

    try:
        machine = join_cluster(cluster.address)
    finally:
        ray.shutdown()
    assert machine.nodes[0] == Node(cpus=1, gpus=0)


def test_a_wrong_token_is_one_line(cluster, monkeypatch):
    from hpo.executors.ray_owner import read_settings_again
    from hpo.executors.ray_start import join_cluster

    began = time.monotonic()
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    words = (
        r"^--ray-address: .* answers but cannot be joined: is it .* RAY_AUTH_TOKEN .* the cluster's"
    )
    with pytest.raises(HpoError, match=words):
        join_cluster(cluster.address)
    assert time.monotonic() - began < 60
    monkeypatch.undo()
    read_settings_again()


def test_whoever_leaves_last_leaves_the_cluster_and_its_settings(cluster, tmp_path):
    import ray

    from hpo.executors.ray import RayExecutor
    from hpo.executors.ray_start import join_cluster

    before = dict(os.environ)
    study = replace(STUDY, budget=Budget(gpu_seconds=60.0))
    with pytest.raises(HpoError, match="GPU hours need a GPU"):
        start_search(study, tmp_path, SearchSettings(ray_address=cluster.address))
    assert not ray.is_initialized()
    assert dict(os.environ) == before
    join_cluster(cluster.address)
    slots = divide_machine(1, cpus=1, gpus=0)
    first, second = (RayExecutor(NAME, slots, cluster.address) for _ in range(2))
    first.close()
    assert ray.is_initialized()
    assert second.call("limits", {}) == {}
    second.close()
    assert not ray.is_initialized()
    assert dict(os.environ) == before
