"""Shared by the harness's tests: no MLflow address from outside."""

import pytest


@pytest.fixture(autouse=True)
def _own_places(tmp_path_factory, monkeypatch):
    """No test writes into the user's cache or talks to the user's tracking server."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cache"))
