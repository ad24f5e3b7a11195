"""`query_status`: from files alone, whatever they look like."""

import json
import threading
from pathlib import Path

import pytest

from hpo import query_status
from hpo.automl.status import EMPTY


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
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps(state | {"status": "running", "pid": 2**22 + 1}))
    assert query_status(folder)["status"] == "stopped"
