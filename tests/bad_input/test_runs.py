"""Run directories that are missing, damaged, moved apart or somebody else's."""

import json
import os
import shutil
import sqlite3

import pytest

from tests.bad_input.judging import Case
from tests.bad_input.shelf import take_run

RUN = "runs/quick/20260101-120000"


def spoilt(name, words, spoil, *says):
    def make(desk):
        spoil(take_run(desk))

    return Case(name=name, words=words, make=make, says=says)


def write(name, content):
    return lambda run: (run / name).write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )


def remove(*names):
    return lambda run: [(run / name).unlink() for name in names]


def half(name):
    return lambda run: (run / name).write_bytes(
        (run / name).read_bytes()[: (run / name).stat().st_size // 2]
    )


def edit(name, **changes):
    def change(run):
        data = json.loads((run / name).read_text())
        (run / name).write_text(json.dumps(data | changes))

    return change


def foreign_ledger(run):
    for path in run.glob("ledger.db*"):
        path.unlink()
    with sqlite3.connect(run / "ledger.db") as connection:
        connection.execute("CREATE TABLE shopping (item TEXT)")
    connection.close()


def half_ledger(run):
    for path in run.glob("ledger.db-*"):
        path.unlink()
    half("ledger.db")(run)


RESUME = "hpo resume --in-process --budget +1"
NOTHING = [
    Case(name=f"no run: {words}", words=f"hpo {words}", says=("runs", "hpo search"))
    for words in (
        "status",
        "best",
        "resume",
        "stop",
        "report",
        "export",
        "gallery",
        "logs 0",
        "why 0",
        "ui",
    )
]
NAMED = [
    Case(
        name=f"a run of another name: {verb}",
        words=f"hpo {verb} qick{more}",
        make=take_run,
        says=("qick", "hpo ls"),
    )
    for verb, more in (
        ("status", ""),
        ("best", ""),
        ("resume", ""),
        ("stop", ""),
        ("report", ""),
        ("export", ""),
        ("gallery", ""),
        ("logs", " 0"),
        ("why", " 0"),
        ("ui", ""),
    )
]
CASES = [
    *NOTHING,
    *NAMED,
    Case(
        name="run is a file", words="hpo status file", files={"file": "x"}, says=("file", "hpo ls")
    ),
    Case(name="run is an empty folder", words="hpo status .", says=("runs",)),
    Case(
        name="run names leave the folder",
        words="hpo status ../../etc",
        make=take_run,
        says=("../../etc",),
    ),
    Case(name="run name is empty", words=("hpo", "status", ""), make=take_run, says=("RUN",)),
    Case(name="out is a file", words="hpo status --out file", files={"file": "x"}, says=("file",)),
    Case(
        name="trial that there is not: logs",
        words="hpo logs 77",
        make=take_run,
        says=("77", "hpo status"),
    ),
    Case(name="trial that there is not: why", words="hpo why 77", make=take_run, says=("77",)),
    Case(
        name="trial that there is not: export",
        words="hpo export --trial 77",
        make=take_run,
        says=("77",),
    ),
    Case(name="trial of a negative number", words="hpo why -1", make=take_run, says=("-1",)),
    Case(name="stop a run that has ended", words="hpo stop", make=take_run, says=("not running",)),
    Case(
        name="budget that adds nothing",
        words="hpo resume --budget +0",
        make=take_run,
        says=("budget",),
    ),
    Case(
        name="budget that adds words",
        words="hpo resume --budget +lots",
        make=take_run,
        says=("lots",),
    ),
    Case(
        name="budget in other units", words="hpo resume --budget +2h", make=take_run, says=("+2h",)
    ),
    Case(
        name="budget is negative",
        words=("hpo", "resume", "--budget=-5"),
        make=take_run,
        says=("-5",),
    ),
    Case(
        name="report into a file",
        words="hpo report --no-pictures --to file",
        make=lambda d: (take_run(d), (d / "file").write_text("x")),
        says=("file",),
    ),
    Case(name="export onto a folder", words="hpo export --out runs", make=take_run, says=("runs",)),
    Case(
        name="predict a picture that is missing",
        words="hpo predict quick more.jpg",
        make=take_run,
        files={"note.jpg": "hello"},
        says=("more.jpg",),
    ),
    Case(
        name="gallery of a trainer without one",
        words="hpo gallery",
        make=take_run,
        says=("gallery",),
    ),
    Case(
        name="gallery from nowhere",
        words="hpo gallery --add nowhere",
        make=take_run,
        says=("gallery",),
    ),
    Case(
        name="ui on a port that is none",
        words="hpo ui --port 99999",
        make=take_run,
        says=("99999", "65535"),
    ),
    Case(
        name="ui on a port of words",
        words="hpo ui --port http",
        make=take_run,
        says=("--port", "'http'"),
    ),
    Case(
        name="ui for everybody",
        words="hpo ui --host 0.0.0.0",
        make=take_run,
        says=("0.0.0.0", "--yes-expose"),  # noqa: S104 - looked for, not bound
    ),
    Case(
        name="ui for everybody by another name",
        words="hpo ui --host ::",
        make=take_run,
        says=("::", "--yes-expose"),
    ),
    Case(
        name="ui for everybody by a number",
        words="hpo ui --host 0",
        make=take_run,
        says=("0", "--yes-expose"),
    ),
    Case(
        name="ui on a host that is none",
        words=("hpo", "ui", "--host", ""),
        make=take_run,
        says=("--host",),
    ),
    spoilt(
        "ledger gone",
        RESUME,
        lambda run: [p.unlink() for p in run.glob("ledger.db*")],
        "ledger.db",
        "no ledger",
    ),
    spoilt(
        "ledger empty",
        RESUME,
        lambda run: ([p.unlink() for p in run.glob("ledger.db-*")], write("ledger.db", b"")(run)),
        "ledger.db",
    ),
    spoilt("ledger of text", RESUME, write("ledger.db", "hello"), "ledger.db"),
    spoilt("ledger of noise", "hpo why 0", write("ledger.db", os.urandom(5000)), "ledger.db"),
    spoilt("ledger cut in half", RESUME, half_ledger, "ledger.db"),
    spoilt("ledger of another program", RESUME, foreign_ledger, "ledger.db"),
    spoilt(
        "ledger is a folder",
        RESUME,
        lambda run: ([p.unlink() for p in run.glob("ledger.db*")], (run / "ledger.db").mkdir()),
        "ledger.db",
    ),
    spoilt("plan gone", RESUME, remove("plan.json"), "plan.json"),
    spoilt("plan cut in half", RESUME, half("plan.json"), "plan.json"),
    spoilt("plan a list", RESUME, write("plan.json", "[]"), "plan.json"),
    spoilt("plan of another program", RESUME, write("plan.json", '{"a": 1}'), "plan.json"),
    spoilt("plan with a wrong type", RESUME, edit("plan.json", base_spec=[1]), "plan.json"),
    spoilt("plan without epochs", RESUME, edit("plan.json", num_epochs="many"), "plan.json"),
    spoilt(
        "plan of another space",
        RESUME,
        edit("plan.json", space_digest="0" * 40),
        "search space has changed",
    ),
    spoilt("study cut in half", RESUME, half("study.yaml"), "study.yaml"),
    spoilt("study empty", RESUME, write("study.yaml", ""), "study.yaml"),
    spoilt(
        "study with an unknown key",
        "hpo why 0",
        write("study.yaml", "schema_version: 1\nnme: x\n"),
        "study.yaml",
        "nme",
    ),
    spoilt(
        "study of an untrusted trainer",
        RESUME,
        write("study.yaml", "schema_version: 1\ntrainer: os:getcwd\n"),
        "os:getcwd",
        "HPO_TRAINER_MODULES",
    ),
    spoilt("study gone", f"hpo status {RUN}", remove("study.yaml"), RUN),
    spoilt("report of the best cut in half", "hpo best", half("best/report.json"), "report.json"),
    spoilt("report of the best a list", "hpo best", write("best/report.json", "[]"), "report.json"),
    spoilt(
        "state is a list, and no best",
        "hpo best",
        lambda run: (write("state.json", "[]")(run), shutil.rmtree(run / "best")),
        "state.json",
        "damaged",
        "hpo resume",
    ),
    spoilt(
        "state cut in half, and no best",
        "hpo best",
        lambda run: (half("state.json")(run), shutil.rmtree(run / "best")),
        "state.json",
        "damaged",
        "hpo resume",
    ),
    spoilt(
        "checkpoint of the best gone",
        "hpo export --trial 1",
        lambda run: shutil.rmtree(run / "trials/0001/ckpt"),
        "trial 1",
    ),
    spoilt(
        "a job from a run without trials",
        f"hpo job evaluate --parent {RUN}",
        lambda run: (shutil.rmtree(run / "trials"), shutil.rmtree(run / "best")),
        RUN,
    ),
    Case(
        name="a job with a damaged record",
        words="hpo job status train-1",
        files={"results/train-1/job.json": "{"},
        says=("job.json",),
    ),
    Case(
        name="a job with a record of another kind",
        words="hpo job status train-1",
        files={"results/train-1/job.json": "[]"},
        says=("job.json",),
    ),
    Case(
        name="a job with half a record",
        words="hpo job status train-1",
        files={"results/train-1/job.json": '{"id": "train-1"}'},
        says=("job.json",),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_run_that_cannot_be_used_is_one_line(case, answered):
    line = answered(case)
    assert all(word in line for word in case.says)
