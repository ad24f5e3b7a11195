"""Runs a search of a pretended skill on a pretended platform, under the published names."""

from __future__ import annotations

import sys

import pytest

from hpo.automl import alias
from tests.hpo.automl.contract.pretended import METRIC, Sdk, make_skill


@pytest.fixture(autouse=True)
def _published_names():
    alias.install()
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == alias.NAME]:
        del sys.modules[name]


@pytest.fixture
def folder(tmp_path):
    """A skill folder with one action."""
    return make_skill(tmp_path / "skill")


@pytest.fixture
def go(folder, tmp_path):
    """Search three configurations on a platform; returns the result."""

    def run(sdk=None, *, skill=None, action="train", trials=3, settings=None, **more):
        from tao_automl.runner import AutoMLRunner

        sdk = Sdk() if sdk is None else sdk
        runner = AutoMLRunner(sdk, str(skill or folder), action, poll_interval=0.001)
        given = {"algorithm": "random", "metric": METRIC, "automl_max_recommendations": trials}
        if more.get("resume"):
            given = {}
        if "objectives" in (settings or {}):
            del given["metric"]
        return runner.run(
            automl_settings=given | (settings or {}),
            workspace_path=more.pop("workspace_path", tmp_path / "ws"),
            **more,
        )

    return run
