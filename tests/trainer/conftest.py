"""Shared by the trainer's tests: where published reference files lie."""

import functools
import importlib.metadata
import os
import sys
from pathlib import Path

import pytest

ENTRY_POINTS = functools.cache(importlib.metadata.entry_points)


@pytest.fixture(autouse=True)
def _installed_packages_are_read_once(monkeypatch):
    """Lightning reads the metadata of every package for each training: a sixth of a short one."""
    if registry := sys.modules.get("lightning_fabric.utilities.registry"):
        monkeypatch.setattr(registry, "entry_points", ENTRY_POINTS)


@pytest.fixture(scope="session")
def published_skill() -> Path:
    """The published skill folder, read only."""
    shared = os.environ.get("HPO_SHARED_DIR")
    if not shared:
        pytest.skip("HPO_SHARED_DIR is not set: the published skill folder is not at hand")
    folder = Path(shared) / "reference" / "skill" / "ml_recog"
    if not folder.is_dir():
        pytest.skip(f"HPO_SHARED_DIR has no published skill folder ({folder.name})")
    return folder
