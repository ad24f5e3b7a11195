"""The check on a GPU, its steps with tiny sizes on a CPU."""

import json
import logging
import sys
import time

import pytest
import torch

from tests.gpu.smoke import STEPS, Context, read_entry, run_all, run_alone, write_entry

SEVERAL_PROCESSES = {
    "four trials at once", "two processes, one share each", "two devices", "search",
}  # fmt: skip
PACKED = "search, trials per GPU"


@pytest.fixture(autouse=True)
def _settings_are_put_back():
    """Steps have a process of their own, and so set what holds for all of it."""
    logger, threads = logging.getLogger("trainer"), torch.get_num_threads()
    level = logger.level
    yield
    logger.setLevel(level)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    return Context(out=tmp_path_factory.mktemp("smoke"), tiny=True)


@pytest.mark.parametrize("name", [name for name in STEPS if name not in SEVERAL_PROCESSES])
def test_a_step_runs(context, name):
    entry = STEPS[name].run(context)
    if name == PACKED:
        assert entry["state"] == "skipped"
        assert "without a GPU" in entry["why"]
    else:
        assert entry["state"] == "done", entry
        json.dumps(entry)


@pytest.mark.slow  # what they time is tested with the trainer, the heads and whole searches
@pytest.mark.parametrize("name", sorted(SEVERAL_PROCESSES))
def test_a_step_of_several_processes_runs(context, name):
    entry = STEPS[name].run(context)
    assert entry["state"] == "done", entry


@pytest.mark.parametrize(
    ("package", "name"),
    [
        ("pytorch_metric_learning", "frozen features"),
        ("onnxruntime", "engine"),
        ("optuna", "search"),
    ],
)
def test_a_step_without_its_package_is_skipped(context, monkeypatch, package, name):
    monkeypatch.setitem(sys.modules, package, None)
    entry = STEPS[name].run(context)
    assert (entry["state"], entry["why"]) == ("skipped", f"{package} is not installed")


def test_what_ended_is_not_run_again_and_the_rest_is(tmp_path, capsys):
    for name in STEPS:
        write_entry(tmp_path, name, {"state": "done", "figures": {"a": 1}, "seconds": 2.0})
    write_entry(tmp_path, "engine", {"state": "skipped", "why": "onnx is not installed"})
    write_entry(tmp_path, PACKED, {"state": "failed", "why": "took more than 9 s", "seconds": 9})
    assert run_all(tmp_path, tiny=True, seconds=600, only=list(STEPS)) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["machine"]["figures"] == {"a": 1}
    assert result[PACKED]["state"] == "skipped"  # it was run, in a process of its own
    assert "| engine | 0 | skipped: onnx is not installed |" in (tmp_path / "table.md").read_text()
    assert "| machine | 2 | a 1 |" in capsys.readouterr().out


def test_a_step_for_which_no_time_is_left_is_left_for_the_next_call(tmp_path):
    assert run_all(tmp_path, tiny=False, seconds=0, only=["machine", "engine"]) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert {entry["state"] for entry in result.values()} == {"not begun"}
    assert read_entry(tmp_path, "machine") is None


def test_a_step_that_takes_too_long_is_ended(tmp_path):
    began = time.monotonic()
    entry = run_alone("neighbours", tmp_path, tiny=True, seconds=0.05)
    assert entry["state"] == "failed"
    assert "took more than" in entry["why"]
    assert time.monotonic() - began < 20


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_step_that_fails_says_why_and_makes_the_check_fail(tmp_path):
    assert run_all(tmp_path, tiny=False, seconds=600, only=["machine"]) == 1
    told = "failed: AssertionError: torch sees no CUDA GPU here"
    assert told in (tmp_path / "table.md").read_text()
