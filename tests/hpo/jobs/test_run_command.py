import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hpo.core.errors import SpecError
from hpo.core.process import children
from hpo.jobs.compose_spec import JobRequest
from hpo.jobs.job import read_job
from hpo.jobs.platform import LocalJobs
from hpo.jobs.run_command import command_of, run_job, start_worker
from tests.hpo.jobs.conftest import run


def prepared(jobs, data):
    return jobs.prepare_job(JobRequest(action="train", roots={"train_dataset_uri": str(data)}))


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def test_a_job_keeps_its_log_its_printed_values_and_its_exit_code(jobs, data):
    heard = []
    job = run_job(prepared(jobs, data), lambda stream, line: heard.append((stream, line)))
    assert (job.status, job.exit_code, job.message) == ("success", 0, "")
    assert job.result["best_value"] == 0.9
    assert ("stdout", "best_value: 0.9") in heard
    assert ("stderr", "epoch 1") in heard
    assert set(job.log_file.read_text().splitlines()) >= {"epoch 1", "best_value: 0.9"}
    assert read_job(job.folder) == job
    assert job.started <= job.ended


def test_what_the_user_can_mend_is_kept_as_one_line(jobs, data, monkeypatch):
    monkeypatch.setenv("FAKE_FAULT", "user")
    job = run_job(prepared(jobs, data))
    assert (job.status, job.exit_code) == ("failure", 2)
    assert job.message == "ml_recog train: error: dataset: no such pictures"


def test_a_killed_command_is_a_failure_that_says_so(jobs, data, monkeypatch):
    monkeypatch.setenv("FAKE_FAULT", "die")
    job = run_job(prepared(jobs, data))
    assert (job.status, job.exit_code, job.message) == ("failure", -9, "killed by SIGKILL")


def test_a_command_that_cannot_be_started_is_a_failure(jobs, data, tmp_path):
    script = tmp_path / "broken"
    script.write_text("no program")
    script.chmod(0o755)
    job = run_job(replace(prepared(jobs, data), command=[str(script)]))
    assert job.status == "failure"
    assert "cannot be started" in job.message


def test_a_worker_outlives_its_maker_and_reports(jobs, data):
    job = prepared(jobs, data)
    start_worker(job).wait(timeout=30)
    assert read_job(job.folder).status == "success"


def test_a_job_counts_as_running_while_its_command_lives(jobs, data, monkeypatch):
    monkeypatch.setenv("FAKE_FAULT", "hang")
    job = prepared(jobs, data)
    worker = start_worker(job)
    wait_for(lambda: read_job(job.folder).pid)
    worker.kill()
    worker.wait()
    assert read_job(job.folder).status == "running"
    os.killpg(read_job(job.folder).pid, signal.SIGKILL)
    wait_for(lambda: read_job(job.folder).status == "failure")
    assert read_job(job.folder).message == "its process is gone without a result (killed?)"


def test_a_signal_is_passed_on_to_the_command(jobs, data, monkeypatch):
    monkeypatch.setenv("FAKE_FAULT", "hang")
    job = prepared(jobs, data)
    worker = start_worker(job)
    wait_for(lambda: "epoch 1" in (job.log_file.read_text() if job.log_file.is_file() else ""))
    worker.terminate()
    worker.wait(timeout=20)
    assert read_job(job.folder).status == "canceled"


def test_a_job_whose_terminal_closes_is_canceled_and_can_go_on(
    skill, data, tmp_path, sighup_as_in_a_terminal
):
    root = tmp_path / "work"
    root.mkdir()
    words = ["job", "train", "--skill-dir", skill, "--root", root, "--data", data]
    process = subprocess.Popen(
        [str(children.COMMANDS / "hpo"), *map(str, words), "--set", "num_epochs=3"],
        env=children.environment() | {"FAKE_FAULT": "hang"}, stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    job = root / "results" / "train-1"
    log = job / "log.txt"
    wait_for(lambda: "epoch 1" in (log.read_text() if log.is_file() else ""))
    command = read_job(job).pid
    for _ in range(2):  # as the kernel and the shell do
        process.send_signal(signal.SIGHUP)
    assert process.wait(20) == 130
    assert read_job(job).status == "canceled"
    assert not Path(f"/proc/{command}").exists()
    jobs = LocalJobs(root, skill)
    done = jobs.run(jobs.prepare_resume("train-1"))
    assert done.status == "success"
    assert "epoch 3" in log.read_text()


def test_a_job_runs_in_a_thread_too(jobs, data):
    ended = []
    thread = threading.Thread(target=lambda: ended.append(run(jobs, "train", data)))
    thread.start()
    thread.join(30)
    assert ended[0].status == "success"


def test_commands_are_split_as_a_shell_would(tmp_path):
    words = command_of(f"{sys.executable} -c 'a b' -e {{config_path}}", tmp_path / "my spec.yaml")
    assert words == [sys.executable, "-c", "a b", "-e", str(tmp_path / "my spec.yaml")]


@pytest.mark.parametrize("line", ["", "no-such-program-here -e {config_path}", "python train.py"])
def test_a_skill_without_a_usable_command(line, tmp_path):
    with pytest.raises(SpecError, match="^command: "):
        command_of(line, tmp_path)


def test_the_worker_module_runs_a_folder(jobs, data):
    job = prepared(jobs, data)
    command = children.own("hpo.jobs.run_command", str(job.folder))
    done = subprocess.run(command, env=children.environment(), check=False)
    assert done.returncode == 0


def test_what_a_command_leaves_behind_does_not_keep_its_job(jobs, data, tmp_path, monkeypatch):
    monkeypatch.setattr("hpo.jobs.run_command._LAST_WORDS_S", 0.3)
    script = tmp_path / "leaves_one"
    script.write_text("#!/bin/sh\necho score: 0.5\nsetsid sleep 30 & echo $! > left\n")
    script.chmod(0o755)
    began = time.monotonic()
    job = run_job(replace(prepared(jobs, data), command=[str(script)], cwd=str(tmp_path)))
    assert time.monotonic() - began < 20
    assert (job.status, job.result) == ("success", {"score": 0.5})
    os.kill(int((tmp_path / "left").read_text()), signal.SIGKILL)
