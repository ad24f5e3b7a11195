import os
from pathlib import Path

import pytest

from search_spaces import Schema, load_schema


@pytest.fixture(scope="session")
def published_folder() -> Path:
    """The schemas of the published network, which are not part of this project."""
    shared = os.environ.get("HPO_SHARED_DIR")
    if not shared:
        pytest.skip("HPO_SHARED_DIR is not set: the published schemas are not at hand")
    folder = Path(shared) / "reference" / "skill" / "ml_recog" / "schemas"
    if not (folder / "train.schema.json").is_file():
        pytest.skip(f"{folder}/train.schema.json is missing")
    return folder


@pytest.fixture(scope="session")
def published(published_folder: Path) -> Schema:
    return load_schema(published_folder / "train.schema.json")
