"""Run directories written by earlier versions still open, report and resume.

`old_runs/` holds runs of the quick trainer: `version_0_1_0` of release 0.1.0, `pinned_values` of the
code just after fixed values came to reach trials. Each has a finished search of six trials and one
that was interrupted. The files are as those versions wrote them, paths of that machine included.
"""

import tarfile
from pathlib import Path

import pytest

from hpo.core.trial import TrialState
from hpo.report.run_data import load_run_data
from hpo.run.ledger import Ledger
from hpo.run.run_dir import RunDir
from hpo.searching.session import resume_search
from tests.quick_runs import Ear

ARCHIVES = sorted((Path(__file__).parent / "old_runs").glob("*.tar.gz"))
VERSIONS = [path.name.removesuffix(".tar.gz") for path in ARCHIVES]


@pytest.fixture(params=ARCHIVES, ids=VERSIONS)
def runs(request, tmp_path):
    with tarfile.open(request.param) as archive:
        archive.extractall(tmp_path, filter="data")
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
    assert not result.interrupted
    assert [trial.number for trial in after] == list(range(6))
    for old in before:
        new = after[old.number]
        assert new.params == old.params
        assert new.measurements[: len(old.measurements)] == old.measurements
