"""Calibrating unknown pictures of a run by further trainings, as a user does it."""

import json
import re
import shutil

import pytest

from hpo.cli.main import main
from hpo.executors.inprocess import InProcessExecutor
from hpo.report.page import write_report
from hpo.report.run_data import load_run_data
from hpo.results.unknowns import check_unknowns
from hpo.run.ledger import Ledger
from hpo.run.run_dir import RunDir
from tests.trainer.tiny import make_folders, make_splits, train_spec


def search_once(folder):
    """A run of one trial, the whole network trained on ten classes."""
    splits = make_splits(folder, classes=10, images=6)
    splits["query"] = str(make_folders(folder / "more", classes=10, images=4))
    spec = train_spec(splits, folder)
    sources = [word for name, place in splits.items() for word in (f"--{name}", place)]
    keys = [
        k for k in spec if k != "results_dir" and not k.endswith(("_dataset", "reference", "query"))
    ]
    values = [word for key in keys for word in ("--set", f"{key}={json.dumps(spec[key])}")]
    words = ["--budget", "1", "--yes", "--no-memory", "--in-process"]
    assert (
        main(["search", "--out", str(folder / "runs"), "--name", "tiny", *words, *sources, *values])
        == 0
    )


@pytest.fixture(scope="module")
def searched(made_once):
    folder = made_once("searched_for_unknowns", search_once)
    return RunDir(next((folder / "runs" / "tiny").iterdir()))


@pytest.fixture
def run(searched, tmp_path):
    own = tmp_path / "runs" / "tiny" / searched.path.name
    shutil.copytree(searched.path, own, symlinks=True)
    return RunDir(own)


def test_the_price_is_that_of_the_model_by_the_trainings_less_one(run):
    ledger = Ledger.read(run.ledger_file)
    trial = ledger.trial(json.loads((run.best_dir / "report.json").read_text())["trial"])
    ledger.close()
    best = max(trial.measurements, key=lambda m: (m.value, -m.epoch)).epoch
    took = sum(m.seconds for m in trial.measurements if m.epoch <= best)
    assert took > 0
    assert check_unknowns(run, 2) == pytest.approx(took)
    assert check_unknowns(run, 4) == pytest.approx(3 * took)
    (run.best_dir / "report.json").unlink()
    assert check_unknowns(run, 2) is None


def test_what_is_asked_for_holds_from_then_on(run, searched, tmp_path, capsys):
    picture = str(next(searched.path.parents[2].glob("query/class_03/*.png")))
    asked = ["predict", str(run), picture, "--unknown-at", "0.05"]
    assert main(asked) == 0
    assert (
        f"as all classes here were trained on (`hpo gallery {run} --calibrate-unknown`"
        in capsys.readouterr().err
    )
    assert main(["gallery", str(run), "--calibrate-unknown"]) == 0
    out, err = capsys.readouterr()
    assert re.search(
        r"^training 2 times, each without another half of the classes: about \d+s in all; Ctrl-C stops",
        err,
        re.M,
    )
    assert out.startswith(
        "calibrated by 40 queries and 2 new trainings\nunknown at 0.05: by the validation"
    )
    assert "trained on" not in out
    assert main(asked) == 0
    assert "trained on" not in capsys.readouterr().err
    page = write_report(load_run_data(run), InProcessExecutor("ml_recog"), tmp_path).read_text()
    assert "Pictures of unknown classes" in page
    assert "The model was trained on these classes" not in page
    assert main(["gallery", str(run), "--calibrate-unknown", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["trainings"], told["queries"]) == (0, 40)
    assert not told["unknowns"]["threshold"]["is_of_trained"]
    assert main(["gallery", str(run), "--undo"]) == 0
    assert main(["gallery", str(run), "--undo"]) == 0
    assert main(asked) == 0
    assert "trained on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--calibrate-unknown", "1"], "--calibrate-unknown: must be 2 or more, got 1"),
        (
            ["--calibrate-unknown", "11"],
            "11 trained classes with gallery pictures are needed for 11 trainings",
        ),
        (["--calibrate-unknown", "x"], "--calibrate-unknown: must be a whole number, got 'x'"),
        (
            ["--calibrate-unknown", "--undo"],
            "--calibrate-unknown: ask for other changes in a command",
        ),
        (["--calibrate-unknown", "--sizes"], "--sizes: changes nothing; ask for the change first"),
    ],
)
def test_what_cannot_be_done_is_one_line(run, capsys, words, said):
    try:
        code = main(["gallery", str(run), *words])
    except SystemExit as end:
        code = end.code
    assert code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
