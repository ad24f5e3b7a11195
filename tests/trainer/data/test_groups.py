import shutil
import unicodedata

import numpy as np
import pytest
from PIL import Image

from tests.trainer.data.planted import plant_bursts
from trainer.data.folder import scan_folder
from trainer.data.groups import find_leaks, group_pictures, refuse_leaks
from trainer.data.sources import open_source
from trainer.errors import DataError, SpecError


def groups_of(folder, by):
    """Sets of paths, by group."""
    found = {}
    for path, number in zip(folder.paths, group_pictures([folder], by), strict=True):
        found.setdefault(int(number), set()).add(path)
    return sorted(map(sorted, found.values()))


def test_a_pattern_names_groups_by_what_stands_in_parentheses(tmp_path, make_folder):
    root = make_folder("all", {"a": 1, "b": 1})
    for name in ("x1_0", "x1_1", "x2_0"):
        shutil.copy(root / "a/0.png", root / f"a/{name}.png")
    shutil.copy(root / "a/0.png", root / "b/x1_7.png")
    folder = scan_folder(root)
    assert groups_of(folder, r"/(x\d)_") == [
        ["a/0.png"],
        ["a/x1_0.png", "a/x1_1.png", "b/x1_7.png"],
        ["a/x2_0.png"],
        ["b/0.png"],
    ]
    assert groups_of(folder, r"^(.*)/(x\d)_")[1] == ["a/x1_0.png", "a/x1_1.png"]


@pytest.mark.parametrize(
    ("by", "words"),
    [
        ("burst", "must be near-duplicates, a regular expression with a part in parentheses"),
        ("(x", "got '(x' (missing )"),
        ("(zebra)", "must fit the paths of pictures, and fits none of 4, such as a/0.png"),
    ],
)
def test_what_names_no_group_is_refused(make_folder, by, words):
    folder = scan_folder(make_folder("all", {"a": 2, "b": 2}))
    with pytest.raises(SpecError) as told:
        group_pictures([folder], by)
    assert words in str(told.value)


def test_a_column_of_a_list_names_groups(tmp_path, make_folder):
    make_folder("all", {"a": 3})
    lines = [f"all/a/{i}.png,a,v{i // 2}" for i in range(3)]
    (tmp_path / "l.csv").write_text("\n".join(["path,label,video", *lines]))
    folder = open_source(str(tmp_path / "l.csv"))
    assert groups_of(folder, "video") == [["0.png", "1.png"], ["2.png"]]
    with pytest.raises(SpecError, match=r"or a column of the list \(label and video\), got 'clip'"):
        group_pictures([folder], "clip")


@pytest.mark.parametrize("column", ["group", "video"])
def test_an_empty_cell_is_a_group_of_its_own_in_any_column(tmp_path, make_folder, column):
    make_folder("all", {"a": 5})
    lines = [f"all/a/{i}.png,a,{cell}" for i, cell in enumerate(["", "x", "", "x", "y"])]
    (tmp_path / "l.csv").write_text("\n".join([f"path,label,{column}", *lines]))
    found = groups_of(open_source(str(tmp_path / "l.csv")), column)
    assert found == [["0.png"], ["1.png", "3.png"], ["2.png"], ["4.png"]]


def test_planted_leaks_in_given_splits_are_found(tmp_path):
    bursts = list(plant_bursts(tmp_path / "train", classes=4, objects=9, shots=3, seed=2).values())
    planted = {"query": bursts[:5], "reference": bursts[5:8], "test_query": bursts[20:24]}
    for name, chosen in planted.items():
        for burst in chosen:
            target = tmp_path / name / burst[0].parent.name / burst[0].name
            target.parent.mkdir(parents=True, exist_ok=True)
            burst[0].rename(target)
    folders = {name: scan_folder(tmp_path / name) for name in ("train", *planted)}
    leaks = find_leaks(folders, "near-duplicates")
    assert leaks["pairs"] == {("train", "query"): 5, ("train", "test_query"): 4}
    assert leaks["groups"] == 9
    assert len(leaks["paths"]) == 9 * 3
    with pytest.raises(DataError) as told:
        refuse_leaks(folders, "near-duplicates")
    assert "9 groups (by near-duplicates)" in str(told.value)
    assert "train and query: 5" in str(told.value)
    refuse_leaks({name: folders[name] for name in ("train", "reference")}, "near-duplicates")


def test_one_file_in_two_splits_is_a_leak_and_one_folder_as_two_galleries_is_none(
    make_folder, tmp_path
):
    train = scan_folder(make_folder("train", {"a": 4, "b": 4}))
    (tmp_path / "query" / "a").mkdir(parents=True)
    (tmp_path / "query" / "a" / "other.png").symlink_to(train.root / "a/2.png")
    query = scan_folder(tmp_path / "query")
    folders = {"train": train, "reference": train, "query": query, "test_reference": train}
    assert find_leaks(folders, "near-duplicates")["pairs"] == {("train", "query"): 1}
    assert find_leaks({"train": train, "reference": train}, "near-duplicates")["groups"] == 0
    assert np.unique(group_pictures([train], "near-duplicates")).size == 8


def test_a_burst_over_two_spellings_of_one_class_needs_no_more_likeness_than_within_it(tmp_path):
    rng = np.random.default_rng(3)  # as in test_bursts: between 0.92 and 0.97 alike
    base, other = (
        Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).resize((64, 64))
        for _ in range(2)
    )
    for split, form, picture in (
        ("train", "NFC", base),
        ("query", "NFD", Image.blend(base, other, 0.25)),
    ):
        for name in (unicodedata.normalize(form, "caf\u00e9"), "tea"):
            (tmp_path / split / name).mkdir(parents=True)
        picture.save(next((tmp_path / split).glob("caf*")) / "0.png")
        noise = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / split / "tea" / "0.png")
    folders = {name: scan_folder(tmp_path / name) for name in ("train", "query")}
    assert find_leaks(folders, "near-duplicates")["pairs"] == {("train", "query"): 1}


def test_bursts_are_looked_for_once_for_the_same_files(tmp_path):
    plant_bursts(tmp_path / "all", classes=2, objects=3, shots=2, seed=1)
    folder, asked = scan_folder(tmp_path / "all"), []

    def progress(what, done, total):
        asked.append((what, total))

    def numbers(*sources):
        asked.clear()
        return group_pictures(sources, "near-duplicates", progress).tolist()

    first = numbers(folder)
    assert asked == [("looking for bursts", len(folder.paths))]
    assert numbers(folder) == first
    assert asked == []
    assert len(set(first)) == 6
    file = folder.root / folder.paths[0]
    file.write_bytes((folder.root / folder.paths[-1]).read_bytes())
    changed = numbers(folder)
    assert asked
    assert changed[0] == 0 == changed[-1] != first[-1]
    assert numbers(folder, folder) == [*changed, *changed]  # the same files once more
    assert asked


def test_pictures_that_could_not_be_read_are_looked_at_again(tmp_path, monkeypatch):
    """Their files need not change for it: by another Pillow, or where a disk answers again."""
    plant_bursts(tmp_path / "all", classes=2, objects=3, shots=2, seed=1)
    folder = scan_folder(tmp_path / "all")
    with monkeypatch.context() as patched:
        patched.setattr("trainer.data.decoder.MOST_BYTES", 10)
        alone = group_pictures([folder], "near-duplicates")
    assert len(set(alone)) == len(folder.paths)
    assert len(set(group_pictures([folder], "near-duplicates"))) == 6


@pytest.mark.parametrize(("header", "asked"), [("Object", "Object"), ("gro\u0308ße", "GRÖSSE")])
def test_a_column_is_found_as_its_header_writes_it(tmp_path, make_folder, header, asked):
    make_folder("all", {"a": 3})
    lines = [f"all/a/{i}.png,a,{cell}" for i, cell in enumerate("xyx")]
    file = tmp_path / "l.csv"
    file.write_text("\n".join([f"path,label,{header}", *lines]), encoding="utf-8")
    assert groups_of(open_source(str(file)), asked) == [["0.png", "2.png"], ["1.png"]]
