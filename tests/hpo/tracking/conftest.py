"""An empty MLflow store, created once, and a study over a copy of it."""

import pytest

from hpo.tracking.store import connect
from tests.hpo.tracking.scripted import Script, copy_store


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    database = tmp_path_factory.mktemp("template") / "mlflow.db"
    connect(f"sqlite:///{database}")
    return database


@pytest.fixture
def out(template, tmp_path):
    return copy_store(template, tmp_path / "runs")


@pytest.fixture
def script(out):
    return Script(out)
