"""A copy of a run is known by another uuid than its original; a moved run keeps its own."""

import json
import shutil

import pytest

from hpo.core.event_json import to_json
from hpo.core.events import Started
from hpo.run.run_dir import RunDir
from hpo.study.copied_run import with_own_uuid
from hpo.study.plan import StudyPlan, read_plan

PLAN = StudyPlan(
    study_uuid="0f8fad5b", sources={}, base_spec={}, algorithm="tpe", pruner="none", reason="",
    space_digest="", num_epochs=3, planned_trials=4,
)  # fmt: skip


def start(run):
    """Begin a search in a run, as a driver does; returns its uuid."""
    plan = with_own_uuid(run, read_plan(run.path))
    with run.events_file.open("a") as stream:
        stream.write(to_json(Started(run_dir=str(run))) + '\n{"event": "epoch", "started": 1}\n')
    return plan.study_uuid


@pytest.fixture
def run(tmp_path):
    run = RunDir(tmp_path / "shelf" / "20261130-101500")
    run.path.mkdir(parents=True)
    PLAN.write(run.path)
    assert start(run) == start(run) == PLAN.study_uuid
    return run


def copied(run, name):
    return RunDir(shutil.copytree(run.path, run.path.with_name(name)))


def test_a_copy_gets_a_uuid_of_its_own_once_and_the_original_keeps_its(run):
    copy = copied(run, "copy")
    own = start(copy)
    assert own != PLAN.study_uuid
    assert json.loads((copy.path / "plan.json").read_text())["study_uuid"] == own
    assert (start(copy), start(run)) == (own, PLAN.study_uuid)
    assert start(copied(copy, "copy-2")) not in (own, PLAN.study_uuid)


@pytest.mark.parametrize("leaves", ["nothing", "another run", "a link"])
def test_a_moved_run_keeps_its_uuid(run, leaves):
    moved = RunDir(run.path.rename(run.path.with_name("baseline")))
    if leaves == "another run":
        run.path.mkdir()
        (run.path / "plan.json").write_text('{"study_uuid": "9d1c"}')
    elif leaves == "a link":
        run.path.symlink_to(moved.path)
    assert start(moved) == PLAN.study_uuid
    assert start(RunDir(run.path if leaves == "a link" else moved.path)) == PLAN.study_uuid
