"""`hpo search` as a process: what is on stdout, on stderr, and the exit code."""

import os
import signal
from pathlib import Path

import pytest

from tests.quick_cli import call, events_of, write_study


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """One search with --json: (folder, stdout, stderr); one trial fails, one is confirmed.

    Its folder is called as no address of a database may spell it.
    """
    folder = tmp_path_factory.mktemp("search") / "exp#1 my%20runs what?"
    folder.mkdir()
    write_study(folder, fault__kind="raise@1:2")
    code, out, err = call(
        folder, "search", "study.yaml", "--budget", "5", "--confirm", "1", "--in-process", "--json"
    )
    assert code == 0, err
    return folder, out, err


def test_stdout_holds_events_and_nothing_else(searched):
    events = events_of(searched[1])
    assert events[0]["event"] == "started"
    assert events[-1]["event"] == "finished"
    assert [e["event"] for e in events].count("finished") == 1
    assert all(isinstance(e["time"], float) for e in events)


def test_the_last_line_names_files_that_are_there(searched):
    finished = events_of(searched[1])[-1]
    best = finished["best"]
    for path in (finished["run_dir"], best["spec"], best["checkpoint"], best["onnx"]):
        assert Path(path).is_absolute()
        assert Path(path).exists()
    assert {"trial", "value", "params", "spec", "checkpoint", "onnx"} <= set(best)


def test_three_counts_that_sum_to_the_budget(searched):
    finished = events_of(searched[1])[-1]
    assert set(finished["trials"]) == {"complete", "pruned", "failed"}
    assert sum(finished["trials"].values()) == 5
    assert finished["trials"]["failed"] == 1
    assert finished["confirmations"] >= 1
    assert finished["suspended"] == 0


def test_people_read_stderr(searched):
    _, _, err = searched
    assert "Traceback" not in err
    lines = err.splitlines()
    assert lines[0].startswith("run       /")
    assert any(line.startswith("trial   1  failed ") for line in lines)
    assert any(line.startswith("best      trial ") for line in lines)
    assert "{" not in err.replace("{low", "")


def test_without_json_stdout_is_empty(hpo, tmp_path):
    write_study(tmp_path)
    code, out, err = hpo("search", "study.yaml", "--budget", "2", "--in-process")
    assert (code, out) == (0, "")
    assert "finished  " in err


def test_folders_of_runs_hold_runs_and_dot_folders_alone(searched):
    folder = searched[0] / "runs"
    visible = [p.name for p in folder.iterdir() if not p.name.startswith(".")]
    assert visible == ["quick"]


BAD = [
    (("none.yaml",), "none.yaml: no such file"),
    (("study.yaml", "--budget", "5x"), "budget: '5x' is not understood"),
    (("study.yaml", "--budget", "0"), "a positive whole number"),
    (("study.yaml", "--set", "train.nothing=1"), "spec: train.nothing: unknown key"),
    (("study.yaml", "--set", "trian.lr=1"), "spec: trian: unknown key"),
    (("study.yaml", "--algorithm", "magic"), "search.algorithm: must be one of"),
    (("study.yaml", "--pruner", "magic"), "search.pruner: must be one of"),
    (("study.yaml", "--range", "train.lr=5..1"), "train.lr"),
    (("study.yaml", "--range", "train.lr=a..b"), "--range train.lr=a..b: must be"),
    (("study.yaml", "--fix", "train.nothing=1"), "train.nothing"),
    (("study.yaml", "--train", "a", "--query", "b"), "reference missing"),
    (("study.yaml", "--weights", "none.pth"), "none.pth does not exist; name a file of weights"),
    (("study.yaml", "--name", "a/b"), "--name: must be usable as a folder name"),
    (("study.yaml", "--out", "study.yaml"), "cannot hold run directories"),
    (("wrong.yaml",), "wrong.yaml: unknown key 'bugdet'; did you mean 'budget'?"),
    (("broken.yaml",), "broken.yaml (line 3): is not valid YAML"),
    (("nobody.yaml",), "no trainer is registered as 'nobody'"),
    (("study.yaml", "--nosuch"), "--nosuch: no such flag"),
    (("study.yaml", "--seed", "x"), "--seed: must be a whole number, got 'x'"),
    (("gone.yaml",), "trainer: must be the name of a registered trainer, got 'gone.away:T'"),
]


@pytest.fixture
def studies(tmp_path):
    write_study(tmp_path)
    head = "schema_version: 1\n"
    (tmp_path / "wrong.yaml").write_text(head + "bugdet: 5\n")
    (tmp_path / "broken.yaml").write_text(head + "a: [1\n")
    (tmp_path / "nobody.yaml").write_text(head + "trainer: nobody\n")
    (tmp_path / "gone.yaml").write_text(head + "trainer: gone.away:T\n")
    return tmp_path


@pytest.mark.parametrize(("argv", "said"), BAD)
def test_bad_input_is_one_line_and_no_run(hpo, studies, argv, said):
    code, out, err = hpo("search", *argv, "--in-process", "--json")
    assert code == 2
    (line,) = err.splitlines()
    assert line.startswith("hpo search: ")
    assert said in line
    (event,) = events_of(out)
    assert event["event"] == "error"
    assert said in event["message"]
    assert list(studies.glob("runs/*/*")) == []


def test_gpu_hours_without_a_gpu(hpo, studies, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    code, _, err = hpo("search", "study.yaml", "--budget", "3gpuh", "--in-process")
    assert code == 2
    assert "GPU hours need a GPU" in err


def test_signals_are_given_back(hpo, studies):
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    hpo("search", "none.yaml")
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before
    os.write(1, b"")  # fd 1 is still open
