"""`hpo report` as a user calls it."""

import json
from dataclasses import replace

from hpo.cli.main import main
from hpo.core.budget import parse_budget
from hpo.report.run_data import load_run_data
from hpo.searching.session import start_search
from hpo.searching.settings import SearchSettings
from tests.quick_cli import call
from tests.quick_runs import quick_study


def test_a_page_is_written_and_named(tmp_path, json_of, capfd):
    study = quick_study(budget=parse_budget("3"))
    run = start_search(study, tmp_path / "runs", SearchSettings(executor="inprocess")).run
    code, out, _ = call(tmp_path, "report", run, "--to", tmp_path / "page")
    page = tmp_path / "page" / "report.html"
    assert (code, out) == (0, f"{page}\n")
    assert "3 trials" in page.read_text()
    quick = ("report", run, "--no-pictures", "--to")
    assert call(tmp_path, *quick, tmp_path / "page")[0] == 0, "an earlier report is replaced"
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "report.md").write_text("mine")
    code, _, err = call(tmp_path, *quick, tmp_path / "own")
    assert (code, (tmp_path / "own" / "report.md").read_text()) == (2, "mine")
    assert f"--to: must not replace what is there, and {tmp_path}/own/report.md is of no" in err
    capfd.readouterr()
    assert json_of("report", "--no-pictures") == {
        "report": str(run.path / "report.html"),
        "markdown": str(run.path / "report.md"),
    }


def test_no_run_is_one_line(fails):
    line = fails("report")
    assert line == "hpo report: no runs below runs/; `hpo ls` lists runs, `hpo search` makes one"


def kept_look(run, hits, split="", *, shop="shop"):
    """Stand in for the model: what was looked up before is used again."""
    facts = load_run_data(run)
    file = run.evaluations_dir / "looks" / f"{facts.best.number:04d}{split}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    queries = [
        {"path": f"/cache/{i}", "file": f"/{shop}/{i}.jpg", "class": "ab"[i % 2], "hit": hit}
        for i, hit in enumerate(hits)
    ]
    file.write_text(json.dumps({"queries": queries, "suspects": [], "map": None}))


def test_two_runs_are_compared_on_the_same_queries(tmp_path, monkeypatch, capsys):
    first, second = (
        start_search(
            replace(quick_study(budget=parse_budget("2")), name=name),
            tmp_path / "runs",
            SearchSettings(executor="inprocess"),
        ).run
        for name in ("one", "two")
    )
    monkeypatch.chdir(tmp_path)
    assert main(["report", "one", "two"]) == 2
    assert "its winner cannot be looked at" in capsys.readouterr().err
    assert main(["report", "two", "two"]) == 2
    said = capsys.readouterr().err
    assert said == f"hpo report: two runs must be given to compare, got {second} twice\n"
    kept_look(first, [True, False, True, False, True], "-held-out")
    kept_look(second, [True, False, True, True, False, True], "-held-out")
    assert main(["report", "one", "two"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["first", "second", "gain", "on"]
    assert lines[0].split()[2] == "0.5000"
    assert lines[2].split()[1] == "+0.0833"  # a: 3/3 to 2/3, b: 0/2 to 1/2
    assert "which may be chance" in lines[2]
    assert (
        lines[3] == "on      5 queries of the held-out pictures; 1 that only one has are left out"
    )
    assert lines[6].split() == ["b", "2", "0.000", "0.500", "+0.500"]
    assert main(["report", "one", "two", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["run"] for row in told["runs"]] == [str(first.path), str(second.path)]
    assert told["split"] == "held-out"
    # Other held-out pictures each: what both have are the validation queries.
    kept_look(first, [True, False], "-held-out", shop="north")
    assert main(["report", "one", "two"]) == 2
    assert "its winner cannot be looked at" in capsys.readouterr().err
    for run in (first, second):
        kept_look(run, [True, True])
    assert main(["report", "one", "two"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "on      2 queries of the validation pictures, which chose both winners"
    kept_look(second, [True, True], shop="south")
    assert main(["report", "one", "two"]) == 2
    assert "have no query in common" in capsys.readouterr().err
    plan = json.loads((second.path / "plan.json").read_text())
    plan["sources"] = {k: v for k, v in plan["sources"].items() if not k.startswith("test_")}
    (second.path / "plan.json").write_text(json.dumps(plan))
    kept_look(first, [True, True])
    kept_look(second, [True, True])
    assert main(["report", "one", "two"]) == 0
    assert "2 queries of the validation pictures, which chose both" in capsys.readouterr().out
    (kept,) = (first.evaluations_dir / "looks").glob("????.json")
    for text in ("3", "{}", '{"queries": [3]}', '{"queries": [{}], "suspects": [], "map": null}'):
        kept.write_text(text)
        assert main(["report", "one", "two"]) == 2
        assert "its winner cannot be looked at" in capsys.readouterr().err
    assert main(["report", "one", "two", "--to", "x"]) == 2
    assert "--to: is for the page about one run" in capsys.readouterr().err
