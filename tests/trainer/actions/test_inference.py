import csv
import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from trainer.actions.inference import infer
from trainer.errors import DataError, ImageError, SpecError
from trainer.spec import parse_spec


def run(trained, folder, **changes):
    changes = {
        "inference__checkpoint": str(trained.checkpoint),
        "inference__input_path": trained.splits["query"],
    } | changes
    return infer(parse_spec(trained.spec(folder, **changes), "inference"))


def one_picture(trained):
    return sorted(Path(trained.splits["query"]).rglob("*.png"))[0]


@pytest.mark.parametrize(
    ("kind", "pick", "count"),
    [
        ("image", lambda path: path, 1),
        ("image_folder", lambda path: path.parent, 3),
        ("classification_folder", lambda path: path.parent.parent, 18),
    ],
)
def test_the_three_kinds_of_input(trained, tmp_path, kind, pick, count):
    settings = {
        "inference__inference_input_type": kind,
        "inference__topk": 2,
        "inference__input_path": str(pick(one_picture(trained))),
        "inference__batch_size": 4,
    }
    result = run(trained, tmp_path, **settings)
    rows = json.loads(Path(result["results"]).read_text())
    assert result["num_images"] == len(rows) == count
    with Path(result["table"]).open() as file:
        table = list(csv.reader(file))
    assert table[0] == ["path", "labels", "distances"]
    assert [line[0] for line in table[1:]] == [row["image"] for row in rows]
    assert json.loads(table[1][1]) == rows[0]["labels"]
    assert len(rows[0]["labels"]) == 2
    if kind == "classification_folder":
        right = [row["labels"][0] == Path(row["image"]).parent.name for row in rows]
        assert result["accuracy"] == sum(right) / len(right) > 0
        names = tmp_path / "names.yaml"
        names.write_text("".join(f"class_0{i}: fruit {i}\n" for i in range(6)))
        settings["dataset__class_map"] = str(names)
        assert run(trained, tmp_path, **settings)["accuracy"] == result["accuracy"]


def test_the_gallery_is_kept_and_used_again_until_something_changes(trained, tmp_path):
    first, second = run(trained, tmp_path), run(trained, tmp_path)
    assert (first["gallery_reused"], second["gallery_reused"]) == (False, True)
    again = run(trained, tmp_path, dataset__val_dataset__reference=trained.splits["train"])
    assert again["gallery_reused"] is False


def test_a_picture_replaced_at_its_old_size_and_time_gives_another_gallery(trained, tmp_path):
    reference = Path(shutil.copytree(trained.splits["reference"], tmp_path / "reference"))
    path = next(reference.rglob("*.png"))
    found = []
    for grey in (40, 200):
        Image.new("RGB", (32, 32), (grey, 9, 9)).save(path, "BMP")  # not compressed: of one size
        os.utime(path, (1_700_000_000, 1_700_000_000))
        for _ in range(2):
            result = run(trained, tmp_path, dataset__val_dataset__reference=str(reference))
            found.append(result["gallery_reused"])
    assert found == [False, True, False, True]


def test_corrected_labels_of_a_list_give_another_gallery(trained, tmp_path):
    """A class of another name, and a picture of another class."""
    files = sorted(Path(trained.splits["reference"]).rglob("*.png"))[:4]
    found = []
    for names in (("apple", "pear"), ("apricot", "pear"), ("pear", "apricot")):
        rows = [f"{file},{names[i > 1]}\n" for i, file in enumerate(files)]
        (tmp_path / "ref.csv").write_text("path,label\n" + "".join(rows))
        result = run(
            trained, tmp_path, inference__input_path=str(files[0]),
            inference__inference_input_type="image",
            dataset__val_dataset__reference=str(tmp_path / "ref.csv"),
        )  # fmt: skip
        (row,) = json.loads(Path(result["results"]).read_text())
        found.append((row["labels"][0], result["gallery_reused"]))
    assert found == [("apple", False), ("apricot", False), ("pear", False)]


def test_one_broken_picture_does_not_stop_a_batch(trained, tmp_path):
    shutil.copytree(trained.splits["query"], tmp_path / "asked")
    broken = tmp_path / "asked" / "class_01" / "01.png"
    broken.write_bytes(b"")
    with pytest.raises(ImageError) as caught:
        run(
            trained,
            tmp_path,
            inference__input_path=str(tmp_path / "asked"),
            inference__batch_size=4,
        )
    folder = tmp_path / "inference"
    assert str(caught.value) == (
        f"{broken}: not a readable picture (it is empty); replace or remove it (1 of 18 pictures); "
        f"{folder / 'result.json'} holds the others"
    )
    rows = json.loads((folder / "result.json").read_text())
    whole = run(trained, tmp_path / "whole")
    wanted = json.loads(Path(whole["results"]).read_text())
    assert len(rows) == 18
    for row, other in zip(rows, wanted, strict=True):
        if row["image"] == str(broken):
            assert row == {
                "image": str(broken), "class": "class_01",
                "error": "not a readable picture (it is empty); replace or remove it",
            }  # fmt: skip
        else:
            assert row["labels"] == other["labels"]
    with (folder / "result.csv").open() as file:
        paths = [line[0] for line in list(csv.reader(file))[1:]]
    assert paths == [row["image"] for row in rows if "error" not in row]


def test_pictures_of_an_archive_are_named_by_it(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path / "cache"))
    with tarfile.open(tmp_path / "asked.tar.gz", "w:gz") as packed:
        packed.add(trained.splits["query"], "shelf")
    result = run(trained, tmp_path, inference__input_path=str(tmp_path / "asked.tar.gz"))
    with Path(result["table"]).open() as file:
        lines = list(csv.reader(file))
    assert lines[1][0] == f"{tmp_path}/asked.tar.gz/shelf/class_00/00.png"


def test_another_class_map_gives_another_gallery(trained, tmp_path):
    path = tmp_path / "map.yaml"
    labels = []
    for prefix in ("first", "second"):
        names = (f"class_0{i}: {prefix} {i}\n" for i in range(6))
        path.write_text("".join(names))
        result = run(trained, tmp_path, dataset__class_map=str(path))
        rows = json.loads(Path(result["results"]).read_text())
        labels.append({label.split()[0] for row in rows for label in row["labels"]})
    assert labels == [{"first"}, {"second"}]


def test_classes_pictures_and_folders_of_any_name(trained, tmp_path):
    """Latin-1 bytes, a line break, spaces, and the same in the results folder's own path."""
    odd = [os.fsdecode(name) for name in (b"caf\xe9", b"new\nline", b" x ", "груша".encode())]
    splits = {}
    for split in ("reference", "query"):
        root = tmp_path / os.fsdecode(b"d\xff") / split
        shutil.copytree(trained.splits[split], root)
        for number, name in enumerate(odd):
            (root / f"class_0{number}").rename(root / name)
            picture = sorted((root / name).iterdir())[0]
            picture.rename(picture.with_name(os.fsdecode(b"p\xe9\n.png")))
        splits[split] = str(root)
    out = tmp_path / os.fsdecode(b"out\xe9")
    result = run(
        trained, out, dataset__val_dataset__reference=splits["reference"], dataset__cache=True,
        inference__inference_input_type="classification_folder",
        inference__input_path=splits["query"], inference__topk=1,
    )  # fmt: skip
    rows = json.loads(Path(result["results"]).read_text(encoding="utf-8"))
    names = {" x ", r"caf\xe9", r"new\nline", "груша", "class_04", "class_05"}
    assert {row["class"] for row in rows} == names
    assert {row["labels"][0] for row in rows} <= names
    images = {row["image"] for row in rows}
    assert all(rf"{tmp_path}/d\xff/query/{n}/p\xe9\n.png" in images for n in (r"caf\xe9", " x "))
    with Path(result["table"]).open(encoding="utf-8", newline="") as file:
        assert {line[0] for line in csv.reader(file)} == {"path", *images}


def test_bad_input_is_one_line(trained, tmp_path):
    with pytest.raises(SpecError, match=r"inference\.topk: must be at most the 12"):
        run(trained, tmp_path, inference__topk=13)
    with pytest.raises(DataError, match="must be a picture"):
        run(
            trained, tmp_path, inference__inference_input_type="image",
            inference__input_path=trained.splits["query"],
        )  # fmt: skip
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no picture in"):
        run(
            trained, tmp_path, inference__inference_input_type="image_folder",
            inference__input_path=str(tmp_path / "empty"),
        )  # fmt: skip
