import pytest

from trainer.data.class_map import report_names
from trainer.errors import DataError


def test_without_a_map_folders_keep_their_names():
    assert report_names(None, ("a", "b")) == ("a", "b")
    assert report_names("", ("a", "b")) == ("a", "b")


def test_names_follow_the_order_of_the_classes(tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text("b: Banana\na: Apple\n007: Bond\nother: unused\n")
    assert report_names(str(path), ("a", "b")) == ("Apple", "Banana")


def test_numeric_folders_can_be_named(tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text("12: Dozen\n")
    assert report_names(str(path), ("12",)) == ("Dozen",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file"),
        ("- a\n- b\n", "a mapping of class folders to names"),
        ("a: x\n", r"1 of 2 are not: b"),
        ("a: [unclosed", "dataset.class_map"),
    ],
)
def test_wrong_maps_are_refused(tmp_path, text, message):
    path = tmp_path / "map.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        report_names(str(path), ("a", "b"))
    assert str(caught.value).startswith("dataset.class_map: ")
    assert "\n" not in str(caught.value)
