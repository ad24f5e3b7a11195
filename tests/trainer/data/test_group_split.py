import numpy as np
import pytest

from tests.trainer.data.planted import plant_bursts
from trainer.data.folder import ImageFolder, scan_folder
from trainer.data.group_split import divide_groups
from trainer.data.sources import open_source
from trainer.data.split import split_folder
from trainer.errors import DataError

SHARES = {"train": 0.7, "reference": 0.15, "query": 0.075, "test_query": 0.075}
NAMES = ("train", "reference", "query", "test_reference", "test_query")


def source_of(tmp_path, labels):
    names = tuple(f"c{i}" for i in range(max(labels) + 1))
    paths = tuple(f"c{label}/{i}.png" for i, label in enumerate(labels))
    return ImageFolder(tmp_path, names, paths, np.array(labels))


def divided(source, groups, seed=0):
    return divide_groups(
        source, np.array(groups), range(len(source.classes)), SHARES, seed=seed, least={"train": 2}
    )


def check(source, groups, parts):
    """Every picture in one part, no group in two, every class in all, two to learn from."""
    groups = np.array(groups)
    assert sorted(i for own in parts.values() for i in own) == list(range(len(groups)))
    places = {}
    for name, own in parts.items():
        for group in set(groups[own].tolist()):
            assert places.setdefault(group, name) == name
        counts = np.bincount(source.labels[own], minlength=len(source.classes))
        assert counts.min() >= (2 if name == "train" else 1)


def test_groups_of_all_sizes_stay_whole(tmp_path):
    rng = np.random.default_rng(4)
    labels, groups = [], []
    for label in range(12):
        for group in range(int(rng.integers(4, 30))):
            size = int(rng.integers(1, 9)) if group else 9
            labels += [label] * size
            groups += [label * 100 + group] * size
    source = source_of(tmp_path, labels)
    for seed in range(3):
        parts = divided(source, groups, seed)
        check(source, groups, parts)
        assert 0.55 < len(parts["train"]) / len(labels) < 0.8


def test_single_pictures_are_divided_as_without_groups(tmp_path):
    source = source_of(tmp_path, [0] * 40 + [1] * 20)
    parts = divided(source, range(60))
    counts = {n: np.bincount(source.labels[own]).tolist() for n, own in parts.items()}
    assert counts == {"train": [28, 13], "reference": [6, 3], "query": [3, 2], "test_query": [3, 2]}


def test_the_smallest_class_that_can_be_split(tmp_path):
    source = source_of(tmp_path, [0] * 5 + [1] * 33)
    groups = [0, 0, 1, 2, 3, *([10] * 30), 11, 12, 13]
    parts = divided(source, groups)
    check(source, groups, parts)
    assert set(range(5, 35)) <= set(parts["train"])


def test_groups_that_reach_over_classes_stay_whole(tmp_path):
    labels = [0, 1, 2] * 12
    groups = [i // 3 for i in range(36)]
    source = source_of(tmp_path, labels)
    check(source, groups, divided(source, groups))


@pytest.mark.parametrize(
    ("labels", "groups", "words"),
    [
        ([0] * 9 + [1] * 9, [*range(9), *[10] * 9], r"have fewer: c1 \(9 pictures in 1 group\)"),
        ([0] * 4 + [1] * 9, [*range(13)], r"1 of 2 have fewer: c0 \(4 pictures in 4 groups\)"),
        ([0] * 5 + [1] * 5, [0, 0, 1, 1, 2, 2, 2, 3, 3, 0], r"c1 \(5 pictures in 3 groups\)"),
    ],
)
def test_classes_of_too_few_groups_are_named(tmp_path, labels, groups, words):
    with pytest.raises(DataError, match=words):
        divided(source_of(tmp_path, labels), groups)


@pytest.mark.parametrize("class_disjoint", [False, True])
def test_no_planted_burst_is_torn_apart(tmp_path, class_disjoint):
    bursts = plant_bursts(tmp_path / "all", classes=10, objects=20, shots=3, seed=7)
    split = split_folder(
        tmp_path / "all", tmp_path / "out", seed=1, class_disjoint=class_disjoint,
        group_by="near-duplicates",
    )  # fmt: skip
    where = {}
    for name in NAMES:
        folder = scan_folder(split[name])
        for path in folder.paths:
            where.setdefault((folder.root / path).resolve(), set()).add(split[name])
    assert len(where) == 600
    assert len(bursts) == 200
    for burst in bursts.values():
        assert len(set().union(*(where[path.resolve()] for path in burst))) == 1


def test_a_list_is_split_by_its_column_group_and_gives_lists(tmp_path, make_folder):
    make_folder("all", {"a b": 12, "c": 12})
    lines = [f"all/{c}/{i}.png,{c},{c}{i // 2}" for c in ("a b", "c") for i in range(12)]
    (tmp_path / "l.csv").write_text("\n".join(["path,label,group", *lines]))
    split = split_folder(tmp_path / "l.csv", tmp_path / "out", seed=1)
    found = {
        name: open_source(split[name]) for name in ("train", "reference", "query", "test_query")
    }
    assert sum(len(folder.paths) for folder in found.values()) == 24
    owners = {}
    for name, folder in found.items():
        assert folder.classes == ("a b", "c")
        assert folder.source == str(tmp_path / "l.csv")
        for group in folder.columns["group"]:
            assert owners.setdefault(group, name) == name
    assert split_folder(tmp_path / "l.csv", tmp_path / "out", seed=1) == split
