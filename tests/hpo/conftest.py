"""Shared by the harness's tests: one thread per process, no MLflow address from outside."""

import os

import pytest

# Read when numpy and torch are first imported; on a busy machine more threads only wait.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _own_places(tmp_path_factory, monkeypatch):
    """No test writes into the user's cache or talks to the user's tracking server."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cache"))
