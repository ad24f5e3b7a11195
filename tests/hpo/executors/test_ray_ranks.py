"""Trials of two processes on the CPU through Ray: one pruned, one whose worker is killed."""

import os
import signal
import time

import pytest

from hpo.core.trial import Launch
from hpo.executors.division import divide_machine
from tests.processes import living, ranks_below
from tests.trainer.tiny import make_splits, train_spec

pytest.importorskip("ray")
torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.skipif(torch.cuda.is_available(), reason="two processes on the CPU are tested"),
]


class Driver:
    """Two trials one after the other: the first is pruned, the second's worker is killed."""

    def __init__(self, launches):
        self.launches, self.running = list(launches), 0
        self.epochs, self.ends, self.seen = [], {}, {}

    def next_launch(self):
        if self.running or not self.launches:
            return None
        self.running = 1
        return self.launches.pop(0)

    def is_over(self):
        return not self.launches and not self.running

    def on_epoch(self, number, payload):
        self.epochs.append((number, payload["epoch"], payload.get("receipt")))
        self.seen[number] = ranks_below(os.getpid())
        if number == 1:
            (first,) = [p for p, parent in self.seen[1].items() if parent not in self.seen[1]]
            os.kill(self.seen[1][first], signal.SIGKILL)
        return number == 1

    def on_end(self, number, ended):
        self.running = 0
        self.ends[number] = ended


def gone_within(pids, seconds):
    """Ranks look every half second; the rest is what a busy machine takes to end them."""
    until = time.monotonic() + seconds
    while any(pid in living() for pid in pids):
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def test_no_rank_outlives_its_trial(tmp_path):
    from hpo.core.trial_failures import LOST
    from hpo.executors.ray import RayExecutor
    from trainer.session import TRAINER

    splits = make_splits(tmp_path / "pictures")
    launches = []
    for number in range(2):
        folder = tmp_path / f"{number:04d}"
        spec = train_spec(
            splits, folder, train__num_epochs=200, train__seed=1, train__batch_size=8,
            train__num_gpus=2, train__gpu_ids=[0, 1],
        )  # fmt: skip
        launches.append(Launch(number=number, spec=TRAINER.validate(spec), folder=str(folder)))
    before = dict(os.environ)
    executor = RayExecutor("ml_recog", divide_machine(1, cpus=2, gpus=0, devices=2))
    driver = Driver(launches)
    try:
        executor.run(driver)
        assert [(number, epoch) for number, epoch, _ in driver.epochs[:1]] == [(0, 1)]
        assert {number for number, _, _ in driver.epochs} == {0, 1}
        receipt = driver.epochs[0][2]
        assert receipt["applied"]["train.num_gpus"] == 2
        for number in (0, 1):
            assert len(driver.seen[number]) == 2
            assert gone_within(driver.seen[number], 60.0), f"orphans of trial {number}"
        assert (driver.ends[0].receipt, driver.ends[0].failure) == (None, None)
        assert driver.ends[1].failure == LOST
        for number in (0, 1):
            assert (tmp_path / f"{number:04d}/ckpt/last.ckpt").is_file()
        assert ranks_below(os.getpid()) == {}
    finally:
        executor.close()
        os.environ.clear()
        os.environ.update(before)
