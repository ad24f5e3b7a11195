import os
import shutil
import unicodedata

import numpy as np
import pytest

from trainer.data.folder import match_classes, scan_folder, splits_in
from trainer.errors import DataError, ImageError

NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


def test_images_are_listed_by_class_and_path(make_folder):
    root = make_folder("train", {"b": 2, "a": 3})
    folder = scan_folder(root)
    assert folder.classes == ("a", "b")
    assert folder.paths == ("a/0.png", "a/1.png", "a/2.png", "b/0.png", "b/1.png")
    np.testing.assert_array_equal(folder.labels, [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(folder.counts(), [3, 2])


def test_hidden_and_other_files_are_ignored(make_folder):
    root = make_folder("train", {"a": 1})
    for name in (".DS_Store", "notes.txt", ".hidden.png"):
        (root / "a" / name).write_bytes(b"x")
    (root / ".cache").mkdir()
    (root / "__MACOSX").mkdir()
    (root / "readme.md").write_text("x")
    assert scan_folder(root).paths == ("a/0.png",)


def test_nested_images_and_capital_extensions_count(make_folder):
    root = make_folder("train", {"a": 1, "b": 1})
    (root / "a" / "deep").mkdir()
    (root / "a" / "0.png").rename(root / "a" / "deep" / "X.PNG")
    assert scan_folder(root).paths == ("a/deep/X.PNG", "b/0.png")


def test_single_wrapping_folder_is_stepped_into(make_folder, tmp_path):
    make_folder("outer/inner", {"a": 1, "b": 1})
    folder = scan_folder(tmp_path / "outer")
    assert folder.root == tmp_path / "outer" / "inner"
    assert folder.classes == ("a", "b")


def test_single_class_is_not_taken_for_a_wrapper(make_folder):
    assert scan_folder(make_folder("train", {"only": 2})).classes == ("only",)


def test_empty_class_is_noted_and_left_out(make_folder):
    root = make_folder("train", {"a": 1, "c": 1})
    (root / "b").mkdir()
    folder = scan_folder(root)
    assert folder.classes == ("a", "c")
    assert folder.labels.tolist() == [0, 1]
    (note,) = folder.notes
    assert (note.kind, note.severity) == ("empty_class", "warning")
    assert note.text == "1 class folder holds no picture: b"
    assert note.paths == (root / "b",)


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (None, "no such folder"),
        ([], "no class folders in it"),
        (["a/", "b/"], "no pictures in its 2 class folders; pictures have endings"),
        (["a/x.psd", "a/y.psd", "b/z.xyz"], "2 .psd files and 1 .xyz file were skipped"),
        (["a/train.tar.gz"], "train.tar.gz is an archive: unpack it, or name it"),
        (["train.zip"], "no class folders in it; train.zip is an archive"),
        (["x.png", "y.png"], "no class folders in it, but 2 pictures"),
    ],
)
def test_useless_folders_are_refused_in_one_line(tmp_path, layout, message):
    root = tmp_path / "data"
    if layout is not None:
        root.mkdir()
        for name in layout:
            if name.endswith("/"):
                (root / name).mkdir()
            else:
                (root / name).parent.mkdir(exist_ok=True)
                (root / name).write_bytes(b"x")
    with pytest.raises(DataError, match=message) as caught:
        scan_folder(root)
    assert str(root) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_is_not_a_folder(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(b"x")
    with pytest.raises(DataError, match="not a folder"):
        scan_folder(path)


def test_query_labels_index_the_reference(make_folder):
    reference = scan_folder(make_folder("reference", {"a": 1, "b": 1, "c": 1}))
    query = scan_folder(make_folder("query", {"a": 1, "c": 2}))
    match = match_classes(reference, query)
    assert match.labels.tolist() == [0, 2, 2]
    assert match.keep.tolist() == [0, 1, 2]
    assert match.dropped_images == 0


def test_query_classes_outside_the_reference_are_named_with_counts(make_folder):
    reference = scan_folder(make_folder("reference", {"a": 1}))
    query = scan_folder(make_folder("query", {"a": 1, "x": 2, "y": 3}))
    with pytest.raises(DataError, match=r"2 of 3 query classes \(5 pictures\).*: x, y; add them"):
        match_classes(reference, query)


def test_ignoring_unmatched_drops_and_counts(make_folder):
    reference = scan_folder(make_folder("reference", {"a": 1, "b": 1}))
    query = scan_folder(make_folder("query", {"A": 2, "b": 2}))
    match = match_classes(reference, query, ignore_unmatched=True)
    assert match.keep.tolist() == [2, 3]
    assert match.labels.tolist() == [1, 1]
    assert match.dropped_classes == ("A",)
    assert match.dropped_images == 2


@pytest.mark.parametrize("ignore", [False, True])
def test_no_class_in_common_is_refused_either_way(make_folder, ignore):
    reference = scan_folder(make_folder("reference", {"a": 1}))
    query = scan_folder(make_folder("query", {"b": 1}))
    with pytest.raises(DataError, match="no class in common"):
        match_classes(reference, query, ignore_unmatched=ignore)


JUNK = ("Thumbs.db", "README.txt", ".DS_Store", "desktop.ini", "__MACOSX/._a.png", "list.csv")


def with_junk(root):
    for name in JUNK:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"x")


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_files_beside_a_wrapper_do_not_merge_its_classes(make_folder, tmp_path, depth):
    root = tmp_path / "outer"
    inner = make_folder("outer/" + "/".join("w" * depth), {"cola": 2, "lemonade": 3})
    for folder in (root, *inner.parents[: depth - 1], inner):
        with_junk(folder)
    folder = scan_folder(root)
    assert folder.root == inner
    assert folder.classes == ("cola", "lemonade")
    assert folder.counts().tolist() == [2, 3]


def test_a_link_beside_the_wrapper_it_leads_to_changes_nothing(make_folder, tmp_path):
    make_folder("outer/v1", {"a": 1, "b": 1})
    (tmp_path / "outer" / "latest").symlink_to("v1")
    assert scan_folder(tmp_path / "outer").classes == ("a", "b")


@pytest.mark.parametrize(
    ("layout", "tree"),
    [
        (
            ["fruit/apple", "fruit/pear", "veg/leek"],
            "no class folder in it holds pictures directly, so the classes cannot be told; it "
            "holds fruit/ (apple/, pear/) and veg/ (leek/)",
        ),
        (
            [f"g{i}/p{j}" for i in range(6) for j in range(6)],
            "g0/ (p0/, p1/, p2/, p3/ and 2 more), g1/",
        ),
        (
            ["shop", "shop/cola", "shop/lemonade"],
            "its only class folder holds pictures and folders of pictures, so the classes cannot "
            "be told; it holds shop/ (cola/, lemonade/)",
        ),
        (["x/one", "y/two"], "it holds x/ (one/) and y/ (two/)"),
    ],
)
def test_groups_of_classes_are_refused_with_the_tree(tmp_path, layout, tree):
    for name in layout:
        (tmp_path / "data" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name / "1.png").write_bytes(b"x")
    with pytest.raises(DataError) as caught:
        scan_folder(tmp_path / "data")
    text = str(caught.value)
    assert text.startswith(f"{tmp_path / 'data'}: ")
    assert tree in text
    assert text.endswith("name the folder whose folders are the classes")


@pytest.mark.parametrize("inner", [("images", "images"), ("JPG", "JPG"), ("Images", "images")])
def test_a_folder_of_images_in_each_class_is_no_group(make_folder, inner):
    root = make_folder("train", {f"cat/{inner[0]}": 2, f"dog/{inner[1]}": 1})
    (root / "cat" / "boxes.txt").write_text("x")
    folder = scan_folder(root)
    assert folder.classes == ("cat", "dog")
    assert folder.counts().tolist() == [2, 1]


def test_folders_within_one_of_the_classes_are_noted(make_folder):
    root = make_folder("train", {"cola": 2, "fruit/apple": 1, "fruit/pear": 1})
    folder = scan_folder(root)
    assert folder.classes == ("cola", "fruit")
    (note,) = folder.notes
    assert note.kind == "nested_class"
    assert note.text == "folders in a class folder count as one class: fruit/ (apple/, pear/)"


def test_splits_are_not_taken_for_classes(make_folder, tmp_path):
    for split in ("train", "val"):
        make_folder(f"outer/data/{split}", {"a": 1, "b": 1})
    with pytest.raises(DataError, match=r"data: holds splits \(train and val\), not classes"):
        scan_folder(tmp_path / "outer")
    assert splits_in(tmp_path / "outer").root == tmp_path / "outer/data"
    assert splits_in(tmp_path / "outer/data/train") is None
    assert scan_folder(tmp_path / "outer/data/train").classes == ("a", "b")


def test_two_spellings_of_one_name_are_one_class(make_folder):
    root = make_folder("train", {NFC: 2, NFD: 3, "apple": 1})
    folder = scan_folder(root)
    assert len(folder.classes) == 2
    assert folder.counts().tolist() == [1, 5]
    assert folder.classes[1] in (NFC, NFD)
    assert all((root / path).is_file() for path in folder.paths)
    (note,) = folder.notes
    assert note.kind == "same_name"
    assert note.text.startswith("1 class in two folders")
    assert set(note.paths) == {root / NFC, root / NFD}
    assert folder.folder_of(folder.classes[1]) in note.paths


def test_queries_of_another_spelling_find_their_class(make_folder):
    reference = scan_folder(make_folder("reference", {NFC: 1, "a": 1}))
    query = scan_folder(make_folder("query", {NFD: 2}))
    assert reference.classes == ("a", NFC)
    assert query.classes == (NFD,)
    assert match_classes(reference, query).labels.tolist() == [1, 1]


NAMES = (b"caf\xe9", b" lead", b"trail ", b"-dash", b"new\nline", b"tab\t", "梨".encode())
NAMES += ("👨‍👩‍👧".encode(), b"a" * 255, b"100%", b"a:b", b"quote'\"", b"back\\slash", b"\x01")


def test_classes_and_files_of_any_name_are_read(tmp_path):
    root = tmp_path / "train"
    for name in NAMES:
        folder = root / os.fsdecode(name)
        folder.mkdir(parents=True)
        for picture in (b"1.png", b"\xff.png", b"new\nline.png"):
            (folder / os.fsdecode(picture)).write_bytes(b"x")
    folder = scan_folder(root)
    assert len(folder.classes) == len(NAMES)
    assert {r"caf\xe9", r"new\nline", r"\x01", "梨", " lead", "trail "} <= set(folder.classes)
    assert not any("\n" in name for name in folder.classes)
    assert folder.counts().tolist() == [3] * len(NAMES)
    assert all((folder.root / path).is_file() for path in folder.paths)
    assert folder.notes == ()


def test_hidden_pictures_are_noted(make_folder):
    root = make_folder("train", {"a": 2, "b": 1, ".apple": 1})
    shutil.copy(root / "a/0.png", root / "a/.9.png")
    (note,) = scan_folder(root).notes
    assert note.kind == "hidden_picture"
    assert note.text.startswith("2 pictures or folders of pictures whose names begin with a dot")


def test_links_are_followed_or_noted(make_folder, tmp_path):
    root = make_folder("train", {"a": 2, "b": 1})
    elsewhere = make_folder("elsewhere", {"c": 2})
    (root / "c").symlink_to(elsewhere / "c")
    (root / "b" / "more").symlink_to(elsewhere / "c")
    (root / "b" / "up").symlink_to(root)
    (root / "here").symlink_to(".")
    (root / "gone").symlink_to("nowhere")
    (root / "self").symlink_to("self")
    folder = scan_folder(root)
    assert folder.classes == ("a", "b", "c")
    assert folder.counts().tolist() == [2, 3, 2]
    assert {note.kind: note.text for note in folder.notes} == {
        "dead_link": "2 links that lead nowhere skipped: gone, self",
        "looped_link": "2 links that lead to a folder that is read anyway skipped: here, up",
    }


def test_a_picture_that_is_a_dead_link_is_refused(make_folder):
    root = make_folder("train", {"a": 2, "b": 1})
    (root / "a" / "9.png").symlink_to("nowhere.png")
    with pytest.raises(ImageError, match=r"a/9.png: must be a file, and is a broken link"):
        scan_folder(root)


def test_a_name_too_long_for_the_file_system_is_no_folder(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        scan_folder(tmp_path / ("x" * 300))
