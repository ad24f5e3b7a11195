"""The examples for Slurm and Kubernetes: their shape, and the Slurm script run on this machine."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from hpo.cli.main import build_parser
from tests.quick_cli import ROOT

CLUSTERS = ROOT / "studies" / "clusters"
SHIMS = {
    # srun's words before the command say where; here everything is one machine.
    "srun": 'echo "$@" >> "$REQUEUED.srun"; while [[ $1 == --* ]]; do shift; done; exec "$@"',
    "scontrol": 'case $1 in show) tr , "\\n" <<< "$3";; requeue) echo "$2" >> "$REQUEUED";; esac',
    "hpo": f'exec {shlex.quote(sys.executable)} -m tests.quick_cli "$@"',
    "ray": f'exec {shlex.quote(str(Path(sys.executable).with_name("ray")))} "$@"',
    "python3": f'exec {shlex.quote(sys.executable)} "$@"',
}  # fmt: skip


def kuberay():
    return yaml.safe_load((CLUSTERS / "kuberay.yaml").read_text())


def test_the_kubernetes_job_has_the_shape_of_one():
    job = kuberay()
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    pinned = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line
    )
    assert cluster["rayVersion"] == pinned["ray"]
    head, (workers,) = cluster["headGroupSpec"], cluster["workerGroupSpecs"]
    assert head["rayStartParams"] == {"num-cpus": "0"}
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    for group in (head, workers):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
        assert container["resources"]["limits"] == container["resources"]["requests"]
        assert pod["terminationGracePeriodSeconds"] >= 30


def test_what_the_kubernetes_job_runs_is_understood():
    shell, flag, script = shlex.split(kuberay()["spec"]["entrypoint"])
    assert (shell, flag) == ("bash", "-c")
    subprocess.run(["bash", "-n", "-c", script], check=True)
    found = [part.split("exec hpo ")[1].split(";")[0] for part in script.split("else ")]
    assert [words.split()[0] for words in found] == ["resume", "search"]
    for words in found:
        args = build_parser(words.split()[0]).parse_args(shlex.split(words))
        assert (args.ray_address, args.out) == ("auto", "/runs")


def test_the_slurm_script_is_bash():
    checked = subprocess.run(
        ["bash", "-n", CLUSTERS / "slurm.sbatch"], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")


class Job:
    """The Slurm script on this machine, as a job of two nodes that both are this one."""

    def __init__(self, folder):
        self.folder = folder
        tools = folder / "bin"
        tools.mkdir(exist_ok=True)
        for name, body in SHIMS.items():
            (tools / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
            (tools / name).chmod(0o755)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.env = os.environ | {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "SLURM_JOB_ID": "4711",
            "SLURM_CPUS_PER_TASK": "2",
            "SLURM_JOB_NODELIST": f"{socket.gethostbyname(socket.gethostname())},other",
            "SLURM_SUBMIT_DIR": str(folder),
            "RAY_PORT": str(port),
            "REQUEUED": str(folder / "requeued"),
            "HPO_TRAINER_MODULES": "tests",
            "HPO_LEDGER_DIR": str(folder / "driver"),
            "OMP_NUM_THREADS": "1",
        }

    def start(self, *words):
        log = (self.folder / "job.log").open("a")
        return subprocess.Popen(
            ["bash", CLUSTERS / "slurm.sbatch", *words],
            cwd=self.folder, env=self.env, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip

    def events(self):
        found = list((self.folder / "runs/job-4711").glob("*/events.ndjson"))
        return [json.loads(line) for path in found for line in path.read_text().splitlines()]

    def await_epoch(self, process, trial, seconds=400):
        until = time.monotonic() + seconds
        while time.monotonic() < until and process.poll() is None:
            if any(e["event"] == "epoch" and e["trial"] >= trial for e in self.events()):
                return
            time.sleep(0.2)
        raise AssertionError((self.folder / "job.log").read_text()[-3000:])


@pytest.mark.slow
@pytest.mark.ray
def test_a_slurm_job_that_is_preempted_is_queued_again_and_goes_on(tmp_path):
    job = Job(tmp_path)
    (tmp_path / "study.yaml").write_text(
        "schema_version: 1\nname: quick\ntrainer: tests.quick_trainer:TRAINER\n"
        "spec: {fault.sleep: 0.2}\nsearch: {pruner: none}\nbudget: 6\n"
    )
    process = job.start("study.yaml", "--no-report")
    try:
        job.await_epoch(process, 2)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)  # to the batch shell alone, as `--signal=B:TERM` has it
        assert process.wait(120) == 130, (tmp_path / "job.log").read_text()[-3000:]
        took = time.monotonic() - began
        assert (tmp_path / "requeued").read_text() == "4711\n"
        steps = (tmp_path / "requeued.srun").read_text().splitlines()
        assert len(steps) == 2
        assert all(" --cpus-per-task=2 " in step for step in steps)
        assert job.events()[-1]["event"] == "interrupted"
        first = len(job.events())
        again = job.start("study.yaml", "--no-report")
        try:
            assert again.wait(400) == 0, (tmp_path / "job.log").read_text()[-3000:]
        finally:
            end_group(again)
    finally:
        end_group(process)
    (finished,) = [e for e in job.events() if e["event"] == "finished"]
    assert finished["trials"] == {"complete": 6, "pruned": 0, "failed": 0}
    resumed = [e for e in job.events()[first:] if e["event"] == "trial_started"]
    assert resumed[0]["resumed_from_epoch"] >= 1
    assert took < 60, took  # thirty seconds on a machine that has nothing else to do


def end_group(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()
