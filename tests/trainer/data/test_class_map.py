import unicodedata

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


def test_classes_of_other_splits_may_have_the_same_name(tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text("a: cola\nb: cola\nc: tea\n")
    assert report_names(str(path), ("b", "c")) == ("cola", "tea")


def test_numeric_folders_can_be_named(tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text("12: Dozen\n")
    assert report_names(str(path), ("12",)) == ("Dozen",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such class map"),
        ("- a\n- b\n", "a mapping of names to names must be given as class map, got a list"),
        ("a: x\n", r"1 of 2 are not: b"),
        ("a: [unclosed", "dataset.class_map"),
        ("", "got nothing"),
        ("just words", "got text"),
        ("a: x\nb:\n", "b: must be named by a text, got nothing"),
        ("a: x\nb: ' '\n", "b: must be named by a text, got nothing"),
        ("a: x\nb: [y]\n", "b: must be named by a text, got a list"),
        ("a: x\nb: y\na: z\n", "the key 'a' is given twice"),
        ("a: x\nb: x\n", "every class must have a name of its own, a and b are both x; to make"),
        ("a: x\nb: y\nc\u0327: 1\n\u00e7: 2\n", "is given twice, in two spellings of Unicode"),
        ("[a]: x\n", "unhashable"),
        ("a: *b\n", "alias"),
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


ODD = ["001", "yes", "no", "null", "~", "12:30:00", "1e3", "0x1F", "0o17", "2024-01-01", "true"]
ODD += ["1.10", "1_000", ".inf", "-5", "Off", "2020-13-45", "=", "café", "груша 1", "caf\\xe9"]


@pytest.mark.parametrize("name", ODD)
def test_names_stay_as_they_are_written(tmp_path, name):
    path = tmp_path / "map.yaml"
    path.write_text(f"{name}: Apple\nb: {name}\n", encoding="utf-8")
    assert report_names(str(path), ("b", name)) == (name, "Apple")


def test_a_map_may_begin_with_a_mark_of_its_encoding(tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text("é: Apple\n", encoding="utf-8-sig")
    assert report_names(str(path), ("é",)) == ("Apple",)


def test_keys_are_compared_by_nfc_and_values_shown_as_written(tmp_path):
    path = tmp_path / "map.yaml"
    nfc, nfd = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    path.write_text(f"{nfc}: {nfd} 1\n", encoding="utf-8")
    assert report_names(str(path), (nfd,)) == (f"{nfd} 1",)


def test_a_name_of_several_lines_is_spelt_out(tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text('a: "x\\ny"\n')
    assert report_names(str(path), ("a",)) == (r"x\ny",)
