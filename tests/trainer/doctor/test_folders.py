import shutil
import unicodedata

import pytest
from PIL import Image

from tests.trainer.doctor.drawing import draw, save, sources
from trainer.data.names import plain_name
from trainer.doctor.diagnosis import diagnose


def test_a_gallery_of_the_training_pictures_is_a_warning(clean):
    train = str(clean / "train")
    diagnosis = diagnose({"train": train, "reference": train, "query": str(clean / "query")})
    (found,) = diagnosis["findings"]
    assert (found["kind"], found["severity"]) == ("same_folder", "warning")
    assert "train and reference are the same folder: queries are matched" in found["message"]


def test_a_folder_of_splits_is_looked_at_split_by_split(clean):
    diagnosis = diagnose({"images": str(clean)})
    assert {name: split["images"] for name, split in diagnosis["splits"].items()} == {
        "train": 30,
        "reference": 20,
        "query": 20,
    }
    (found,) = diagnosis["findings"]
    assert (found["kind"], found["severity"]) == ("splits", "info")
    assert f"holds splits, used as --train {clean}/train" in found["message"]


def test_splits_in_doubt_are_an_error_with_what_to_type(pictures):
    shutil.rmtree(pictures / "reference")
    diagnosis = diagnose({"images": str(pictures)})
    assert diagnosis["splits"] == {}
    (found,) = diagnosis["findings"]
    assert (found["kind"], found["severity"]) == ("splits", "error")
    assert f"type --train {pictures}/train --reference {pictures}/train" in found["message"]


def test_what_a_split_passes_over_is_told_by_ending(pictures):
    for i in range(20):
        (pictures / "train/almond" / f"{i}.xyz").write_bytes(b"x")
    (pictures / "train/almond/list.txt").write_text("x")
    findings = {f["kind"]: f for f in diagnose(sources(pictures))["findings"]}
    assert findings["other_file"]["severity"] == "warning"
    assert findings["other_file"]["message"] == "train: 20 .xyz files were skipped"
    assert findings["other_file"]["count"] == 20
    assert findings["text_file"]["severity"] == "info"


def test_a_gallery_and_queries_in_two_spellings_of_unicode_match(pictures):
    for split, form in (("train", "NFC"), ("reference", "NFC"), ("query", "NFD")):
        folder = pictures / split / "dates"
        folder.rename(folder.with_name(unicodedata.normalize(form, "café")))
    assert diagnose(sources(pictures))["findings"] == []
    twin = pictures / "train" / unicodedata.normalize("NFD", "café")
    for i in range(4):
        save(draw(750 + i), twin / f"{i}.jpg")
    (found,) = diagnose(sources(pictures))["findings"]
    assert found["kind"] == "same_name"
    assert found["message"].startswith("train: 1 class in two folders")


def test_a_picture_in_two_spellings_of_its_class_is_a_leak_and_no_conflict(pictures):
    for split, form in (("train", "NFC"), ("reference", "NFC"), ("query", "NFD")):
        folder = pictures / split / "dates"
        folder.rename(folder.with_name(unicodedata.normalize(form, "caf\u00e9")))
    train, query = (next((pictures / split).glob("caf*")) for split in ("train", "query"))
    shutil.copy(train / "train_0.jpg", query / "copy.jpg")
    with Image.open(train / "train_1.jpg") as picture:
        picture.resize((picture.width // 2, picture.height // 2)).save(query / "small.jpg")
    found = {f["kind"]: f["count"] for f in diagnose(sources(pictures))["findings"]}
    assert found == {"duplicate_across_splits": 2, "near_duplicate_across_splits": 2}


ALIKE = [
    ("A1", "A 1"), ("A1", "a-1"), ("St. Ives", "st_ives"), ("straße", "STRASSE"),
    ("груша 1", "Груша-1"), ("梨 1", "梨1"), ("Ａ１", "a1"), ("apple (red)", "apple red"),
    ("x.y", "xy"), ("كمثرى ١", "كمثرى١"), ("1-5", "1.5"), ("किताब_1", "किताब 1"),
]  # fmt: skip
DIFFERENT = [
    ("груша 1", "слива 1"), ("груша", "груши"), ("梨 1", "桃 1"), ("梨", "桃"), ("تفاح 1", "موز 1"),
    ("כוס", "צלחת"), ("リンゴ", "ナシ"), ("사과", "배"), ("1", "2"), ("001", "1"), ("1.5", "15"),
    ("A 1.5", "A 15"), ("1 2", "12"), ("-5", "5"), ("C", "C++"), ("C#", "C"), ("50%", "50"),
    ("कि", "का"), ("é", "e"), ("й", "и"), ("α", "β"), ("😀", "😁"), ("+", "-"), ("_", "__"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_names_that_differ_in_spelling_alone(one, other):
    assert plain_name(one) == plain_name(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_names_that_differ(one, other):
    assert plain_name(one) != plain_name(other)
