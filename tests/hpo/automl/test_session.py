import json
import shutil
from functools import partial
from pathlib import Path

import pytest

from hpo import AutoML
from hpo.automl.hooks import Hooks
from hpo.automl.route_settings import RouteSettings
from hpo.automl.session import AutoMLSession
from hpo.automl.workspace import AUTOML_DIR
from hpo.cli.main import main
from hpo.core.budget import parse_budget
from hpo.core.errors import RunError
from hpo.run.run_dir import AUTOML_FACTS, RunDir
from hpo.searching.session import resume_search
from hpo.searching.settings import SearchSettings
from hpo.study.plan import read_plan
from tests.count_calls import count_calls
from tests.hpo.automl.conftest import METRIC
from tests.quick_trainer import NAME


def test_a_larger_budget_goes_beyond_the_number_that_was_asked_for_first(run):
    result = run(settings={"automl_max_recommendations": 2})
    workspace = RunDir(Path(result["workspace_path"]))
    settings = SearchSettings(executor="inprocess", make_session=AutoMLSession)
    again = resume_search(workspace, settings, budget=parse_budget("3"))
    assert again.finished.trials["complete"] == 3


def test_the_front_of_several_objectives_stays_where_the_best_alone_are_kept(run):
    def evaluate(rec, job):
        return {METRIC: 0.5 - rec.id / 100, "ms": 9.5 if rec.id == 2 else 9.0 - rec.id}

    objectives = [METRIC, {"metric": "ms", "direction": "minimize", "scale": 100}]
    place = run(eval_fn=evaluate, settings={"objectives": objectives})["workspace_path"]
    route = RouteSettings(hooks=Hooks(eval_fn=evaluate))
    settings = SearchSettings(
        executor="inprocess", make_session=partial(AutoMLSession, route=route)
    )
    resume_search(RunDir(Path(place)), settings, budget=parse_budget("5"), keep="best")
    removed = [file.parts[-3] for file in Path(place).glob("trials/*/ckpt/removed.txt")]
    assert removed == ["0002"]


def test_specs_of_trials_are_not_read_again_at_every_event(run):
    """A trial's own is read for the caller, and the best one's; the views and the history do without."""
    counts = [
        count_calls(run, settings={"automl_max_recommendations": trials}, of="trained_spec")
        for trials in (4, 12)
    ]
    assert counts[1] - counts[0] <= 8


def test_data_are_staged_with_a_record(run, data):
    result = run(settings={"automl_max_recommendations": 1})
    file = Path(result["workspace_path"]) / "evaluations" / "data_staging.json"
    sources = json.loads(file.read_text())["sources"]
    assert {f"data.{name}": rows[0]["source"] for name, rows in sources.items()} == data


def test_a_pruned_trial_of_a_workspace_is_explained(run, capsys):
    result = run(
        settings={"algorithm": "hyperband", "automl_max_recommendations": 12},
        overrides={"train.num_epochs": 9},
    )
    folder = Path(result["workspace_path"])
    assert read_plan(folder).route_style == "running"
    state = json.loads((folder / "state.json").read_text())
    pruned = [row["trial"] for row in state["trials"] if row["state"] == "pruned"]
    capsys.readouterr()
    assert main(["why", str(folder), str(pruned[0]), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["competitors"][found["place"] - 1]["trial"] == pruned[0]
    assert any(line.startswith("the algorithm said: ") for line in found["lines"])


def _lose(folder, how):
    facts = folder / AUTOML_FACTS
    facts.unlink()
    if how == "folder":
        facts.mkdir()
    elif how == "all":
        shutil.rmtree(folder / AUTOML_DIR)
    else:
        facts.write_text(how)


@pytest.mark.parametrize("how", ["gone", "folder", "all", "", "[1]"])
@pytest.mark.parametrize("place", ["caller", "here"])
def test_a_workspace_without_its_facts_starts_no_trial(run, skill, tmp_path, capsys, how, place):
    """Before, each trial that was left failed, or was searched as if by another route."""
    settings = {"algorithm": "random", "automl_max_recommendations": 3}
    if place == "here":
        folder = Path(run(settings=settings | {"automl_max_recommendations": 1})["workspace_path"])
    else:
        folder = tmp_path / "asked"
        with AutoML(folder, str(skill), {}, settings, trainer=NAME) as automl:
            automl.next_recommendation()
    ledger = (folder / "ledger.db").read_bytes()
    _lose(folder, how)
    for more in ([], ["--budget", "5"]):
        capsys.readouterr()
        assert main(["resume", str(folder), "--in-process", "--yes", *more]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert line.startswith("hpo resume: ")
        assert "facts.json: must be the facts of a workspace, and is damaged or missing" in line
    assert (folder / "ledger.db").read_bytes() == ledger
    says = "holds something else" if how == "all" else "damaged or missing; restore it"
    with pytest.raises(RunError, match=says):
        AutoML(folder, str(skill), {}, settings, trainer=NAME)


def test_the_study_of_a_callers_workspace_is_no_search(skill, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HPO_TRAINER_MODULES", "tests,hpo.automl.skill_trainer")
    settings = {"algorithm": "random", "automl_max_recommendations": 3}
    AutoML(tmp_path / "asked", str(skill), {}, settings, trainer=NAME).finish()
    out = tmp_path / "runs"
    argv = ["search", str(tmp_path / "asked/study.yaml"), "--in-process", "--yes"]
    assert main([*argv, "--out", str(out)]) == 2
    assert "trainer.is_elsewhere: must be left out" in capsys.readouterr().err
    assert not out.exists()
