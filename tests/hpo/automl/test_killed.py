"""40: a driver of the route that is killed at any moment is gone on with as if it never had been."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hpo import AutoMLRunner, query_status
from hpo.run.ledger import Ledger
from tests.hpo.automl.conftest import make_skill
from tests.quick_trainer import NAME

ROOT = Path(__file__).parents[3]
ARGUMENTS = {
    "automl_settings": {"algorithm": "tpe", "metric": "kpi", "automl_max_recommendations": 4},
    "spec_overrides": {
        "data.train": "/t", "data.reference": "/r", "data.query": "/q", "fault.sleep": 0.02,
    },
    "in_process": True,
}  # fmt: skip
SCRIPT = """
import json, sys
from hpo import AutoMLRunner
runner = AutoMLRunner(skill_dir=sys.argv[1], trainer=sys.argv[2])
runner.run(workspace_path=sys.argv[3], **json.loads(sys.argv[4]))
"""


def trials_of(folder):
    ledger = Ledger.open(folder / "ledger.db")
    rows = [(t.number, t.params, [m.value for m in t.measurements]) for t in ledger.trials()]
    ledger.close()
    return rows


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    runner = AutoMLRunner(skill_dir=make_skill(folder / "skill"), trainer=NAME)
    result = runner.run(workspace_path=folder / "ws", **ARGUMENTS)
    return trials_of(Path(result["workspace_path"]))


def wait_for(folder, event, count):
    """Wait until an event has happened so often in the one workspace below a folder."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for file in folder.glob("run_*/events.ndjson"):
            if file.read_text().count(f'"event": "{event}"') >= count:
                return file.parent
        time.sleep(0.01)
    raise AssertionError(f"{event} did not happen {count} times")


@pytest.mark.parametrize(
    ("event", "count"), [("trial_started", 1), ("epoch", 14), ("trial_finished", 3)]
)
def test_40_killed_and_resumed_is_the_same_as_unbroken(tmp_path, unbroken, event, count):
    skill = make_skill(tmp_path / "skill")
    words = [skill, NAME, tmp_path / "ws", json.dumps(ARGUMENTS)]
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *map(str, words)], stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    folder = wait_for(tmp_path / "ws", event, count)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert query_status(folder)["status"] == "stopped"
    result = AutoMLRunner(skill_dir=skill, trainer=NAME).run(
        workspace_path=folder, resume=True, in_process=True
    )
    assert trials_of(folder) == unbroken
    assert [e["rec_id"] for e in result["history"]] == [0, 1, 2, 3]
    for number in range(4):
        trained = (folder / f"trials/{number:04d}/trained.txt").read_text().split()
        assert len(trained) <= 10, "at most one epoch is repeated"
    assert query_status(folder)["active_jobs"] == []
