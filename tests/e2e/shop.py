"""Known and unknown classes of the embedded data set, laid out as the skill's table says."""

from __future__ import annotations

from pathlib import Path

from trainer.data.demo import make_demo_data

LAYOUT = {
    "known_classes": {"train": "train", "reference": "reference", "val": "query"},
    "unknown_classes": {"reference": "test_reference", "test": "test_query"},
}
SMALL = {
    "model.backbone": "timm/test_resnet", "input_height": 32, "input_width": 32, "feat_dim": 32,
    "train.batch_size": 16, "dataset.workers": 0,
}  # fmt: skip
"""A recogniser that one core trains in seconds."""


def small_flags(**more):
    """`--set` words of the small recogniser."""
    return [w for key, value in (SMALL | more).items() for w in ("--set", f"{key}={value}")]


def make_shop(folder, classes=4):
    """Make `folder/data` with so many classes of each kind; returns it."""
    sources = make_demo_data(folder / ".drawn", 3)
    for known, splits in LAYOUT.items():
        names = sorted(path.name for path in Path(sources[next(iter(splits.values()))]).iterdir())
        for split, source in splits.items():
            (folder / "data" / known / split).mkdir(parents=True)
            for name in names[:classes]:
                target = Path(sources[source]) / name
                (folder / "data" / known / split / name).symlink_to(target)
    return folder / "data"
