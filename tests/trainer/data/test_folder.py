import numpy as np
import pytest

from trainer.data.folder import empty_classes, list_pictures, match_classes, name_list, scan_folder
from trainer.errors import DataError


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


def test_empty_class_is_warned_about_and_left_out(make_folder, caplog):
    root = make_folder("train", {"a": 1, "c": 1})
    (root / "b").mkdir()
    folder = scan_folder(root)
    assert folder.classes == ("a", "c")
    assert folder.labels.tolist() == [0, 1]
    assert "1 class folders hold no image: b" in caplog.text
    assert empty_classes(root) == ("b",)


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (None, "no such folder"),
        ([], "no class folders in it"),
        (["a/", "b/"], "no images in its 2 class folders"),
        (["x.png"], "no class folders in it"),
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
    with pytest.raises(DataError, match=r"2 of 3 query classes \(5 images\).*: x, y; add them"):
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


def test_long_name_lists_are_cut():
    assert name_list(["a", "b"]) == "a, b"
    assert name_list([str(i) for i in range(10)], shown=3) == "0, 1, 2 and 7 more"


def test_pictures_behind_links_are_listed_once(tmp_path):
    shots = tmp_path / "shots"
    (shots / "a").mkdir(parents=True)
    for name in ("1.png", "2.JPG", ".hidden.png", "notes.txt"):
        (shots / "a" / name).touch()
    folder = tmp_path / "linked"
    folder.mkdir()
    (folder / "a").symlink_to(shots / "a")
    (shots / "a" / "loop").symlink_to(folder)
    assert [p.name for p in list_pictures(folder)] == ["1.png", "2.JPG"]
