import json
import shlex
import time

import pytest

from hpo.cli.main import main
from tests.hpo.jobs.conftest import SPLITS, make_skill


@pytest.fixture(scope="module")
def skill(tmp_path_factory):
    return make_skill(tmp_path_factory.mktemp("skills") / "recog")


@pytest.fixture
def there(tmp_path, skill, monkeypatch):
    """A working folder with data, in which `hpo job` runs a skill without torch."""
    for split in SPLITS:
        (tmp_path / "data" / split / "a").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def call(there, skill, capfd):
    def run(*words):
        code = main(
            [
                "job",
                *words,
                *(["--skill-dir", str(skill)] if words[:2] == ("train", "--data") else []),
            ]
        )
        out, err = capfd.readouterr()
        return code, out, err

    return run


def test_a_chain_by_job_id_alone(call):
    code, out, err = call("train", "--data", "data", "--set", "num_epochs=3")
    assert (code, out.splitlines()[-2:][0]) == (0, "job: train-1")
    assert "best_value: 0.9" in out
    for action, parent in (
        ("export", "train-1"), ("gen_trt_engine", "export-1"), ("evaluate", "gen_trt_engine-1"),
    ):  # fmt: skip
        code, out, err = call(action, "--parent", parent)
        assert code == 0, err
    assert "evaluate.trt_engine = " in err
    assert "(gen_trt_engine-1 gen_trt_engine.trt_engine)" in err
    code, out, _ = call("ls")
    assert [line.split()[0] for line in out.splitlines()[1:]] == [
        "train-1", "export-1", "gen_trt_engine-1", "evaluate-1",
    ]  # fmt: skip
    assert "val_precision_at_1 0.5" in out


def test_json_is_one_document_with_absolute_paths(call, there):
    code, out, err = call("train", "--data", "data", "--json")
    job = json.loads(out)
    assert (code, job["status"], job["results_dir"]) == (
        0,
        "success",
        str(there / "results/train-1"),
    )
    assert job["result"]["best_value"] == 0.9
    assert err == ""


def test_a_dry_run_shows_the_spec_and_leaves_nothing(call, there):
    code, out, err = call("train", "--data", "data", "--dry-run")
    assert code == 0
    assert f"train_dataset: {there}/data/known_classes/train" in out
    assert not list((there / "results").iterdir())
    code, out, _ = call("train", "--data", "data", "--dry-run", "--json")
    assert json.loads(out)["spec"]["dataset"]["train_dataset"].endswith("known_classes/train")


def test_a_detached_job_is_looked_at_later(call):
    root = ["--root", "my jobs"]
    code, out, _ = call("train", "--data", "data", "--detach", *root)
    command = "hpo job status train-1 --root 'my jobs'"
    assert (code, out) == (0, f"train-1: started; `{command}` tells how it stands\n")
    for _ in range(200):
        status = json.loads(call(*shlex.split(command)[2:], "--json")[1])["status"]
        if status not in ("pending", "running"):
            break
        time.sleep(0.05)
    assert status == "success"
    lines = call("logs", "train-1", *root)[
        1
    ].splitlines()  # of two streams, in the order of reading
    assert "started_from: nothing" in lines
    assert call("logs", "train-1", "--tail", "3", *root)[1].splitlines() == lines[-3:]
    assert json.loads(call("logs", "train-1", "--json", *root)[1])["lines"][0] == "ready"
    assert call("ls")[1].endswith("`hpo job train --data ROOT` makes one\n"), "not those of here"
    assert "best_value" in call("status", "train-1", *root)[1]
    said = "hpo job: train-1: is not running (success), so there is nothing to stop\n"
    assert call("stop", "train-1", *root) == (2, "", said)


def test_a_training_is_resumed_in_its_folder(call):
    call("train", "--data", "data", "--set", "num_epochs=2")
    code, out, _ = call("train", "--resume", "train-1", "--set", "num_epochs=4")
    assert code == 0
    assert "train/ckpt/last.ckpt" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate", "--parent", "train-7"], "train-7: no such search, nor a job of that id in"),
        (
            ["evaluate", "train-1"],
            "an action takes no job id; to start from a job, --parent train-1",
        ),
        (
            ["evaluate", "--parent", "train-1", "--checkpoint", "worst"],
            "checkpoint: must be best_model",
        ),
        (
            ["evaluate", "--parent", "train-1", "--data-format", "coco"],
            "data_format: must be 'default'",
        ),
        (
            ["evaluate", "--parent", "train-1", "--set", "evaluate.topp=1"],
            "did you mean 'evaluate.topk'",
        ),
        (["evaluate", "--parent", "train-1", "--eval-data", "none"], "no such folder or archive"),
        (["export", "--resume", "train-1"], "--resume train-1: is a job of train, not of export"),
        (["prune", "--parent", "train-1"], "prune: no such action"),
        (["status"], "status: needs a job id"),
        (["logs", "train-1", "--tail", "0"], "--tail: must be at least 1"),
        (
            ["train", "--resume", "train-1", "--dry-run", "--data", "data", "--eval-data", "data"],
            "--data, --eval-data, --dry-run: not used with --resume; leave it out",
        ),
        (["train", "--resume", "train-1", "--parent", "x"], "--parent: not used with --resume"),
        (["export", "--resume", "train-1", "--checkpoint", "2"], "--checkpoint: not used with"),
        (
            ["train", "--data", "data", "--dry-run", "--detach"],
            "--detach: not used with --dry-run, which starts nothing; leave it out",
        ),
        (["ls", "train-1"], "ID: not used by `hpo job ls`; leave it out"),
        (["status", "train-1", "--set", "a=1"], "--set: not used by `hpo job status`"),
        (["train", "--data", "data", "--tail", "3"], "--tail: not used by `hpo job train`"),
        (["train", "--set", "nonsense"], "--set: key=value must be given"),
        (["train"], "train: no data given for dataset.train_dataset"),
    ],
)
def test_wrong_input_is_one_line(call, words, said):
    call("train", "--data", "data")
    code, out, err = call(*words)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(("fault", "wanted"), [("user", 2), ("die", 1)])
def test_exit_codes_are_those_of_the_action(call, monkeypatch, fault, wanted):
    monkeypatch.setenv("FAKE_FAULT", fault)
    code, _, err = call("train", "--data", "data")
    assert code == wanted
    assert "train-1: failure after" in err
    assert "log: " in err


def test_an_empty_list_says_how_to_make_a_job(call):
    code, out, _ = call("ls")
    assert code == 0
    assert out.startswith("no jobs below ")
    assert json.loads(call("ls", "--json")[1]) == []
