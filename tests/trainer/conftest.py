"""Shared by the trainer's tests: where published reference files lie."""

import os
from pathlib import Path

import pytest


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
