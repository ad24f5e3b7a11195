"""Run directories written by earlier versions still open, report and resume.

`old_runs/` holds runs of the quick trainer, an archive for each tagged release: a finished search of
six trials, one that was interrupted, and a finished workspace of the AutoML route with its skill
folder. The files are as those releases wrote them, paths included.
"""

import json
import shutil
from pathlib import Path

import pytest

from hpo.core.budget import Budget
from hpo.core.errors import RunError, SpecError
from hpo.core.trial import TrialState
from hpo.core.yaml_io import read_yaml
from hpo.report.run_data import load_run_data
from hpo.run.ledger import Ledger
from hpo.run.run_dir import RunDir
from hpo.searching.session import resume_search
from tests.quick_runs import Ear

ROOT = Path(__file__).parent
ARCHIVES = sorted((ROOT / "old_runs").glob("*.tar.gz"))
VERSIONS = [path.name.removesuffix(".tar.gz") for path in ARCHIVES]


@pytest.fixture(params=ARCHIVES, ids=VERSIONS)
def runs(request, tmp_path):
    shutil.unpack_archive(request.param, tmp_path)
    return tmp_path / request.param.name.removesuffix(".tar.gz")


def trials_of(run):
    ledger = Ledger.open(run.ledger_file)
    found = ledger.trials()
    ledger.close()
    return found


def test_a_finished_run_shows_its_six_trials_and_its_best(runs):
    run = RunDir(runs / "finished")
    trials = trials_of(run)
    assert [trial.number for trial in trials] == list(range(6))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    data = load_run_data(run)
    best = run.read_state()["finished"]["best"]["trial"]
    assert data.trials[best].value == max(t.value for t in trials if t.state is TrialState.COMPLETE)


def test_an_interrupted_run_is_resumed_to_its_budget(runs):
    run = RunDir(runs / "interrupted")
    before = trials_of(run)
    assert 0 < len(before) < 6
    # The code has changed since, as `--force` allows; the run says so.
    result = resume_search(run, Ear().settings(force=True))
    after = trials_of(run)
    assert result.finished is not None
    assert [trial.number for trial in after] == list(range(6))
    for old in before:
        new = after[old.number]
        assert new.params == old.params
        assert new.measurements[: len(old.measurements)] == old.measurements


def test_an_older_workspace_is_extended(runs):
    """Its skill folder has moved. The study of the oldest names the trainer by an address."""
    folder = (runs / "workspace").rename(runs / "run_20261129-104122")
    file = folder / ".automl" / "controller" / "facts.json"
    moved = {json.loads(file.read_text())["skill_dir"]: str(runs / "skill")}
    has_address = "trainer: hpo.automl.skill_trainer:" in (folder / "study.yaml").read_text()
    assert has_address == (runs.name == "version_0_2_0")
    run = RunDir(folder)
    before = [trial.params for trial in trials_of(run)]
    with pytest.raises(SpecError, match="no such skill folder; .* --moved /.*=NEW"):
        resume_search(run, Ear().settings(), budget=Budget(trials=5))
    with pytest.raises(RunError, match="the code has changed") as caught:
        resume_search(run, Ear().settings(moved=moved), budget=Budget(trials=5))
    assert " /t=" not in str(caught.value)  # its training data: part of this path alone
    resume_search(run, Ear().settings(force=True, moved=moved), budget=Budget(trials=5))
    after = trials_of(run)
    assert [trial.params for trial in after][:4] == before
    assert len(after) == 5
    assert read_yaml(run.study_file)["trainer"]["skill"] == str(runs / "skill")
    assert json.loads(file.read_text())["skill_dir"] == str(runs / "skill")
