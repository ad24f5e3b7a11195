"""Image folders made on the spot, and a cache folder of the test's own."""

import dataclasses
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer.config.dataset import ValDatasetConfig
from trainer.config.root import Spec

MakeFolder = Callable[..., Path]


@pytest.fixture(autouse=True)
def cache_dir(tmp_path, monkeypatch) -> Path:
    """The user's cache folder, for this test alone."""
    folder = tmp_path / "user-cache"
    monkeypatch.setenv("HPO_CACHE_DIR", str(folder))
    monkeypatch.delenv("HPO_CACHE_GB", raising=False)
    return folder


@pytest.fixture
def make_folder(tmp_path) -> MakeFolder:
    """Make `<name>/<class>/<i>.png` with pixels of their own."""

    def make(
        name: str, counts: dict[str, int], *, height: int = 24, width: int = 20, seed: int = 0
    ) -> Path:
        root = tmp_path / name
        rng = np.random.default_rng([seed, len(name), *name.encode()])
        for label, count in counts.items():
            (root / label).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / label / f"{i}.png")
        return root

    return make


@pytest.fixture
def make_spec() -> Callable[..., Spec]:
    """A spec over folders, 16 x 32 pixels high and wide."""

    def make(train: object = "", reference: object = None, query: object = None, **changes) -> Spec:
        spec = Spec()
        dataset = dataclasses.replace(
            spec.dataset,
            train_dataset=str(train),
            val_dataset=ValDatasetConfig(
                reference=None if reference is None else str(reference),
                query=None if query is None else str(query),
            ),
            num_instance=2,
            gaussian_blur=dataclasses.replace(spec.dataset.gaussian_blur, kernel=(5, 3)),
            **changes,
        )
        model = dataclasses.replace(spec.model, input_height=16, input_width=32)
        train_section = dataclasses.replace(spec.train, batch_size=4, seed=7)
        return dataclasses.replace(spec, dataset=dataset, model=model, train=train_section)

    return make


@pytest.fixture
def target(tmp_path) -> Path:
    """An empty folder to unpack into."""
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


@pytest.fixture
def write_zip(tmp_path):
    """A zip file; an entry is (name, content) or (ZipInfo, content)."""

    def write(*entries, method=zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as packed:
            for name, content in entries:
                packed.writestr(name, content)
        return tmp_path / "a.zip"

    return write
