"""Skill folders of the quick trainer, and a runner over them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hpo import AutoMLRunner
from hpo.core.yaml_io import read_yaml, to_yaml
from tests.hpo.automl.watching import skill_folders_are_only_read  # noqa: F401 - for every test below
from tests.quick_trainer import DEFAULTS, NAME

QUICK_SKILL = Path(__file__).parents[2] / "quick_skill"
METRIC = "val_precision_at_1"


def make_skill(folder, **info):
    """A complete skill folder of the quick trainer; `info` changes its metadata."""
    shutil.copytree(QUICK_SKILL, folder)
    file = folder / "references" / "skill_info.yaml"
    facts = read_yaml(file) | {"metrics": {"monitoring_metric": METRIC}} | info
    file.write_text(to_yaml(facts))
    (folder / "references" / "spec_template_train.yaml").write_text(
        to_yaml({k: DEFAULTS[k] for k in ("results_dir", "train", "data", "fault")})
    )
    return folder


@pytest.fixture
def skill(tmp_path):
    return make_skill(tmp_path / "skill")


@pytest.fixture
def data():
    """Data keys of the quick trainer."""
    return {"data.train": "/t", "data.reference": "/r", "data.query": "/q"}


@pytest.fixture
def run(skill, data, tmp_path):
    """Run a search in this process; returns its result."""

    def go(*, settings=None, overrides=None, runner=None, trainer=NAME, **more):
        runner = runner or AutoMLRunner(skill_dir=skill, trainer=trainer)
        given = {"algorithm": "random", "metric": "kpi", "automl_max_recommendations": 4}
        short = {} if "automl_max_epochs" in (settings or {}) else {"train.num_epochs": 3}
        is_bare = more.get("resume") and settings is None and overrides is None
        return runner.run(
            automl_settings={} if is_bare else given | (settings or {}),
            spec_overrides={} if is_bare else data | short | (overrides or {}),
            workspace_path=more.pop("workspace_path", tmp_path / "ws"),
            in_process=True,
            **more,
        )

    return go
