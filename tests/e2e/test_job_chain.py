"""From pictures to an INT8 engine and its figures as jobs, each started by the id of the one before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hpo.cli.job import _prepared
from hpo.cli.main import build_parser
from hpo.jobs import LocalJobs
from hpo.jobs.run_command import _Lines
from tests.e2e.shop import make_shop, small_flags
from trainer.cli import main as trainer_main

ROOT = Path(__file__).resolve().parents[2]
CLASSES = 4


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    make_shop(folder, CLASSES)
    return folder


class Processes:
    """Jobs as a user runs them: every action is a process of its own."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, *words):
        done = subprocess.run(
            [sys.executable, "-m", "hpo.cli.main", "job", *words, "--json"],
            cwd=self.folder, capture_output=True, text=True, timeout=600, check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT), "HPO_CACHE_DIR": str(self.folder / "cache")},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
        return json.loads(done.stdout)


class OneProcess:
    """The same specs and command lines, run here one after the other: torch is imported once."""

    def __init__(self, folder, capfd):
        self.folder, self.capfd = folder, capfd
        self.jobs = LocalJobs(folder)

    def __call__(self, action, *words):
        args = build_parser("job").parse_args(["job", action, *words])
        job = _prepared(self.jobs, args)
        self.capfd.readouterr()
        code = trainer_main(job.command[1:])
        out, err = self.capfd.readouterr()
        assert code == 0, err
        lines = _Lines()
        for line in out.splitlines():
            lines.add("stdout", line)
        replace(job, status="success", exit_code=code, result=lines.results).save()
        return self.jobs.get_job(job.id).to_dict()


@pytest.mark.slow
def test_from_pictures_to_an_int8_engine_in_processes(shop):
    check_chain(Processes(shop), shop)


def test_from_pictures_to_an_int8_engine_by_job_ids_alone(shop, monkeypatch, capfd):
    monkeypatch.chdir(shop)
    monkeypatch.setenv("HPO_CACHE_DIR", str(shop / "cache"))
    check_chain(OneProcess(shop, capfd), shop)


def check_chain(call, shop):
    train = call("train", "--data", "data", *small_flags(num_epochs=1))
    evaluate = call("evaluate", "--parent", train["id"])
    inference = call("inference", "--parent", train["id"])
    export = call("export", "--parent", train["id"])
    engine = call("gen_trt_engine", "--parent", export["id"], "--set", "cal_batches=2")
    int8 = call("evaluate", "--parent", engine["id"])

    queries = len(list((shop / "data/unknown_classes/test").glob("*/*")))
    for job in (evaluate, int8):
        assert job["result"]["num_queries"] == queries
        assert job["result"]["num_classes"] == CLASSES
    # Labelling by the nearest neighbour is right as often as Precision@1 over queries says.
    share = evaluate["result"]["metrics.val_precision_at_1_query_mean"]
    assert inference["result"]["accuracy"] == pytest.approx(share)
    assert inference["result"]["num_images"] == queries
    assert export["result"]["checked_on"] == "query"
    assert (Path(export["results_dir"]) / "model.onnx").is_file()
    assert (Path(engine["results_dir"]) / "model.engine").is_file()
    assert (Path(engine["results_dir"]) / "cal.bin").is_file()
    assert engine["result"]["num_calibration_images"] == 32
    assert int8["result"]["model"] == str(Path(engine["results_dir"]) / "model.engine")
