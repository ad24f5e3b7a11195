import pytest

from trainer.data.layout import find_splits
from trainer.data.tree import list_folder

USUAL = {"train": "train", "reference": "gallery", "query": "val", "test_query": "test"}


@pytest.fixture
def lay_out(tmp_path):
    """Make empty files and folders and look for splits among them."""

    def make(*names):
        for name in names:
            path = tmp_path / name
            if name.endswith("/"):
                path.mkdir(parents=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        return find_splits(tmp_path, list_folder(tmp_path))

    return make


def classes_of(*splits):
    return [f"{split}/{label}/1.png" for split in splits for label in ("apple", "pear")]


@pytest.mark.parametrize(
    "names",
    [
        USUAL,
        {"train": "Training", "reference": "REFERENCE", "query": "valid", "test_query": "Testing"},
        {"train": "train_set", "reference": "index", "query": "validation"},
        {"train": "train2017", "reference": "database", "query": "Queries"},
        {"train": "images_train", "reference": "ref", "query": "query-images"},
        {
            "train": "train",
            "reference": "val_gallery",
            "query": "val_query",
            "test_reference": "test_gallery",
            "test_query": "test_query",
        },
        {
            "train": "train",
            "reference": "val/gallery",
            "query": "val/query",
            "test_reference": "test/reference",
            "test_query": "test/queries",
        },
    ],
)
def test_names_without_doubt_are_the_sources(lay_out, tmp_path, names):
    layout = lay_out(*classes_of(*names.values()), "README.md")
    assert layout.sources() == {source: str(tmp_path / name) for source, name in names.items()}
    assert f"--query {tmp_path}/{names['query']}" in layout.flags()


@pytest.mark.parametrize(
    ("folders", "why", "flags"),
    [
        (
            ["train", "val"],
            "lacks the gallery",
            "--train R/train --reference R/train --query R/val to match against the training "
            "pictures, or --data R/train to have it split",
        ),
        (
            ["train", "val", "test"],
            "lacks the gallery",
            "--train R/train --reference R/train --query R/val --test-query R/test to match",
        ),
        (["train", "test"], "lacks the gallery", "--reference R/train --query R/test to match"),
        (
            ["train", "gallery", "test"],
            "lacks the queries of the search",
            "--train R/train --reference R/gallery --query R/test",
        ),
        (
            ["gallery", "query"],
            "lacks the training set",
            "--train TRAIN --reference R/gallery --query R/query",
        ),
        (
            ["train", "training", "gallery", "val"],
            "each of train and training may be the training set",
            "--train R/train --reference R/gallery --query R/val",
        ),
        (
            ["train", "gallery", "val", "query"],
            "each of query and val may be the queries of the search",
            "--train R/train --reference R/gallery --query R/query",
        ),
        (
            ["train", "gallery", "val", "test_gallery"],
            "lacks the queries of the final evaluation",
            "--test-reference R/test_gallery",
        ),
    ],
)
def test_names_in_doubt_come_with_what_to_type(lay_out, tmp_path, folders, why, flags):
    layout = lay_out(*classes_of(*folders))
    assert layout.sources() is None
    refusal = layout.refusal().replace(str(tmp_path), "R")
    assert refusal.startswith(f"holds splits ({layout.names}), not classes, and {why}; type ")
    assert flags in refusal


def test_a_split_without_class_folders_is_named(lay_out):
    layout = lay_out(*classes_of("train", "gallery", "val"), "test/1.png", "test/2.png")
    assert layout.sources() is None
    assert "no class folders are in test" in layout.refusal()


def test_paths_are_quoted_as_a_shell_needs_it(lay_out, tmp_path):
    layout = lay_out(*classes_of("train", "gallery", "val data"))
    assert f"--query '{tmp_path}/val data'" in layout.flags()


@pytest.mark.parametrize(
    "names",
    [
        ["train/1.png", "bus/1.png", "car/1.png"],  # a railway train
        ["train/1.png", "index/1.png", "bus/1.png", "car/1.png", "plane/1.png"],
        ["trainers/a/1.png", "testers/b/1.png"],
        ["valid/1.png", "defect/1.png"],
        ["reference/1.png", "scratch/1.png", "dent/1.png"],
        ["apple/1.png", "pear/1.png"],
        ["train-station/1.png", "test-tube/1.png"],
    ],
)
def test_classes_are_no_splits(lay_out, names):
    assert lay_out(*names) is None


def test_splits_beside_other_folders_are_splits(lay_out):
    names = classes_of("train", "val", "gallery")
    layout = lay_out(*names, "annotations/a.txt", "docs/x.md", "models/", "logs/", "labels/")
    assert layout.names == "gallery, train and val"


def test_loose_pictures_in_folders_named_after_splits_are_no_classes(lay_out):
    layout = lay_out("train/1.png", "test/1.png")
    assert layout.sources() is None
    assert "no class folders are in test and train" in layout.refusal()
