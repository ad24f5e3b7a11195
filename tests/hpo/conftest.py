"""Shared by the harness's tests: no MLflow address from outside, and a run that labels pictures."""

import shutil

import numpy as np
import pytest

from hpo.core.budget import parse_budget
from hpo.run.run_dir import RunDir
from hpo.searching.session import start_search
from hpo.searching.settings import SearchSettings
from tests.quick_runs import quick_study
from trainer.gallery import GalleryIndex
from trainer.unknowns import Queries
from trainer.vectors import Vectors


@pytest.fixture(autouse=True)
def _own_places(tmp_path_factory, monkeypatch):
    """No test writes into the user's cache or talks to the user's tracking server."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="package", autouse=True)
def _quick_forecasts():
    """Searches are rehearsed once: a forecast as users have it costs three times such a search."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hpo.searching.forecast.REHEARSED_TRIALS", 1)
        patch.setattr("hpo.searching.forecast.SPEEDS", (1.0,))
        yield


@pytest.fixture(scope="session")
def labelling_run(tmp_path_factory):
    """A finished run, its export replaced by a model that the real trainer can use; never changed."""
    from tests.hpo.tracking.test_registry import write_model

    study = quick_study(budget=parse_budget("1"))
    out = tmp_path_factory.mktemp("labelling")
    run = start_search(study, out, SearchSettings(executor="inprocess")).run
    shutil.rmtree(run.best_dir)
    write_model(run.best_dir)
    text = run.study_file.read_text().replace("tests.quick_trainer:TRAINER", "ml_recog")
    run.study_file.write_text(text)
    return run


@pytest.fixture
def run(labelling_run, tmp_path):
    """A copy of the run that labels pictures."""
    own = tmp_path / "runs" / labelling_run.path.parent.name / labelling_run.path.name
    shutil.copytree(labelling_run.path, own, symlinks=True)
    return RunDir(own)


@pytest.fixture
def calibrated(run):
    """The run's gallery holds eight dark hues, each with queries next to it; returns the hues."""
    hues = [(200, 10, 10), (200, 100, 0), (180, 180, 0), (60, 200, 0), (0, 200, 120), (0, 130, 200),
            (30, 10, 200), (180, 0, 180)]  # fmt: skip
    names = [f"hue{number}" for number in range(len(hues))]
    queries = [[channel + more for channel in hue] for hue in hues for more in (2, 4, 6)]
    emb = np.array(queries, dtype=np.float32)
    GalleryIndex(
        vectors=Vectors.of(np.array(hues, dtype=np.float32)),
        labels_G=np.arange(len(hues)),
        class_names=tuple(names),
        paths=tuple(f"{name}/0.png" for name in names),
        queries=Queries.of(emb, [name for name in names for _ in range(3)], trained=[]),
    ).save(run.best_dir / "gallery.npz")
    return np.array(hues, dtype=np.float32)
