"""Pictures made once, and a cache folder of the test's own."""

from pathlib import Path

import pytest

from tests.trainer.tiny import make_splits, train_spec


@pytest.fixture(autouse=True)
def cache_dir(tmp_path, monkeypatch) -> Path:
    """The user's cache folder, for this test alone."""
    folder = tmp_path / "user-cache"
    monkeypatch.setenv("HPO_CACHE_DIR", str(folder))
    monkeypatch.delenv("HPO_CACHE_GB", raising=False)
    return folder


@pytest.fixture(scope="session")
def splits(tmp_path_factory) -> dict[str, str]:
    """Folders of 4 classes: 8 training pictures of each, 2 in the gallery, 3 queries."""
    return make_splits(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def frozen(splits, tmp_path):
    """A train spec of a head alone, on pictures as they are unless told otherwise."""

    def make(**changes):
        kept = {"dataset__cache": True, "train__train_trunk": False, "dataset__feature_views": 0}
        return train_spec(splits, tmp_path / "run", **{**kept, **changes})

    return make
