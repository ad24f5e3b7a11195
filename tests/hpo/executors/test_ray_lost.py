"""Ray's own processes are killed: the search starts Ray again and goes on."""

import os
import signal

import pytest

from hpo.core.budget import Budget
from hpo.executors.division import divide_machine
from tests.processes import living
from tests.quick_runs import Listed, make_engine, quick_study
from tests.quick_trainer import NAME

pytest.importorskip("ray")
pytestmark = [pytest.mark.ray, pytest.mark.slow]


def kill_below(part):
    """Kill the processes of this one whose command line has a part."""
    known = living()

    def is_below(pid):
        while pid in known and pid != os.getpid():
            pid = known[pid][0]
        return pid == os.getpid()

    found = [pid for pid, (_, command) in known.items() if part in command and is_below(pid)]
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    assert found


@pytest.fixture
def executor():
    from hpo.executors.ray import RayExecutor

    before = dict(os.environ)
    made = RayExecutor(NAME, divide_machine(2, cpus=2, gpus=0))
    yield made
    made.close()
    os.environ.clear()
    os.environ.update(before)


class Killer:
    """Kills a process of Ray's each time that a trial is in a certain epoch; never asks to stop."""

    def __init__(self, folder, plan):
        self.folder, self.plan = folder, dict(plan)

    def __call__(self):
        for (number, epoch), part in list(self.plan.items()):
            path = self.folder / f"trials/{number:04d}/trained.txt"
            if path.exists() and len(path.read_text().split()) >= epoch:
                del self.plan[number, epoch]
                kill_below(part)
        return False


def test_a_search_goes_on_without_its_raylet_its_server_and_its_agents(executor, tmp_path):
    plan = {(0, 2): b"raylet/raylet", (2, 2): b"gcs_server", (4, 2): b"ray::RuntimeEnvAgent"}
    killer = Killer(tmp_path, plan)
    study = quick_study({"fault.sleep": 0.5})
    engine = make_engine(
        tmp_path, Listed([0.01] * 6), study=study, budget=Budget(trials=6), should_stop=killer
    )
    executor.run(engine)
    assert killer.plan == {}
    trials = engine.ledger.trials()
    assert [(str(t.state), t.epochs) for t in trials] == [("complete", 9)] * 6
    assert all(trials[number].retries for number in (0, 2, 4))
    for trial in trials:  # each loss costs an epoch at most
        path = tmp_path / f"trials/{trial.number:04d}/trained.txt"
        assert len(path.read_text().split()) <= 9 + trial.retries


def test_a_call_without_ray_is_a_lost_worker_and_the_next_one_works(executor):
    from hpo.executors.ray import RemoteError

    assert executor.call("limits", {}) == {}
    kill_below(b"raylet/raylet")
    with pytest.raises(RemoteError, match="Ray's own process on this machine has ended") as caught:
        executor.call("limits", {})
    assert caught.value.kind == "infrastructure"
    assert executor.call("limits", {}) == {}
