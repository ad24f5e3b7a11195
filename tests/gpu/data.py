"""Pictures and specs of the steps: the demonstration pictures, or a few tiny ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.gpu.smoke import Context
from tests.trainer.tiny import make_splits
from trainer.session import TRAINER


def sources(context: Context) -> dict[str, str]:
    """Folders of `train`, `reference` and `query`, made once."""
    folder = context.scratch / "pictures"
    if context.tiny:
        return make_splits(folder)
    found = TRAINER.demo_data(folder, 1)
    return {name: found[name] for name in ("train", "reference", "query")}


def as_one_folder(context: Context) -> Path:
    """A folder with `train`, `reference` and `val`, as the benchmarks take one."""
    folder = context.scratch / "one_folder"
    folder.mkdir(exist_ok=True)
    for name, source in sources(context).items():
        link = folder / ("val" if name == "query" else name)
        if not link.is_symlink():
            link.symlink_to(Path(source).resolve())
    return folder


def train_spec(
    context: Context, name: str, trunk: str, size: int, batch: int, **changes: Any
) -> dict[str, Any]:
    """A train spec for a card, or of the smallest trunk in tiny steps; `__` stands for a dot."""
    found = sources(context)
    if context.tiny:
        trunk, size, batch = "timm/test_resnet", 32, 16
    return {
        "results_dir": str(context.scratch / "runs" / name),
        "dataset.train_dataset": found["train"],
        "dataset.val_dataset.reference": found["reference"],
        "dataset.val_dataset.query": found["query"],
        "model.backbone": trunk,
        "model.input_height": size,
        "model.input_width": size,
        "train.batch_size": batch,
        **{key.replace("__", "."): value for key, value in changes.items()},
    }
