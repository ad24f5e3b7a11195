import pytest

from tests.trainer.data.planted import plant_bursts
from trainer.doctor.diagnosis import diagnose


def found(sources, by):
    return [f for f in diagnose(sources, group_by=by)["findings"] if "group" in f["kind"]]


def test_a_burst_in_two_splits_is_an_error_that_names_its_pictures(tmp_path):
    bursts = plant_bursts(tmp_path / "train", classes=3, objects=4, shots=3, seed=9)
    moved = list(bursts.values())[0][0]
    target = tmp_path / "query" / moved.parent.name / moved.name
    target.parent.mkdir(parents=True)
    moved.rename(target)
    sources = {"train": str(tmp_path / "train"), "query": str(tmp_path / "query")}
    (leak,) = found(sources, "near-duplicates")
    assert leak["severity"] == "error"
    assert leak["message"].startswith("1 group (by near-duplicates)")
    assert str(target) in leak["paths"]
    assert leak["count"] == 3
    assert found(sources, "/(x")[0]["severity"] == "error"
    (calm,) = found(sources, r"/(\d+)\.jpg")
    assert calm["message"] == r"no group (by /(\d+)\.jpg) of queries is in another split"


def test_one_folder_is_told_what_its_groups_are(tmp_path):
    plant_bursts(tmp_path / "all", classes=2, objects=5, shots=3, seed=4)
    (told,) = found({"images": str(tmp_path / "all")}, "near-duplicates")
    assert told["message"] == (
        "10 groups (by near-duplicates) of two pictures or more, 30 pictures in all, "
        "3 in the largest"
    )


@pytest.mark.parametrize("named", ["all", "list.csv"])
def test_what_cannot_be_split_is_told_of_what_was_named(tmp_path, named):
    plant_bursts(tmp_path / "all", classes=2, objects=2, shots=2, seed=1)
    files = sorted((tmp_path / "all").rglob("*.*"))
    rows = [f"{file},{file.parent.name}" for file in files]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *rows]))
    found = diagnose({"images": str(tmp_path / named)})["findings"]
    (told,) = [f for f in found if f["severity"] == "error"]
    assert (told["kind"], told["paths"]) == ("split", [str(tmp_path / named)])
    assert told["message"].startswith(f"{tmp_path / named}: every class needs 5 pictures")
