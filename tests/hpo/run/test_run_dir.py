import datetime as dt
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hpo.core.errors import RunError
from hpo.run.create_run import create_run
from hpo.run.run_dir import AUTOML_FACTS, Holder, RunDir, find_run, is_run, list_runs
from tests.processes import looked_at


def fill(folder):
    (folder / "study.yaml").write_text("schema_version: 1\n")
    (folder / "ledger.db").touch()


def make(out, study, stamp):
    folder = out / study / stamp
    folder.mkdir(parents=True)
    fill(folder)
    return folder


def test_names_inside_a_run(tmp_path):
    run = RunDir(tmp_path / "retail" / "20260102-101500")
    assert (run.study_name, run.label) == ("retail", "retail/20260102-101500")
    assert run.trial_dir(7) == run.path / "trials" / "0007"
    assert run.ledger_file == run.path / "ledger.db"
    assert Path(run) == run.path
    assert not run.path.exists()


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("runs/retail/20260102-101500", "runs"),
        ("runs/retail/20260102-101500-12", "runs"),
        ("automl/run_20260102-101500", "."),
        ("work/ws", "work"),  # a workspace's own name
        ("work/20260102", "work"),
        ("runs/retail/20260102-101500-backup", "runs"),
    ],
)
def test_mlflows_store_lies_above_the_run(tmp_path, path, place):
    assert RunDir(tmp_path / path).store_dir == (tmp_path / place).resolve()


def test_a_renamed_run_keeps_its_store_and_a_workspace_has_its_own(tmp_path):
    (tmp_path / "mlflow.db").touch()
    run = RunDir(make(tmp_path, "shop", "baseline"))
    assert run.store_dir == tmp_path
    make_workspace(run.path)
    assert run.store_dir == tmp_path / "shop"


def make_workspace(folder):
    (folder / AUTOML_FACTS).parent.mkdir(parents=True)
    (folder / AUTOML_FACTS).touch()


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("20261130-101500-dino", "results"),
        ("20261130-101500_lr", "results"),
        ("run_20261130-101500", "."),
        ("20261130-101500-2", "."),
    ],
)
def test_a_workspace_whose_name_begins_with_a_time_has_its_store_beside_it(tmp_path, name, place):
    run = RunDir(make(tmp_path, "results", name))
    make_workspace(run.path)
    assert run.store_dir == (tmp_path / place).resolve()


def test_runs_are_listed_by_time_and_dot_folders_are_not_runs(tmp_path):
    late = make(tmp_path, "a", "20260102-101500")
    early = make(tmp_path, "b", "20260101-090000")
    again = make(tmp_path, "a", "20260102-101500-2")
    make(tmp_path, ".trash", "20260103-000000")
    make(tmp_path, "a", ".new-x")
    (tmp_path / "a" / "no_run").mkdir()
    assert [r.path for r in list_runs(tmp_path)] == [early, late, again]
    assert list_runs(tmp_path / "missing") == []


def begin(folder, when):
    """Say in a run's events that it began then."""
    seconds = dt.datetime.strptime(when, "%Y%m%d-%H%M%S").timestamp()  # noqa: DTZ007 - local
    event = {"event": "started", "time": seconds + 0.9}
    (folder / "events.ndjson").write_text(json.dumps(event) + "\n{}\n")


def test_a_run_that_was_renamed_or_copied_is_no_newer_for_it(tmp_path):
    names = ["best_one", "20260101-101500-backup", "20260101-101500", "20260101-101500-9",
             "20260101-101500-10", "run_20260101-110000", "20260102-090000-old", "a_baseline"]  # fmt: skip
    for name in reversed(names):
        make(tmp_path, "a", name)
    begin(tmp_path / "a/best_one", "20251231-235959")
    begin(tmp_path / "a/a_baseline", "20260102-090001")
    assert [run.path.name for run in list_runs(tmp_path)] == names
    assert find_run("a", tmp_path).path.name == find_run(None, tmp_path).path.name == "a_baseline"


def test_the_newest_run_began_last_whatever_the_clock_in_its_name_said(tmp_path):
    """In a container with another time zone, or before clocks were set back."""
    earlier = make(tmp_path, "a", "20261130-123000")
    later = make(tmp_path, "a", "20261130-114500")
    copy = make(tmp_path, "a", "20261130-114500-backup")
    for folder, seconds in (
        (earlier, 1_796_038_200),
        (later, 1_796_039_100),
        (copy, 1_796_039_100),
    ):
        (folder / "events.ndjson").write_text(f'{{"event": "started", "time": {seconds}}}\n')
    assert find_run(None, tmp_path).path == later
    assert [run.path for run in list_runs(tmp_path)] == [earlier, copy, later]


def test_a_run_without_events_began_when_its_study_was_written(tmp_path):
    plain, damaged = make(tmp_path, "a", "z"), make(tmp_path, "a", "b")
    make(tmp_path, "a", "20260101-101500")
    (damaged / "events.ndjson").write_text("[1]\n")
    for folder in (plain, damaged):
        os.utime(folder / "study.yaml", (1_700_000_000, 1_700_000_000))
    assert [run.path.name for run in list_runs(tmp_path)][-1] == "20260101-101500"


def test_a_study_file_alone_makes_no_run(tmp_path, monkeypatch):
    run = make(tmp_path / "runs", "photos", "20260101-101500")
    (tmp_path / "photos").mkdir()
    for folder in (tmp_path, tmp_path / "photos", tmp_path / "runs" / "photos"):
        (folder / "study.yaml").write_text("schema_version: 1\n")  # as `hpo init` leaves it
        assert not is_run(folder)
    monkeypatch.chdir(tmp_path)
    assert find_run("photos", Path("runs")).path == run
    assert [found.path for found in list_runs(tmp_path / "runs")] == [run]
    with pytest.raises(RunError, match="must be a run directory, with study.yaml"):
        find_run(str(tmp_path), Path("runs"))
    (run / "ledger.db").unlink()
    (run / "plan.json").write_text('{\n "study_uuid": "0f8fad5b",\n "sou')
    assert is_run(run), "damaged, and a run all the same"


@pytest.mark.parametrize("text", ['{"first_batch": []}', '{"ready": true, "steps": []}', "", None])
def test_a_plan_of_another_program_beside_a_study_makes_no_run(tmp_path, text):
    """As `hpo plan --json > plan.json` leaves one, or the AutoML skill."""
    (tmp_path / "study.yaml").write_text("schema_version: 1\n")
    if text is None:
        os.mkfifo(tmp_path / "plan.json")
    else:
        (tmp_path / "plan.json").write_text(text)
    assert not is_run(tmp_path)
    assert create_run(tmp_path / "runs", "retail", fill).path.is_dir()


def test_a_run_behind_a_link_keeps_the_names_it_has_here(tmp_path, monkeypatch):
    real = make(tmp_path, "big", "20260101-101500")
    (tmp_path / "runs/photos").mkdir(parents=True)
    link = tmp_path / "runs/photos/20260101-101500"
    link.symlink_to(real)
    for found in (find_run("photos", tmp_path / "runs"), find_run(str(link), tmp_path / "no"),
                  find_run(str(tmp_path / "runs/photos"), tmp_path / "no")):  # fmt: skip
        assert (found.path, found.study_name) == (real, "photos")
        assert found.store_dir == tmp_path / "runs"
        assert found.command("resume") == f"hpo resume {link}"
    monkeypatch.chdir(tmp_path / "runs")
    assert find_run("photos/20260101-101500", Path("no")).study_name == "photos"
    assert find_run("photos/../photos/20260101-101500", Path("no")).path == real


@pytest.mark.parametrize("has_store", [False, True])
def test_a_link_to_one_run_leaves_it_where_it_is(tmp_path, monkeypatch, has_store):
    real = make(tmp_path / "w/runs", "photos", "20260101-101500")
    (real / "study.yaml").write_text("schema_version: 1\nname: photos\n")
    monkeypatch.chdir(tmp_path / "w")
    if has_store:
        (tmp_path / "w/runs/mlflow.db").touch()
    links = {
        "latest": real, "20260101-101500": real, "runs/newest": "photos/20260101-101500",
        "chain": "latest", "runs/photos/last": "../photos/20260101-101500",
    }  # fmt: skip
    for link, target in links.items():
        Path(link).symlink_to(target)
        found = RunDir(Path(link))
        assert (found.store_dir, found.study_name) == (tmp_path / "w/runs", "photos")
        assert found.label == "photos/20260101-101500"
        assert found.command("ui", "--port 1") == f"hpo ui {tmp_path / 'w' / link} --port 1"


def test_a_link_leads_to_a_link_of_a_study(tmp_path):
    """The study lies elsewhere, under another name; the store does not."""
    real = make(tmp_path, "big", "20260101-101500")
    (real / "study.yaml").write_text("schema_version: 1\nname: photos\n")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/photos").symlink_to(real.parent)
    (tmp_path / "latest").symlink_to("runs/photos/20260101-101500")
    for run in (RunDir(tmp_path / "latest"), RunDir(tmp_path / "runs/photos/20260101-101500")):
        assert (run.store_dir, run.label) == (tmp_path / "runs", "photos/20260101-101500")
        assert run.path == real


def test_a_run_is_found_by_path_name_and_time(tmp_path, monkeypatch):
    first = make(tmp_path, "a", "20260101-090000")
    second = make(tmp_path, "a", "20260102-090000")
    other = make(tmp_path, "b", "20260101-120000")
    assert find_run(None, tmp_path).path == second
    assert find_run("b", tmp_path).path == other
    assert find_run("a", tmp_path).path == second
    assert find_run("20260101-090000", tmp_path).path == first
    assert find_run(str(first), tmp_path / "elsewhere").path == first
    assert find_run(f"{tmp_path}/a/", tmp_path / "elsewhere").path == second
    monkeypatch.chdir(tmp_path.parent)
    assert find_run(f"{tmp_path.name}/a", tmp_path / "elsewhere").path == second
    make(tmp_path, "b", "20260101-090000")
    with pytest.raises(
        RunError, match="20260101-090000.*must name one run, and is one of a and of b"
    ):
        find_run("20260101-090000", tmp_path)


def test_a_run_that_is_not_there(tmp_path):
    said = f"no runs below {tmp_path}/; `hpo ls --out {tmp_path}` lists runs, `hpo search --out"
    with pytest.raises(RunError, match=f"{re.escape(said)} {tmp_path}` makes one"):
        find_run(None, tmp_path)
    make(tmp_path, "a", "20260101-090000")
    with pytest.raises(RunError, match="must be a run directory, with study.yaml, plan.json"):
        find_run(str(tmp_path), tmp_path)
    with pytest.raises(RunError, match="RUN: must be a run directory or a name, got nothing"):
        find_run("", tmp_path)
    for name in ("c", "../a"):
        with pytest.raises(RunError, match=re.escape(f"no run {name!r} below")):
            find_run(name, tmp_path)


def test_the_second_driver_is_refused_and_the_lock_goes_with_its_process(tmp_path):
    run = RunDir(make(tmp_path, "a", "1"))
    assert not run.is_running()
    code = (
        "import sys, time; from pathlib import Path; from hpo.run.run_dir import RunDir\n"
        "with RunDir(Path(sys.argv[1])).lock():\n    print('held', flush=True); time.sleep(60)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(run)], stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    assert run.is_running()
    with pytest.raises(RunError, match="another search is running in it"), run.lock():
        pass
    holder.kill()
    holder.wait()
    assert not run.is_running()
    with run.lock():
        assert run.is_running()
    assert not run.is_running()


@pytest.mark.parametrize(
    ("holder", "goes_on", "said"),
    [
        (
            Holder.SEARCH,
            True,
            "another search is running in it; wait for it, or end it by `hpo stop /",
        ),
        (Holder.CALLER, True, r"an AutoML\(\.\.\.\) of this program searches in it"),
        (Holder.CALIBRATION, False, "its unknown pictures are being calibrated"),
        (Holder.EXPORT, False, "its best trial is being exported; wait for that"),
    ],
)
def test_who_holds_a_run_is_told(tmp_path, holder, goes_on, said):
    run = RunDir(make(tmp_path, "a", "1"))
    (run.path / ".lock").write_text("calibration")  # as one that was killed leaves it
    with run.lock(holder):
        assert (run.holder(), run.is_running()) == (holder, goes_on)
        for other in (holder, Holder.GALLERY):
            with pytest.raises(RunError, match=f"{run}: {said}"), run.lock(other):
                pass
        (run.path / ".lock").write_text("")  # as a search of an earlier release holds it
        assert run.holder() is Holder.SEARCH
    assert (run.holder(), run.is_running()) == (None, False)


def test_changes_of_a_gallery_hold_a_run_together(tmp_path):
    run = RunDir(make(tmp_path, "a", "1"))
    with run.lock(Holder.CALIBRATION):
        pass
    with run.lock(Holder.GALLERY), run.lock(Holder.GALLERY):
        assert (run.holder(), run.is_running()) == (None, False)
        for other in (Holder.SEARCH, Holder.EXPORT):
            with pytest.raises(RunError, match="its gallery is being changed"), run.lock(other):
                pass


def test_a_look_at_the_lock_does_not_keep_a_driver_out(tmp_path):
    """`hpo status` takes the lock for microseconds; a driver that starts then waits it out."""
    run, held = RunDir(make(tmp_path, "a", "1")), 0
    with run.lock():
        pass
    with looked_at(run.is_running):
        for _ in range(100):
            with run.lock():
                held += run.is_running()
    assert held == 100
    assert not run.is_running()


def test_state_is_replaced_whole(tmp_path):
    run = RunDir(make(tmp_path, "a", "1"))
    assert run.read_state() == {}
    stop, seen = threading.Event(), []

    def read():
        while not stop.is_set():
            seen.append(json.loads(run.state_file.read_text())["n"])

    run.write_state({"n": 0, "padding": "x" * 100_000})
    reader = threading.Thread(target=read)
    reader.start()
    for n in range(50):
        run.write_state({"n": n, "padding": "x" * 100_000})
    stop.set()
    reader.join()
    assert run.read_state()["n"] == 49
    assert seen == sorted(seen)
    assert sorted(p.name for p in run.path.iterdir()) == ["ledger.db", "state.json", "study.yaml"]


@pytest.mark.parametrize("text", ["", "{", "[1]", "null"])
def test_a_damaged_state_counts_as_none(tmp_path, text):
    run = RunDir(tmp_path)
    run.state_file.write_text(text)
    assert run.read_state() == {}
    assert run.has_lost_state()


def test_a_state_is_lost_once_the_search_has_told_anything(tmp_path):
    run = RunDir(tmp_path)
    assert not run.has_lost_state()
    run.events_file.touch()  # as the lock is taken; the first state comes seconds later
    assert not run.has_lost_state()
    run.events_file.write_text("{}\n")
    assert run.has_lost_state()
