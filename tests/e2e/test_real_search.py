"""The main job with the real trainer, small: images in, pruned trials, a checked ONNX file out."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hpo.cli.main import main
from hpo.core.trial import TrialState
from hpo.run.ledger import Ledger

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    "--set", "model.backbone=timm/test_resnet",
    "--set", "model.input_height=32",
    "--set", "model.input_width=32",
    "--set", "model.feat_dim=32",
    "--set", "dataset.workers=0",
]  # fmt: skip


@pytest.fixture(scope="module")
def photos(tmp_path_factory, drawn):
    """Eight classes of the embedded data set, as a user's folders."""
    from trainer.data.demo import make_demo_data

    folder = tmp_path_factory.mktemp("photos")
    sources = make_demo_data(drawn / "demo" / "seed-0", 0)
    for split in ("train", "reference", "query"):
        (folder / split).mkdir()
        for name in sorted(path.name for path in Path(sources[split]).iterdir())[:8]:
            (folder / split / name).symlink_to(Path(sources[split]) / name)
    return folder


def command(photos, out, *words):
    data = [
        word
        for name in ("train", "reference", "query")
        for word in (f"--{name}", str(photos / name))
    ]
    test = ["--test-query", str(photos / "query")]
    head = [sys.executable, "-m", "hpo.cli.main", "search"]
    return [*head, *data, *test, *SMALL, "--out", str(out), "--yes", "--json", *words]


def environment(photos, tree=ROOT, **more):
    return {**os.environ, "PYTHONPATH": str(tree), "HPO_CACHE_DIR": str(photos / "cache"), **more}


@contextlib.contextmanager
def one_core():
    """What is started here sees a machine of one core, and so runs one trial at a time on one thread.

    Each worker imports torch, for five seconds of a core.
    """
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def read_events(text):
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.ray
def test_search_ends_with_a_checked_model_that_predicts(photos, installed, tmp_path):
    """From the wheel of this tree, so that what it lacks is missed."""
    words = ["--budget", "4", "--set", "train.num_epochs=3", "--seed", "1"]
    with one_core():
        result = subprocess.run(
            command(photos, tmp_path, *words), capture_output=True, text=True, timeout=600,
            cwd=tmp_path, env=environment(photos, installed, HPO_MLFLOW="on"), check=False,
        )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    events = read_events(result.stdout)
    names = [event["event"] for event in events]
    assert names[0] == "started"
    assert names[-1] == "finished"
    finished = events[-1]
    assert set(finished["trials"]) == {"complete", "pruned", "failed"}
    assert sum(finished["trials"].values()) == 4
    for key in ("spec", "checkpoint", "onnx"):
        assert Path(finished["best"][key]).is_absolute()
        assert Path(finished["best"][key]).is_file()
    losses = [event["metrics"]["train_loss"] for event in events if event["event"] == "epoch"]
    assert losses
    assert min(losses) > 0
    assert_receipts_say_what_was_suggested(Path(finished["run_dir"]))
    assert_ledger_matches_mlflow(tmp_path, Path(finished["run_dir"]))
    assert_report_shows_mistakes(Path(finished["run_dir"]))
    assert_served_model_agrees(photos, installed, tmp_path, Path(finished["run_dir"]))


def assert_receipts_say_what_was_suggested(run_dir):
    ledger = Ledger.open(run_dir / "ledger.db")
    for trial in ledger.trials():
        for name, value in trial.params.items():
            assert trial.receipt["applied"][name] == pytest.approx(value, rel=1e-6), name
    ledger.close()


def assert_report_shows_mistakes(run_dir):
    text = (run_dir / "report.html").read_text()
    winner = json.loads((run_dir / "best" / "report.json").read_text())["trial"]
    looks = json.loads((run_dir / "evaluations" / "looks" / f"{winner:04d}.json").read_text())
    misses = sum(not row["hit"] for row in looks["queries"])
    assert f"{misses} of {len(looks['queries'])} validation queries" in text
    assert ("data:image/jpeg;base64," in text) == (misses > 0 or bool(looks["suspects"]))


def assert_served_model_agrees(photos, tree, out, run_dir):
    """`hpo predict` labels; so does the registered model, odd files too, without the trainer."""
    from PIL import Image

    pictures = [str(path) for path in sorted((photos / "query").glob("*/*"))[:6]]
    with Image.open(pictures[0]) as picture:
        for name, mode in (("alpha.png", "RGBA"), ("grey.png", "L"), ("palette.gif", "P")):
            picture.convert(mode).save(out / name)
            pictures.append(str(out / name))
        picture.resize((900, 700)).save(out / "large.jpg")
        pictures.append(str(out / "large.jpg"))
    predicted = subprocess.run(
        [sys.executable, "-m", "hpo.cli.main", "predict", str(run_dir), *pictures, "--json", "--topk", "3"],
        capture_output=True, text=True, cwd=out, env=environment(photos, tree), timeout=60, check=True,
    )  # fmt: skip
    wanted = json.loads(predicted.stdout)
    classes = {path.name for path in (photos / "reference").iterdir()}
    for row in wanted:
        assert set(row["labels"]) <= classes
        assert row["distances"] == sorted(row["distances"])
    code = f"""
import base64, json, sys, mlflow, pandas as pd
mlflow.set_tracking_uri("sqlite:///{out}/mlflow.db")
model = mlflow.pyfunc.load_model("models:/{run_dir.parent.name}@best")
images = {pictures!r}
as_text = "data:image/png;base64," + base64.b64encode(open(images[-1], "rb").read()).decode()
frame = model.predict(pd.DataFrame({{"image": [*images, as_text]}}), params={{"topk": 3}})
ours = [name for name in sys.modules if name.split(".")[0] in ("trainer", "hpo", "torch")]
print("RESULT" + json.dumps([frame.to_dict("list"), ours]))
"""
    served = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=out, timeout=120,
        check=True, env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
    )  # fmt: skip
    rows, ours = json.loads(served.stdout.split("RESULT")[1])
    assert ours == []
    assert rows["labels"][:-1] == [row["labels"] for row in wanted]
    for got, row in zip(rows["distances"], wanted, strict=False):
        assert got == pytest.approx(row["distances"], abs=1e-3)
    assert rows["labels"][-1] == wanted[-1]["labels"]
    assert rows["label"] == [labels[0] for labels in rows["labels"]]


def assert_ledger_matches_mlflow(out, run_dir):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{out}/mlflow.db")
    experiments = [e for e in client.search_experiments() if e.name == run_dir.parent.name]
    runs = client.search_runs([e.experiment_id for e in experiments])
    children = {int(r.data.tags["hpo.trial"]): r for r in runs if "hpo.trial" in r.data.tags}
    ledger = Ledger.open(run_dir / "ledger.db")
    assert len(children) == len(ledger.trials())
    words = {TrialState.COMPLETE: "FINISHED", TrialState.PRUNED: "FINISHED"}
    for trial in ledger.trials():
        assert children[trial.number].info.status == words[trial.state]
    ledger.close()


def test_a_killed_search_goes_on_from_its_checkpoints(photos, tmp_path, monkeypatch, capfd):
    words = ["--budget", "3", "--set", "train.num_epochs=2", "--pruner", "none", "--in-process"]
    with (tmp_path / "events").open("w") as stream:
        process = subprocess.Popen(
            command(photos, tmp_path, *words),
            stdout=stream, stderr=subprocess.DEVNULL, env=environment(photos),
        )  # fmt: skip
        wait_for_epochs(tmp_path / "events", 3)
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = ledger_rows(tmp_path)
    monkeypatch.setenv("HPO_CACHE_DIR", str(photos / "cache"))
    capfd.readouterr()
    code = main(["resume", "--out", str(tmp_path), "--json", "--in-process"])
    said = capfd.readouterr()
    assert code == 0, said.err[-3000:]
    events = read_events(said.out)
    after = ledger_rows(tmp_path)
    assert [row[0] for row in after] == [0, 1, 2]
    assert before[0] == after[0], "the finished trial is as it was"
    resumed = [e for e in events if e["event"] == "trial_started" and e["trial"] == 1]
    assert resumed[0]["resumed_from_epoch"] >= 1
    assert {e["trial"] for e in events if e["event"] == "epoch"} <= {1, 2}
    assert len({str(row[1]) for row in after}) == 3, "no proposal is repeated"


def wait_for_epochs(path, count, timeout=240):
    deadline = time.monotonic() + timeout
    while path.read_text().count('"event": "epoch"') < count:
        assert time.monotonic() < deadline, path.read_text()[-2000:]
        time.sleep(0.05)


def ledger_rows(out):
    (file,) = out.glob("*/*/ledger.db")
    ledger = Ledger.open(file)
    rows = [(t.number, t.params, [m.value for m in t.measurements]) for t in ledger.trials()]
    ledger.close()
    return rows


def test_broken_plumbing_ends_the_search(photos, tmp_path, monkeypatch):
    """A trainer that trains with another rate than it was told must not produce a result."""
    import trainer.module
    from hpo.core.budget import Budget
    from hpo.core.spec_dicts import nest
    from hpo.searching.engine import ReceiptError
    from hpo.searching.session import start_search
    from hpo.searching.settings import SearchSettings
    from hpo.study.sections import DataSources
    from hpo.study.spec import StudySpec

    monkeypatch.setenv("HPO_CACHE_DIR", str(photos / "cache"))
    build = trainer.module.build_optimizer

    def build_with_halved_rates(*args, **kwargs):
        optimizer = build(*args, **kwargs)
        for group in optimizer.param_groups:
            group["lr"] /= 2
            if "initial_lr" in group:
                group["initial_lr"] /= 2
        return optimizer

    monkeypatch.setattr(trainer.module, "build_optimizer", build_with_halved_rates)
    values = dict(word.split("=") for word in SMALL if "=" in word)
    study = StudySpec(
        name="broken",
        budget=Budget(trials=2),
        data=DataSources(
            train=str(photos / "train"),
            reference=str(photos / "reference"),
            query=str(photos / "query"),
        ),
        spec=nest(
            {k: int(v) if v.isdigit() else v for k, v in values.items()} | {"train.num_epochs": 1}
        ),
    )
    with pytest.raises(ReceiptError, match="base_lr"):
        start_search(study, tmp_path, SearchSettings(executor="inprocess", probe=False))
