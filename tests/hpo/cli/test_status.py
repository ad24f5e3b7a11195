import json
import subprocess
import sys

import pytest


def test_a_finished_run(hpo, first):
    code, out, err = hpo("status", first)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == f"run     {first}"
    assert lines[1].startswith("status  finished; ")
    assert "1 failed" in lines[1]
    assert lines[2] == "budget  4 of 4 trials used"
    assert lines[4].split() == ["TRIAL", "STATE", "P@1", "EPOCH", "SECONDS"]
    rows = [line.split(maxsplit=5) for line in lines[5:9]]
    assert [row[0] for row in rows] == ["0", "1", "2", "3"]
    assert rows[1][1] == "failed"
    assert rows[1][-1].endswith("the loss exploded on purpose")
    assert sum(row[2].endswith("*") for row in rows) == 1
    assert "hpo resume" not in out
    assert lines[9:13] == [
        "* winner",
        "",
        "rung    epoch 2 stopped 1 trial; 2 trials trained in full: too few to tell whether it stops the right ones",
        "winner  held out: P@1 0.5000; the default 0.5000: +0.0000",
    ]
    roles = {row[-1] for row in rows if row[2].endswith("*")} | {rows[0][-1]}
    assert roles == {"winner", "default"}


def test_a_paused_run_says_how_to_go_on(hpo, second):
    code, out, err = hpo("status")  # the newest
    assert (code, err) == (0, "")
    assert "status  interrupted; 1 complete; 1 paused" in out
    assert "* best so far" in out.splitlines()
    assert "winner" not in out
    assert out.splitlines()[-1] == f"go on with: hpo resume {second} --in-process"


def test_a_search_that_gave_up_says_why_and_how_to_go_on(hpo, json_of, first):
    file = first / "state.json"
    state = json.loads(file.read_text())
    assert "ended  " not in hpo("status", "first")[1]
    assert (
        state["finished"]["ended_because"]
        == json_of("status", "first")["ended_because"]
        == "trials"
    )
    for because, said in (
        ("train: no images", "ended   gave up: train: no images"),
        ("algorithm", "ended   the algorithm has no more trials to propose"),
    ):
        state["finished"]["ended_because"] = because
        file.write_text(json.dumps(state))
        lines = hpo("status", "first")[1].splitlines()
        assert lines[2] == said
        assert (f"go on with: hpo resume {first} --in-process" in lines) == (because != "algorithm")


def test_the_same_for_programs(json_of, first):
    row = json_of("status", "first")
    assert set(row) == {
        "run_dir", "study", "status", "metric", "budget", "spent", "counts", "running", "best", "updated",
        "trials", "rungs", "stages", "forecasts", "paused", "ended_because", "untrained",
    }  # fmt: skip
    assert row["run_dir"] == str(first)
    assert row["counts"]["failed"] == 1
    assert [trial["trial"] for trial in row["trials"]] == [0, 1, 2, 3]
    assert row["best"]["trial"] != 1
    assert row["spent"]["trials"] == 4


def test_trials_of_earlier_stages_are_counted_by_their_stage(hpo, json_of, second):
    file = second / "state.json"
    kept = file.read_text()
    state = json.loads(kept)
    heads = {"name": "heads", "left": 1}
    state["trials"][0] |= {"stage": heads}
    state["trials"] += [{**state["trials"][0], "trial": n} for n in (7, 8)]
    file.write_text(json.dumps(state))
    assert json_of("status", second)["counts"] == {
        "complete": 0, "pruned": 0, "failed": 0, "heads": 3,
    }  # fmt: skip
    assert "3 heads; 1 paused" in hpo("status", second)[1]
    file.write_text(kept)


def test_a_refused_trial_is_no_failed_one(hpo, json_of, first):
    file = first / "state.json"
    kept = file.read_text()
    state = json.loads(kept)
    state["trials"][1]["error"] = {"kind": "over_limit", "message": "2 ms are allowed"}
    file.write_text(json.dumps(state))
    counts = json_of("status", first)["counts"]
    assert (counts["failed"], counts["refused"]) == (0, 1)
    out = hpo("status", first)[1]
    assert "failed" not in out
    assert "1 refused\n" in out
    row = next(line for line in out.splitlines() if line.split()[:2] == ["1", "refused"])
    assert row.endswith("2 ms are allowed")
    (line,) = [line for line in hpo("ls")[1].splitlines() if str(first) in line]
    assert line.split()[2] == "3"
    file.write_text(kept)


def test_what_a_running_trial_does_before_its_first_epoch(hpo, second):
    from hpo.run.run_dir import RunDir

    file = second / "state.json"
    state = json.loads(file.read_text())
    state["trials"][1]["doing"] = "head epochs 12/20"
    file.write_text(json.dumps(state))
    assert "head epochs" not in hpo("status", second)[1]  # no driver: it waits
    with RunDir(second).lock():
        out = hpo("status", second)[1]
    assert out.splitlines()[6].split()[-3:] == ["head", "epochs", "12/20"]


@pytest.mark.parametrize("name", ["first", "TIMESTAMP", "PATH", "runs/first/TIMESTAMP"])
def test_runs_have_many_names(json_of, first, name):
    name = name.replace("TIMESTAMP", first.name).replace("PATH", str(first))
    assert json_of("status", name)["run_dir"] == str(first)


def test_the_dot_is_the_run_one_stands_in_or_the_newest(json_of, first, second, monkeypatch):
    assert json_of("status", ".")["run_dir"] == str(second)
    monkeypatch.chdir(first)
    assert json_of("status", ".")["run_dir"] == str(first)


def test_a_driver_that_was_killed_shows_as_stopped(hpo, json_of, second):
    state = json.loads((second / "state.json").read_text())
    (second / "state.json").write_text(json.dumps({**state, "status": "running"}))
    assert json_of("status")["status"] == "stopped"
    assert f"go on with: hpo resume {second}" in hpo("status")[1]
    code = (
        "import sys, time; from pathlib import Path; from hpo.run.run_dir import RunDir\n"
        "with RunDir(Path(sys.argv[1])).lock():\n    print('held', flush=True); time.sleep(60)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(second)], stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    assert json_of("status")["status"] == "running"
    holder.kill()
    holder.wait()


def test_no_run_at_all(fails):
    line = fails("status")
    assert line == "hpo status: no runs below runs/; `hpo ls` lists runs, `hpo search` makes one"


def test_no_such_run(fails, runs):
    assert "no run 'third' below runs/" in fails("status", "third")


def test_the_database_is_not_touched(json_of, first):
    (first / "ledger.db").unlink()
    assert json_of("status", "first")["status"] == "finished"


def test_a_run_without_trials_has_no_table(hpo, second):
    (second / "state.json").unlink()
    (second / "events.ndjson").unlink()
    lines = hpo("status", second)[1].splitlines()
    assert lines == [f"run     {second}", "status  new; no trial has ended", "budget  unknown"]


@pytest.mark.parametrize("text", [None, '{"a":'])
def test_a_run_whose_state_is_lost_is_no_new_one(hpo, json_of, second, text):
    state = second / "state.json"
    if text is None:
        state.unlink()
    else:
        state.write_text(text)
    assert json_of("status", second)["status"] == "damaged"
    assert f"`hpo resume {second}` writes it anew" in hpo("status", second)[1]
