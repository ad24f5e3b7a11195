import json
from pathlib import Path

from hpo.automl.session import with_session
from hpo.core.budget import parse_budget
from hpo.run.run_dir import RunDir
from hpo.searching.session import SearchSettings, resume_search


def test_a_larger_budget_goes_beyond_the_number_that_was_asked_for_first(run):
    result = run(settings={"automl_max_recommendations": 2})
    workspace = RunDir(Path(result["workspace_path"]))
    settings = with_session(SearchSettings(executor="inprocess"))
    again = resume_search(workspace, settings, budget=parse_budget("3"))
    assert again.finished.trials["complete"] == 3


def test_data_are_staged_with_a_record(run, data):
    result = run(settings={"automl_max_recommendations": 1})
    file = Path(result["workspace_path"]) / "evaluations" / "data_staging.json"
    sources = json.loads(file.read_text())["sources"]
    assert {f"data.{name}": rows[0]["source"] for name, rows in sources.items()} == data
