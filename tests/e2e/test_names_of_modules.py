"""The whole way from pictures to jobs in a folder whose files have the names of modules."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest
import yaml

from hpo.core.process import children
from tests.hpo.core.process.hostile import install_commands, make_folder, variables
from tests.trainer.tiny import make_splits, train_spec

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.skipif(torch.cuda.is_available(), reason="two processes on the CPU are tested"),
]

TINY = [
    word
    for name, value in {
        "model.backbone": "timm/test_resnet", "model.input_width": 32, "model.input_height": 32,
        "train.num_epochs": 1, "train.batch_size": 8, "dataset.workers": 0,
    }.items()
    for word in ("--set", f"{name}={value}")
]  # fmt: skip


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """The folder, with pictures, and what runs a command in it."""
    folder = make_folder(tmp_path_factory.mktemp("names"))
    splits = make_splits(folder / "pictures")
    commands = tmp_path_factory.mktemp("bin")
    install_commands(commands)
    cache = str(tmp_path_factory.mktemp("cache"))
    environment = variables(
        f"{folder / 'elsewhere'}:",
        PYTHONWARNINGS="error",
        HPO_MLFLOW="on",
        HPO_CACHE_DIR=cache,
        OMP_NUM_THREADS="1",
        PATH=f"{commands}:{os.environ['PATH']}",
    )

    def run(*command):
        return subprocess.run(
            [str(word) for word in command], cwd=folder, env=environment, capture_output=True,
            text=True, timeout=600, check=False,
        )  # fmt: skip

    return folder, splits, run, environment


@pytest.fixture(scope="module")
def searched(desk):
    _, splits, run, _ = desk
    data = [word for name, path in splits.items() for word in (f"--{name}", path)]
    return run("hpo", "search", *data, *TINY, "--budget", "2", "--name", "n", "--yes", "--json")


def test_a_search_ends_with_a_checked_model(searched):
    assert searched.returncode == 0, searched.stderr
    finished = json.loads(searched.stdout.splitlines()[-1])
    assert finished["trials"]["complete"] == 2
    assert Path(finished["best"]["onnx"]).is_file()
    assert "Traceback" not in searched.stderr
    assert "MLflow" not in searched.stderr


def test_the_page_is_served(desk, searched):
    folder, _, _, environment = desk
    command = ["hpo", "ui", "--json", "--port", "0"]
    page = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        links = json.loads(page.stdout.readline() or "{}")
        assert set(links) == {"trials", "charts", "search"}, page.stderr.read()
        base = links["trials"].partition("#")[0]
        with urllib.request.urlopen(base) as answer:  # noqa: S310 - 127.0.0.1
            assert answer.status == 200
    finally:
        page.send_signal(signal.SIGTERM)
        _, err = page.communicate(timeout=60)
    assert (page.returncode, err) == (0, b"")


def test_a_job_evaluates_the_winner(desk, searched):
    _, _, run, _ = desk
    done = run(
        "hpo", "job", "evaluate", "--parent", "runs/n", "--set", "dataset.workers=0", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "success"


def two(splits, folder):
    devices = {"train__num_gpus": 2, "train__gpu_ids": [0, 1], "train__batch_size": 8}
    return train_spec(splits, folder, train__num_epochs=1, **devices)


def test_two_processes_train_from_the_command(desk):
    folder, splits, run, _ = desk
    (folder / "spec.yaml").write_text(yaml.safe_dump(two(splits, folder / "two")))
    done = run("ml_recog", "train", "-e", "spec.yaml")
    assert done.returncode == 0, done.stderr
    assert "training in 2 processes on the CPU" in done.stderr
    assert (folder / "two" / "train" / "ckpt" / "last.ckpt").is_file()


def test_two_processes_train_from_a_process_that_is_neither(desk):
    folder, splits, run, environment = desk
    (folder / "fit.json").write_text(json.dumps(two(splits, folder / "harness")))
    (folder / "elsewhere" / "fit.py").write_text(
        "import json\nfrom trainer.session import TRAINER\n"
        "def main(words):\n    receipt = TRAINER.fit(json.load(open('fit.json')), lambda _: True)\n"
        "    return 0 if receipt['epochs'] == 1 else 1\n"
    )
    done = run(*children.own("fit"))
    assert done.returncode == 0, done.stderr
