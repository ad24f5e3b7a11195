"""A clean set of pictures, made once, and a copy of it to spoil."""

import shutil

import pytest

from tests.trainer.doctor.drawing import CLASSES, SPLITS, draw


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    root = tmp_path_factory.mktemp("clean")
    seed = 0
    for split, count in SPLITS.items():
        for name in CLASSES:
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                draw(seed).save(folder / f"{split}_{i}.jpg", quality=90)
                seed += 1
    return root


@pytest.fixture
def pictures(clean, tmp_path):
    shutil.copytree(clean, tmp_path / "pictures")
    return tmp_path / "pictures"
