"""Runs of two processes on the CPU, started from a process that is none of them."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from tests.processes import living, ranks_below
from tests.trainer.tiny import make_splits, train_spec
from trainer.errors import DeviceMemoryError, InfrastructureError, SpecError
from trainer.session import TRAINER

on_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="two processes on the CPU are tested")


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    return make_splits(tmp_path_factory.mktemp("pictures"))


def two(splits, folder, epochs=3, **changes):
    devices = {"train__num_gpus": 2, "train__gpu_ids": [0, 1], "train__batch_size": 8}
    return train_spec(splits, folder, train__num_epochs=epochs, train__seed=1, **devices, **changes)


def gone_within(pids, seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if living().keys().isdisjoint(pids):
            return True
        time.sleep(0.1)
    return False


def test_several_computers_are_refused(splits, tmp_path):
    spec = two(splits, tmp_path, train__num_nodes=2)
    with pytest.raises(SpecError, match=r"train\.num_nodes: must be 1 in a run that a harness"):
        TRAINER.fit(spec, lambda _: True)
    (outcome,) = TRAINER.fit_heads([spec | {"train.train_trunk": False}], lambda _n, _told: True)
    assert isinstance(outcome, SpecError)
    assert "that a harness starts" in str(outcome)


@on_cpu
@pytest.mark.slow
def test_a_run_of_two_processes_reports_and_leaves_nobody(splits, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    # What a node of Slurm, or a pod, says of its own program; nobody may listen at that port.
    for name in ("SLURM_NTASKS", "SLURM_NTASKS_PER_NODE", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, "1")
    heard, pids, told = [], [], []

    def report(epoch):
        heard.append(epoch)
        pids.extend(sorted(ranks_below(os.getpid())))
        return epoch["epoch"] < 2  # stopped there, as a pruner would

    receipt = TRAINER.fit(two(splits, tmp_path), report, progress=lambda *what: told.append(what))
    assert told[-1] == ("", 0, 0)
    assert {what for what, _, _ in told[:-1]} == {"decoding pictures"}
    assert [epoch["epoch"] for epoch in heard] == [1, 2]
    assert heard[0]["receipt"]["applied"]["train.num_gpus"] == 2
    assert receipt["epochs"] == 2
    assert len(set(pids)) == 2
    assert gone_within(pids, 1.0)
    lines = [json.loads(line) for line in (tmp_path / "status.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    again = []
    TRAINER.fit(
        two(splits, tmp_path),
        lambda epoch: again.append(epoch) or True,
        tmp_path / "ckpt/last.ckpt",
    )
    assert [(epoch["epoch"], epoch["replayed"]) for epoch in again] == [
        (1, True), (2, True), (3, False),
    ]  # fmt: skip


@on_cpu
@pytest.mark.slow
def test_what_a_report_raises_ends_both_after_their_checkpoint(splits, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    pids = []

    def report(_epoch):
        pids.extend(sorted(ranks_below(os.getpid())))
        raise SystemExit  # as Ray stops a trial

    with pytest.raises(SystemExit):
        TRAINER.fit(two(splits, tmp_path), report)
    assert len(pids) == 2
    assert gone_within(pids, 1.0)
    assert (tmp_path / "ckpt/last.ckpt").is_file()


@on_cpu
@pytest.mark.slow
@pytest.mark.parametrize("nth", [0, 1])
def test_a_killed_rank_takes_the_other_with_it(splits, tmp_path, monkeypatch, nth):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    pids = []

    def report(_epoch):
        pids.extend(sorted(ranks_below(os.getpid())))
        os.kill(pids[nth], signal.SIGKILL)
        return True

    with pytest.raises(InfrastructureError, match=r"the run's processes were lost"):
        TRAINER.fit(two(splits, tmp_path, epochs=50), report)
    assert len(pids) == 2
    assert gone_within(pids, 1.0)


RANK_1_IS_FULL = """
import os
if os.environ.get("LOCAL_RANK") == "1":
    import torch
    def backward(*args, **more):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
    torch.autograd.backward = backward
"""


@on_cpu
@pytest.mark.slow
def test_what_ends_a_rank_behind_the_first_is_told(splits, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "sitecustomize.py").write_text(RANK_1_IS_FULL)  # imported as Python starts
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DeviceMemoryError, match=r"^train\.batch_size 8 of .*: CUDA out of memory"):
        TRAINER.fit(two(splits, tmp_path / "out"), lambda _: True)


FAILS_ALONE = """
import json, os, signal, sys, time
from trainer.training import fit

def children():
    return [int(p) for p in open(f"/proc/self/task/{os.getpid()}/children").read().split()]

def report(epoch):
    (other,) = children()
    os.kill(other, signal.SIGSTOP)  # it does not react, like a process that waits for a GPU
    print(other, flush=True)
    raise OSError("the disk is full")

try:
    fit(json.load(open(sys.argv[1])), report)
except OSError:
    time.sleep(6)  # longer than Lightning's look for processes that have ended
    print("told", flush=True)
"""


@on_cpu
@pytest.mark.slow
def test_a_first_process_that_fails_alone_ends_the_others(splits, tmp_path):
    (tmp_path / "spec.json").write_text(json.dumps(two(splits, tmp_path / "out")))
    (tmp_path / "run.py").write_text(FAILS_ALONE)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, tmp_path / "run.py", tmp_path / "spec.json"],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    pid, told = done.stdout.split()
    assert told == "told", done.stderr
    assert gone_within([int(pid)], 1.0)


@on_cpu
@pytest.mark.slow
def test_ranks_end_with_the_process_that_started_them(splits, tmp_path):
    (tmp_path / "spec.json").write_text(json.dumps(two(splits, tmp_path / "out", epochs=500)))
    code = (
        "import json, sys; from trainer.session import TRAINER;"
        "TRAINER.fit(json.load(open(sys.argv[1])), lambda e: print(e['epoch'], flush=True) or True)"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    starter = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "spec.json")],
        env=environment, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert starter.stdout.readline() == b"1\n"
    pids = sorted(ranks_below(starter.pid))
    assert len(pids) == 2
    starter.kill()
    starter.wait()
    assert gone_within(pids, 10.0)
