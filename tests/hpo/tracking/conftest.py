"""An empty MLflow store, created once, and a study over a copy of it."""

import shutil
from importlib.metadata import version

import pytest

from hpo.tracking.store import connect
from tests.hpo.tracking.scripted import Script, copy_store


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """An empty database; creating one takes ten seconds, so processes and runs share it."""
    kept = tmp_path_factory.getbasetemp().parent / f"mlflow-{version('mlflow')}.db"
    if not kept.exists():
        draft = tmp_path_factory.mktemp("template") / "mlflow.db"
        connect(f"sqlite:///{draft}")
        copy = draft.with_name("copy.db")
        shutil.copy(draft, copy)
        copy.rename(kept)
    return kept


@pytest.fixture
def out(template, tmp_path):
    return copy_store(template, tmp_path / "runs")


@pytest.fixture
def script(out):
    return Script(out)
