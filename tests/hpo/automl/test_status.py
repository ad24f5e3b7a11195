"""`query_status`: from files alone, whatever they look like."""

import json
import socket
import threading
import time
from pathlib import Path

import pytest

from hpo import AutoML, AutoMLRunner, query_status
from hpo.automl.status import EMPTY
from hpo.core.errors import HpoError
from hpo.core.process.groups import boot_id
from hpo.run.run_dir import Holder, RunDir
from tests.quick_trainer import NAME

ELSEWHERE = {"pid": 2**22 + 1, "host": "another", "boot": "another"}


def is_whole(status):
    return set(EMPTY) <= set(status) and set(status["progress"]) == set(EMPTY["progress"])


def test_48_a_folder_that_is_missing_or_empty_is_told(tmp_path):
    for folder in (tmp_path / "nothing", tmp_path):
        status = query_status(folder)
        assert is_whole(status)
        assert status["status"] == "missing"
        assert str(folder) in status["message"]
        assert (status["best"], status["recommendations"]) == ({}, [])
        assert status["error"] == status["message"]


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"status": "running"}', '{"trials": [{}]}', '{"trials": 3, "best": []}',
     '{"trials": [{"trial": 0, "purpose": "search"}]}', "\x00\x01"],
)  # fmt: skip
def test_48_a_damaged_state_is_told_and_raises_nothing(tmp_path, content):
    (tmp_path / "state.json").write_text(content)
    (tmp_path / "active_jobs.json").write_text('{"active_jobs": [')
    status = query_status(tmp_path)
    assert is_whole(status)
    assert status["status"] in ("unreadable", "missing")


def test_48_every_truncation_of_a_real_state_is_survived(run):
    result = run()
    folder = Path(result["workspace_path"])
    whole = (folder / "state.json").read_text()
    for length in range(0, len(whole), 97):
        (folder / "state.json").write_text(whole[:length])
        assert is_whole(query_status(folder))
    (folder / "state.json").write_text(whole)
    assert query_status(folder)["best"]["metric_value"] == result["best"]["metric_value"]


def test_48_a_running_search_is_read_without_touching_it(run, tmp_path):
    seen, stop = [], threading.Event()

    def watch():
        while not stop.is_set():
            for folder in (tmp_path / "ws").glob("run_*"):
                seen.append(query_status(folder))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        run(settings={"automl_max_recommendations": 8}, overrides={"fault.sleep": 0.03})
    finally:
        stop.set()
        thread.join()
    assert all(is_whole(status) for status in seen)
    running = [status for status in seen if status["status"] == "running"]
    assert any(status["active_jobs"] for status in running)
    (folder,) = (tmp_path / "ws").glob("run_*")
    assert query_status(folder)["progress"]["completed"] == 8


def test_a_driver_that_is_gone_is_not_called_running(run):
    folder = Path(run()["workspace_path"])
    state = json.loads((folder / "state.json").read_text()) | {"status": "running"}
    older = {k: v for k, v in state.items() if k not in ("host", "pid_started")}
    for is_of, status in (
        (state, "running"),
        (state | {"pid": 2**22 + 1}, "stopped"),
        (state | {"pid_started": "1"}, "stopped"),  # the number of another process now
        (state | ELSEWHERE, "running"),  # whose processes nobody sees
        (state | ELSEWHERE | {"updated": time.time() - 25 * 3600}, "stopped"),
        (state | ELSEWHERE | {"boot": state["boot"]}, "stopped"),  # a container of this machine
        (older, "running"),
        (older | {"pid": 2**22 + 1}, "stopped"),
    ):
        (folder / "state.json").write_text(json.dumps(is_of))
        assert query_status(folder)["status"] == status


@pytest.mark.parametrize("holder", [Holder.SEARCH, Holder.CALLER])
@pytest.mark.parametrize(
    "more",
    [{}, {"boot": boot_id()}, {"host": socket.gethostname()}],  # a container may have that name
)
def test_a_search_elsewhere_that_holds_its_lock_runs(tmp_path, holder, more):
    state = {"status": "running", "pid": 1, "updated": 0.0, "trials": []}
    (tmp_path / "state.json").write_text(json.dumps(state | ELSEWHERE | more))
    with RunDir(tmp_path).lock(holder):
        assert query_status(tmp_path)["status"] == "running"
    assert query_status(tmp_path)["status"] == "stopped"


@pytest.mark.parametrize("path", [None, 3, "~nobody-of-this-name/x", "a\0b", "a" * 5000])
def test_48_a_path_that_is_none_raises_nothing(path):
    status = query_status(path)
    assert is_whole(status)
    assert status["status"] in ("missing", "unreadable")


def test_a_workspace_of_the_published_package_is_called_one(skill, tmp_path):
    controller = tmp_path / "theirs/.automl/controller"
    controller.mkdir(parents=True)
    rows = [{"id": 0, "specs": {}, "status": "success", "result": 0.9}]
    (controller / "abc.json").write_text(json.dumps(rows))
    folder, runner = tmp_path / "theirs", AutoMLRunner(skill_dir=skill, trainer=NAME)
    status = query_status(folder)
    assert (status["status"], status["recommendations"]) == ("unreadable", [])
    said = [status["error"]]
    for call in (
        lambda: runner.run(workspace_path=folder, resume=True),
        lambda: AutoML(folder, str(skill), trainer=NAME, settings={}),
        lambda: AutoML(folder, str(skill), trainer=NAME, settings={}, resume=True),
    ):
        with pytest.raises(HpoError) as caught:
            call()
        said.append(str(caught.value))
    assert all("is a workspace of the published package" in line for line in said)


def test_a_workspace_that_has_lost_its_study_is_not_called_the_published_packages(skill, run):
    folder = Path(run()["workspace_path"])
    for name in ("study.yaml", "state.json"):
        (folder / name).unlink()
    said = [query_status(folder)["error"]]
    for call in (
        lambda: AutoMLRunner(skill_dir=skill, trainer=NAME).run(workspace_path=folder, resume=True),
        lambda: AutoML(folder, str(skill), trainer=NAME, settings={}),
    ):
        with pytest.raises(HpoError) as caught:
            call()
        said.append(str(caught.value))
    told = f"{folder}/study.yaml: must be the study of a workspace, and is missing; restore it"
    assert said == [told] * 3
