"""Pictures made once, and a cache folder of the test's own."""

import pytest

from tests.trainer.data.conftest import cache_dir  # noqa: F401 - for every test below
from tests.trainer.tiny import make_splits, train_spec


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
