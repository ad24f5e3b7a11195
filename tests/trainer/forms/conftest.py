"""Exports of small trained models, with pictures of many sizes."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.trainer.tiny import make_splits, train_spec
from trainer.session import TRAINER


def make_export(root: Path, **changes) -> Path:
    """Export a model with random weights; queries are smooth pictures of sizes of their own."""
    splits = make_splits(root / "pictures", classes=3, images=2)
    rng = np.random.default_rng(5)
    shutil.rmtree(splits["query"])
    for i in range(9):
        sides = tuple(int(side) for side in rng.integers(30, 140, 2))
        noise = Image.fromarray(rng.integers(0, 256, (6, 7, 3), dtype=np.uint8))
        file = Path(splits["query"], f"class_0{i % 3}", f"{i}.png")
        file.parent.mkdir(parents=True, exist_ok=True)
        noise.resize(sides, Image.Resampling.BICUBIC).save(file)
    spec = TRAINER.validate(train_spec(splits, root, **changes))
    folder = root / "best"
    folder.mkdir()
    TRAINER.save_start(spec, folder / "model.ckpt")
    spec["export"] = {
        "checkpoint": str(folder / "model.ckpt"),
        "onnx_file": str(folder / "model.onnx"),
        "on_cpu": True,
    }
    TRAINER.export(spec)
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
    return folder


@pytest.fixture(scope="session")
def squashed(tmp_path_factory):
    """Resized by `bilinear` to a rectangle, whatever the ratio of the sides."""
    return make_export(
        tmp_path_factory.mktemp("squashed"),
        model__input_width=48,
        dataset__interpolation="bilinear",
    )


@pytest.fixture(scope="session")
def cut(tmp_path_factory):
    """Resized by the short side by `bicubic`, the middle cut out."""
    return make_export(
        tmp_path_factory.mktemp("cut"),
        dataset__crop_share=0.875,
        dataset__interpolation="bicubic",
        dataset__pixel_mean=[0.5, 0.4, 0.3],
    )


@pytest.fixture(scope="session")
def cut_wide(tmp_path_factory):
    """Cut to a rectangle."""
    return make_export(
        tmp_path_factory.mktemp("cut_wide"),
        model__input_width=64,
        dataset__crop_share=0.8,
        dataset__interpolation="bilinear",
    )
