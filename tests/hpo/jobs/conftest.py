"""Skill folders whose commands need no torch, data below a root, and jobs on both."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from hpo.jobs.platform import LocalJobs

ROOT = Path(__file__).resolve().parents[3]
OWN_SKILL = ROOT / "trainer" / "skill"
FAKE = Path(__file__).with_name("fake_action.py")
SPLITS = (
    "known_classes/train", "known_classes/reference", "known_classes/val",
    "unknown_classes/reference", "unknown_classes/test",
)  # fmt: skip


@pytest.fixture
def published():
    """The published skill folder, where it is at hand."""
    shared = os.environ.get("HPO_SHARED_DIR", "")
    folder = Path(shared) / "reference" / "skill" / "ml_recog"
    if not shared or not folder.is_dir():
        pytest.skip("HPO_SHARED_DIR does not name a folder with reference/skill/ml_recog")
    return folder


def make_skill(folder):
    """Our own skill folder with the command replaced by one that needs a tenth of a second."""
    shutil.copytree(OWN_SKILL, folder)
    for file in (folder / "references").glob("*skill_info.yaml"):
        text = file.read_text()
        text = text.replace("command: ml_recog", f"command: {sys.executable} {FAKE}")
        file.write_text(text)
    return folder


@pytest.fixture(scope="session")
def skill(tmp_path_factory):
    return make_skill(tmp_path_factory.mktemp("skills") / "recog")


@pytest.fixture
def data(tmp_path):
    """A root with everything that the skill's table lists, unpacked."""
    root = tmp_path / "data"
    for split in SPLITS:
        (root / split / "a").mkdir(parents=True)
    return root


@pytest.fixture
def jobs(tmp_path, skill):
    return LocalJobs(tmp_path / "work", skill)


def spec_of(job):
    return yaml.safe_load(job.spec_file.read_text())


@pytest.fixture
def trained(jobs, data):
    """A finished training of four epochs, the second of which was the best."""
    return run(jobs, "train", data, {"train.num_epochs": 4})


def run(jobs, action, data=None, overrides=None, **more):
    """Run a job to its end, here."""
    from hpo.jobs.compose_spec import JobRequest

    roots = {"train_dataset_uri": str(data)} if data else {}
    request = JobRequest(action=action, overrides=overrides or {}, roots=roots)
    return jobs.run(jobs.prepare_job(request, **more))
