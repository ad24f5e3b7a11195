import json

from hpo.cli.ls import render_forecasts


def test_no_runs_yet(hpo, json_of):
    code, out, err = hpo("ls")
    assert (code, err) == (0, "")
    assert out == "no runs below runs/; `hpo search` makes one\n"
    assert json_of("ls") == []
    assert hpo("ls", "--out", "my runs")[1] == (
        "no runs below my runs/; `hpo search --out 'my runs'` makes one\n"
    )


def test_one_line_a_run_the_newest_last(hpo, first, second):
    code, out, err = hpo("ls")
    assert (code, err) == (0, "")
    table, *_ = out.split("\n\n")
    header, *lines = [line.split() for line in table.splitlines()]
    assert header == ["STUDY", "STATUS", "TRIALS", "P@1", "TIME", "FORECAST", "RUN"]
    assert [line[:3] for line in lines] == [
        ["first", "finished", "4"],
        ["second", "interrupted", "1"],
    ]
    assert [line[-1] for line in lines] == [str(first), str(second)]


def test_the_same_for_programs(json_of, first, second):
    rows = json_of("ls")
    assert [(row["study"], row["run_dir"]) for row in rows] == [
        ("first", str(first)), ("second", str(second)),
    ]  # fmt: skip
    assert rows[0]["counts"]["failed"] == 1
    assert sum(rows[0]["counts"].values()) == 4


def test_runs_elsewhere(json_of, runs, tmp_path):
    runs.rename(tmp_path / "elsewhere")
    assert json_of("ls") == []
    assert len(json_of("ls", "--out", "elsewhere")) == 2


def test_a_damaged_run_does_not_hide_the_others(json_of, first, second):
    (first / "state.json").write_text("{")
    (first / "ledger.db").write_text("noise")
    rows = json_of("ls")
    assert [row["status"] for row in rows] == ["damaged", "interrupted"]


def test_how_far_forecasts_were_off(hpo, first, second):
    state = json.loads((first / "state.json").read_text())
    state["forecasts"] = [
        {"expected_s": 50.0, "took_s": 60.0},
        {"expected_s": 40.0, "took_s": 30.0},
        {"expected_s": 80.0, "took_s": 88.0},
    ]
    (first / "state.json").write_text(json.dumps(state))
    table, below = hpo("ls")[1].split("\n\n")
    assert table.splitlines()[1].split()[-2] == "+10%"  # of the start that ended last
    assert below.startswith("FORECAST: ")
    # 20 %, 25 % and 10 %, whichever way.
    assert below.endswith("over 3 starts 20% off in the median, 25% at most\n")
    assert render_forecasts([]) == ""
