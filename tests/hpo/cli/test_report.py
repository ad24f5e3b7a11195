"""`hpo report` as a user calls it."""

import json

from hpo.core.budget import parse_budget
from hpo.searching.session import SearchSettings, start_search
from tests.quick_cli import call
from tests.quick_runs import quick_study


def test_a_page_is_written_and_named(tmp_path):
    study = quick_study(budget=parse_budget("3"))
    run = start_search(study, tmp_path / "runs", SearchSettings(executor="inprocess")).run
    code, out, _ = call(tmp_path, "report", run, "--to", tmp_path / "page")
    page = tmp_path / "page" / "report.html"
    assert (code, out) == (0, f"{page}\n")
    assert "3 trials" in page.read_text()
    code, out, err = call(tmp_path, "report", "--no-pictures", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "report": str(run.path / "report.html"),
        "markdown": str(run.path / "report.md"),
    }


def test_no_run_is_one_line(tmp_path):
    code, out, err = call(tmp_path, "report")
    assert (code, out) == (2, "")
    assert err == "hpo report: no runs below runs/; `hpo ls` lists runs, `hpo search` makes one\n"
