"""Local processes as the jobs of a platform."""

import json
import os
import shutil
import signal
import subprocess
import threading
import time

import pytest

from hpo.core.errors import RunError, SpecError
from hpo.core.process.groups import is_alive
from hpo.jobs.processes import ProcessPlatform
from hpo.run.lock_file import hold

SCRIPT = """
import json, sys
from pathlib import Path
file, results, job = sys.argv[2:]
spec = json.loads(Path(file).read_text())
Path(results, "metrics.json").write_text(json.dumps({"score": spec["a"]["b"] * 2}))
print("ran", job, "in", Path.cwd().name)
sys.exit(spec["a"]["exit"])
"""


@pytest.fixture
def jobs(tmp_path):
    return ProcessPlatform(tmp_path / "jobs")


def ended(jobs, job_id):
    limit = time.monotonic() + 60
    while (job := jobs.get_job_status(job_id)).status == "Running":
        assert time.monotonic() < limit
        time.sleep(0.02)
    return job


def test_a_command_runs_with_its_own_variables(jobs, tmp_path):
    job = jobs.create_job(
        "any:1", "echo seed=$SEED gpus=$CUDA_VISIBLE_DEVICES; echo hi > $RESULTS_DIR/x",
        env_vars={"SEED": "7"}, gpu_ids=[1, 3],
    )  # fmt: skip
    assert ended(jobs, job.id).status == "Complete"
    assert jobs.get_job_logs(job.id) == "seed=7 gpus=1,3\n"
    assert jobs.read_job_result_file(job.id, "x") == "hi\n"
    assert jobs.read_job_result_file(job.id, "../job.json") is None
    copy = ProcessPlatform(shutil.copytree(jobs.work_dir, tmp_path / "copy"))
    assert copy.delete_job_artifacts(job.id) is True
    assert not (tmp_path / "copy" / job.id / "results").exists()
    assert jobs.read_job_result_file(job.id, "x") == "hi\n"
    assert jobs.delete_job_artifacts(job.id) is True
    assert jobs.read_job_result_file(job.id, "x") is None
    again = ProcessPlatform(jobs.work_dir)
    assert again.get_job_status(job.id).status == "Complete", "another process knows it too"


@pytest.mark.parametrize(("code", "status"), [(0, "Complete"), (3, "Error")])
def test_a_script_gets_its_spec_and_its_folder(jobs, tmp_path, code, status):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    job = jobs.create_python_job(
        script=str(script), specs={"a": {"b": 21, "exit": code}}, config_format="json",
        script_args=["--config", "{config_path}", "{results_dir}", "{job_id}"], cwd=str(tmp_path),
    )  # fmt: skip
    assert ended(jobs, job.id).status == status
    assert json.loads(jobs.read_job_result_file(job.id, "metrics.json")) == {"score": 42}
    assert jobs.get_job_logs(job.id, tail=1) == f"ran {job.id} in {tmp_path.name}"
    assert jobs.get_failure_analysis(job.id)["exit_code"] == code


def test_a_job_is_canceled(jobs):
    job = jobs.create_job("", "sleep 60")
    assert jobs.cancel_job(job.id).status == "Canceled"
    assert ended(jobs, job.id).status == "Canceled"


def test_a_job_has_the_name_that_it_is_asked_to_have(jobs):
    assert jobs.create_job("", "true", name="mine-0").id == "mine-0"
    with pytest.raises(RunError, match="mine-0: there is such a job"):
        jobs.create_job("", "true", name="mine-0")
    for wrong in ("../mine", ".mine"):
        with pytest.raises(SpecError, match="name: must be usable as a folder name"):
            jobs.create_job("", "true", name=wrong)


@pytest.mark.parametrize("has_begun", [True, False])
def test_a_start_that_was_cut_off_is_known(jobs, monkeypatch, has_begun):
    """Before, a process that ran had no record, and a search started another beside it."""
    start = subprocess.Popen

    def cut(*words, **more):
        if has_begun:
            start(*words, **more)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", cut)
    with pytest.raises(KeyboardInterrupt):
        jobs.create_job("", "sleep 60", name="mine-0")
    monkeypatch.undo()
    later = ProcessPlatform(jobs.work_dir)
    if has_begun:
        with pytest.raises(RunError, match="there is such a job"):
            later.create_job("", "sleep 60", name="mine-0")
        while not later.get_job_status("mine-0").pid:
            time.sleep(0.02)
        pid = later.cancel_job("mine-0").pid
        assert not is_alive(pid)
    else:
        with pytest.raises(RunError, match="no such job"):
            later.get_job_status("mine-0")
        assert ended(later, later.create_job("", "true", name="mine-0").id).status == "Complete"


def test_a_job_that_was_ended_before_its_first_step_is_known(jobs):
    job = jobs.create_job("", "sleep 60", name="mine-0")
    jobs.cancel_job(job.id)
    (jobs.work_dir / job.id / "pid").unlink(missing_ok=True)
    assert ProcessPlatform(jobs.work_dir).get_job_status(job.id).status == "Canceled"


def test_a_job_that_is_being_started_is_canceled_once_it_has_a_number(jobs, monkeypatch):
    """Before, the number 0 was ended: the caller's own processes."""
    job = jobs.create_job("", "true", name="mine-0")
    ended(jobs, job.id)
    folder, later = jobs.work_dir / job.id, ProcessPlatform(jobs.work_dir)
    record = json.loads((folder / "job.json").read_text()) | {"pid": 0}
    (folder / "job.json").write_text(json.dumps(record))
    (folder / "exit_code").unlink()
    (folder / "pid").write_text("")  # as the shell begins to write it
    told = []
    monkeypatch.setattr(os, "killpg", lambda *words: told.append(words))
    monkeypatch.setattr("hpo.jobs.processes.STOP_WITHIN_S", 0.05)
    with hold(folder / ".lock", lambda: "taken"):
        with pytest.raises(RunError, match="mine-0: is being started by another process"):
            later.cancel_job(job.id)
        assert (later.get_job_status(job.id).status, told) == ("Running", [])
        monkeypatch.undo()
        other = subprocess.Popen(["sleep", "60"], start_new_session=True)
        timer = threading.Timer(0.05, (folder / "pid").write_text, [f"{other.pid}\n"])
        timer.start()
        assert later.cancel_job(job.id).status == "Canceled"
    assert other.wait() == -signal.SIGTERM


def test_a_process_with_the_number_of_one_that_is_gone_is_none_of_the_jobs(jobs):
    """As after a reboot; before, such a job ran for ever, and canceling it ended the other."""
    job = jobs.create_job("", "true")
    ended(jobs, job.id)
    (jobs.work_dir / job.id / "exit_code").unlink()
    other = subprocess.Popen(["sleep", "60"], start_new_session=True)
    record = jobs.work_dir / job.id / "job.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"pid": other.pid}))
    later = ProcessPlatform(jobs.work_dir)
    assert later.get_job_status(job.id).status == "Error"
    assert later.cancel_job(job.id).status == "Error"
    assert other.poll() is None
    (jobs.work_dir / job.id / ".lock").unlink()  # as earlier releases left their jobs
    assert later.get_job_status(job.id).status == "Running"
    other.kill()
    other.wait()


def test_what_cannot_be_run_is_refused(jobs, tmp_path):
    with pytest.raises(SpecError, match="command: must be given"):
        jobs.create_job("image", " ")
    with pytest.raises(SpecError, match=r"data.train: must lie on this machine"):
        jobs.create_python_job(script="x.py", specs={"data": {"train": "s3://b/k"}},
                               inputs={"data.train": {}})  # fmt: skip
    with pytest.raises(SpecError, match="venv_path"):
        ProcessPlatform(tmp_path, venv_path=tmp_path / "none")
    with pytest.raises(RunError, match="no such job"):
        jobs.get_job_status("../job")


def test_inputs_by_file_addresses_are_paths(jobs, tmp_path):
    script = tmp_path / "show.py"
    script.write_text("import sys; print(open(sys.argv[1]).read())")
    specs = {"data": {"train": "file:///lot%20of%20data", "val": "/v", "more": ["/w"]}, "n": 3}
    job = jobs.create_python_job(
        script=str(script), specs=specs, config_format="json", script_args=["{config_path}"],
        inputs={"data.train": {}, "data.val": {}, "data.more": {}, "data.none": {}},
    )  # fmt: skip
    assert ended(jobs, job.id).status == "Complete"
    specs["data"]["train"] = "/lot of data"
    assert json.loads(jobs.get_job_logs(job.id)) == specs


def test_a_job_that_ignores_being_asked_is_ended_all_the_same(jobs, monkeypatch):
    monkeypatch.setattr("hpo.jobs.processes.STOP_WITHIN_S", 0.5)
    job = jobs.create_job("any:1", "trap '' TERM; echo deaf; while :; do sleep 0.1; done")
    while not jobs.get_job_logs(job.id):
        time.sleep(0.02)
    assert jobs.cancel_job(job.id).status == "Canceled"
    assert not is_alive(job.pid)
