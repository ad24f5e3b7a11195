"""Galleries that grow and shrink: by content, and whole or not at all."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.trainer.tiny import make_folders
from trainer.actions.change_gallery import (
    add_classes,
    list_gallery,
    merge_gallery,
    remove_classes,
    set_gallery,
    undo_change,
)
from trainer.actions.export import export
from trainer.actions.predict import open_export, predict
from trainer.errors import DataError
from trainer.spec import parse_spec


def pictures(trained):
    return sorted(Path(trained.splits["query"]).rglob("*.png"))


@pytest.fixture
def gallery(exported, tmp_path):
    shutil.copytree(exported, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def new(tmp_path):
    make_folders(tmp_path / "new", classes=2, images=3, seed=21)
    (tmp_path / "new" / "class_00").rename(tmp_path / "new" / "lemon")
    (tmp_path / "new" / "class_01").rename(tmp_path / "new" / "melon")
    return tmp_path / "new"


def test_adding_the_same_folder_again_changes_nothing(gallery, new):
    assert add_classes(gallery, new)["new_pictures"] == 6
    before = (gallery / "gallery.npz").read_bytes()
    again = add_classes(gallery, new)
    assert (again["new_pictures"], again["known_pictures"], again["new_classes"]) == (0, 6, 0)
    assert (gallery / "gallery.npz").read_bytes() == before
    shutil.copy(new / "lemon" / "00.png", new / "lemon" / "renamed.png")
    with Image.open(new / "lemon" / "01.png") as image:
        image.save(new / "lemon" / "again.tif")  # other bytes, the same pixels
    with Image.open(new / "lemon" / "01.png") as image:
        image.transpose(Image.Transpose.ROTATE_90).save(new / "lemon" / "turned.png")
    third = add_classes(gallery, new)
    assert (third["new_pictures"], third["known_pictures"]) == (1, 8)


def test_the_pictures_of_the_export_are_known(trained, gallery):
    counts = add_classes(gallery, Path(trained.splits["reference"]))
    assert (counts["new_pictures"], counts["known_pictures"]) == (0, 12)


def test_galleries_without_digests_are_read_and_know_their_pictures(trained, gallery, new):
    with np.load(gallery / "gallery.npz") as arrays:
        bare = {**arrays, "digests": np.zeros_like(arrays["digests"])}
    np.savez(gallery / "gallery.npz", **bare)
    labels = predict(gallery, pictures(trained), 2)
    counts = add_classes(gallery, Path(trained.splits["reference"]))
    assert (counts["new_pictures"], counts["known_pictures"]) == (0, 12)
    assert add_classes(gallery, new)["new_pictures"] == 6
    assert add_classes(gallery, new)["known_pictures"] == 6
    assert [row["labels"] for row in labels] == [
        row["labels"] for row in predict(remove_new(gallery), pictures(trained), 2)
    ]


def remove_new(gallery):
    remove_classes(gallery, ["lemon", "melon"])
    return gallery


def test_broken_and_doubtful_pictures_are_named_and_the_others_added(gallery, new):
    (new / "lemon" / "broken.png").write_bytes(b"no picture")
    shutil.copy(new / "lemon" / "00.png", new / "melon" / "copy.png")
    counts = add_classes(gallery, new)
    assert counts["new_pictures"] == 6
    assert {Path(row["image"]).name: row["error"] for row in counts["errors"]} == {
        "broken.png": "not a readable picture (unknown format); replace or remove it",
        "copy.png": "is in the gallery as lemon; remove one of the two",
    }
    assert list_gallery(gallery)["melon"] == 3


def test_a_folder_of_nothing_but_broken_pictures_changes_nothing(gallery, tmp_path):
    (tmp_path / "bad" / "thing").mkdir(parents=True)
    (tmp_path / "bad" / "thing" / "a.png").write_bytes(b"")
    before = (gallery / "gallery.npz").read_bytes()
    counts = add_classes(gallery, tmp_path / "bad")
    assert (counts["new_classes"], counts["new_pictures"], len(counts["errors"])) == (0, 0, 1)
    assert (gallery / "gallery.npz").read_bytes() == before


def test_classes_are_removed_and_the_rest_answers_as_a_gallery_without_them(trained, gallery, new):
    plain = predict(gallery, pictures(trained), 4)
    add_classes(gallery, new)
    counts = remove_classes(gallery, ["melon", "lemon", "melon"])
    assert counts == {
        "classes": 6, "pictures": 12, "removed_classes": 2, "removed_pictures": 6,
    }  # fmt: skip
    assert predict(gallery, pictures(trained), 4) == plain
    assert add_classes(gallery, new)["new_pictures"] == 6


def test_unknown_classes_are_one_line_and_nothing_is_removed(gallery, new):
    add_classes(gallery, new)
    before = (gallery / "gallery.npz").read_bytes()
    with pytest.raises(
        DataError, match=r"^lemmon: no such class in the gallery; did you mean lemon\?$"
    ):
        remove_classes(gallery, ["melon", "lemmon"])
    with pytest.raises(DataError, match=r"^xyz: no such class in the gallery$"):
        remove_classes(gallery, ["xyz"])
    with pytest.raises(DataError, match="must keep a class"):
        remove_classes(gallery, list(list_gallery(gallery)))
    assert (gallery / "gallery.npz").read_bytes() == before


def test_a_gallery_that_was_changed_is_read_anew_and_one_that_was_not_is_kept(gallery, new):
    first = open_export(gallery)
    assert open_export(gallery)[1] is first[1]
    add_classes(gallery, new)
    assert len(open_export(gallery)[1]) == len(first[1]) + 6


def test_classes_are_counted_without_reading_the_gallery_again(gallery, monkeypatch):
    """A server asks for them with every picture."""
    before = list_gallery(gallery)
    before.clear()  # a caller's copy
    with monkeypatch.context() as patch:
        patch.setattr("zipfile.ZipFile", None)
        assert len(list_gallery(gallery)) == 6
    remove_classes(gallery, ["class_00"])
    assert "class_00" not in list_gallery(gallery)
    undo_change(gallery)
    assert len(list_gallery(gallery)) == 6
    (gallery / "gallery.npz").unlink()
    with pytest.raises(DataError, match="no such gallery index"):
        list_gallery(gallery)


def test_a_wrapper_with_files_beside_it_adds_its_classes_and_tells_what_it_passed_over(
    gallery, new, tmp_path
):
    outer = tmp_path / "outer"
    outer.mkdir()
    shutil.move(new, outer / "products")
    for name in ("Thumbs.db", "README.txt", "products/desktop.ini"):
        (outer / name).write_bytes(b"x")
    for i in range(4):
        (outer / "products" / "lemon" / f"{i}.xyz").write_bytes(b"x")
    before = set(list_gallery(gallery))
    counts = add_classes(gallery, outer)
    assert set(list_gallery(gallery)) - before == {"lemon", "melon"}
    assert (counts["new_classes"], counts["new_pictures"]) == (2, 6)
    assert counts["notes"] == ["4 .xyz files were skipped"]


def test_groups_of_classes_are_refused_and_the_gallery_stays(gallery, new):
    for group in ("fruit", "more"):
        shutil.copytree(new / "lemon", new / group / "lemon")
        shutil.copytree(new / "melon", new / group / "melon")
    shutil.rmtree(new / "lemon")
    shutil.rmtree(new / "melon")
    before = (gallery / "gallery.npz").read_bytes()
    with pytest.raises(DataError, match=r"it holds fruit/ \(lemon/, melon/\) and more/"):
        add_classes(gallery, new)
    assert (gallery / "gallery.npz").read_bytes() == before


def test_galleries_of_one_model_are_merged_by_content(trained, exported, gallery, new, tmp_path):
    shutil.copytree(exported, tmp_path / "other")
    add_classes(tmp_path / "other", new)
    shutil.copy(new / "lemon" / "00.png", new / "melon" / "copy.png")
    (new / "lemon" / "00.png").unlink()
    add_classes(gallery, new)
    counts = merge_gallery(gallery, tmp_path / "other")
    assert (counts["new_pictures"], counts["known_pictures"]) == (0, 17)
    assert counts["errors"] == [
        {"image": "lemon/00.png", "error": "is in the gallery as melon; remove one of the two"}
    ]
    remove_classes(gallery, ["melon"])
    counts = merge_gallery(gallery, tmp_path / "other" / "gallery.npz")
    assert (counts["new_classes"], counts["new_pictures"], counts["errors"]) == (1, 4, [])
    assert list_gallery(gallery) == list_gallery(tmp_path / "other")
    assert [row["labels"] for row in predict(gallery, pictures(trained), 8)] == [
        row["labels"] for row in predict(tmp_path / "other", pictures(trained), 8)
    ]


def test_a_change_is_undone(trained, gallery, new):
    before = predict(gallery, pictures(trained), 4)
    add_classes(gallery, new)
    remove_classes(gallery, ["lemon"])
    assert undo_change(gallery) == {"classes": 8, "pictures": 18}
    assert undo_change(gallery) == {"classes": 6, "pictures": 12}
    assert predict(gallery, pictures(trained), 4) == before
    with pytest.raises(DataError, match="no change to undo"):
        undo_change(gallery)


def test_another_model_is_refused_whatever_is_asked(trained, gallery, new, tmp_path):
    model = gallery / "model.onnx"
    own = model.read_bytes()
    set_gallery(gallery, kind="16-bit")
    shutil.copytree(gallery / "gallery.history", tmp_path / "again" / "gallery.history")
    export_again(trained, tmp_path / "again")
    assert not (tmp_path / "again" / "gallery.history").exists()
    shutil.copy(tmp_path / "again" / "model.onnx", model)
    before = (gallery / "gallery.npz").read_bytes()
    asked = [
        lambda: predict(gallery, pictures(trained)[:1], 1),
        lambda: add_classes(gallery, new),
        lambda: undo_change(gallery),
        lambda: merge_gallery(gallery, tmp_path / "again"),
    ]
    for ask in asked:
        with pytest.raises(DataError, match="was made by another model than model.onnx beside it"):
            ask()
    assert (gallery / "gallery.npz").read_bytes() == before
    model.write_bytes(own)
    assert predict(gallery, pictures(trained)[:1], 1)[0]["labels"]
    with pytest.raises(DataError, match="embeddings of two models do not compare"):
        merge_gallery(gallery, tmp_path / "again")


def export_again(trained, folder):
    """Export the same network with other weights."""
    folder.mkdir(exist_ok=True)
    content = torch.load(trained.checkpoint, weights_only=True)
    weights = content["state_dict"]
    content["state_dict"] = {
        name: 1.1 * value if value.is_floating_point() else value for name, value in weights.items()
    }
    torch.save(content, folder / "other.ckpt")
    spec = trained.spec(
        folder, export__checkpoint=str(folder / "other.ckpt"), export__on_cpu=True,
        export__onnx_file=str(folder / "model.onnx"),
    )  # fmt: skip
    export(parse_spec(spec, "export"))


@pytest.mark.parametrize("kind", ["16-bit", "8-bit", "hnsw"])
def test_another_kind_labels_as_the_flat_one(trained, gallery, new, kind):
    add_classes(gallery, new)
    flat = predict(gallery, pictures(trained), 3)
    told = set_gallery(gallery, kind=kind)
    assert (told["kind"], told["matching"], told["pictures"]) == (kind, "nearest", 18)
    assert told["bytes"] == (gallery / "gallery.npz").stat().st_size
    for row, other in zip(predict(gallery, pictures(trained), 3), flat, strict=True):
        assert row["distances"] == pytest.approx(other["distances"], abs=0.02)
    assert set_gallery(gallery, matching="prototypes")["matching"] == "prototypes"
    with pytest.raises(DataError, match="at most the 8 classes"):
        predict(gallery, pictures(trained), 9)
    undo_change(gallery)
    undo_change(gallery)
    assert predict(gallery, pictures(trained), 3) == flat
    with pytest.raises(DataError, match="kind: must be one of flat, 16-bit, 8-bit, hnsw, got 'x'"):
        set_gallery(gallery, kind="x")


def test_new_classes_that_look_like_known_ones_are_told(gallery, new):
    (new / "lemon").rename(new / "Class 00")
    told = add_classes(gallery, new)
    assert told["new_classes"] == 2
    assert told["notes"] == ["classes 'class_00' and 'Class 00' differ in spelling alone"]
    (new / "Class 00" / "00.png").rename(new / "melon" / "more.png")
    assert not [note for note in add_classes(gallery, new)["notes"] if "spelling" in note]


def test_folders_that_the_class_map_names_are_changed_under_those_names(trained, tmp_path):
    """The map goes with the model; what it does not know is called as the folder is."""
    names = {f"class_0{i}": f"fruit {i}" for i in range(6)} | {"class_09": "plum"}
    file = tmp_path / "names.yaml"
    file.write_text("".join(f"{folder}: {name}\n" for folder, name in names.items()))
    folder = tmp_path / "export"
    spec = trained.spec(
        folder, export__checkpoint=str(trained.checkpoint), export__on_cpu=True,
        export__onnx_file=str(folder / "model.onnx"), dataset__class_map=str(file),
    )  # fmt: skip
    export(parse_spec(spec, "export"))
    file.unlink()
    known = add_classes(folder, trained.splits["reference"])
    assert (known["known_pictures"], known["new_classes"], known["errors"]) == (12, 0, [])
    make_folders(tmp_path / "new", classes=3, images=3, seed=21)
    for old, new in (("class_01", "class_09"), ("class_02", "fruit 0")):
        (tmp_path / "new" / old).rename(tmp_path / "new" / new)
    counts = add_classes(folder, tmp_path / "new")
    assert (counts["new_classes"], counts["new_pictures"]) == (1, 9)
    assert list_gallery(folder) == {f"fruit {i}": 8 if i == 0 else 2 for i in range(6)} | {
        "plum": 3
    }
    picture = tmp_path / "new" / "class_00" / "00.png"
    with Image.open(picture) as image:
        image.rotate(90).save(tmp_path / "other.png")
    (tmp_path / "new.csv").write_text("path,label,reported\nother.png,class_09,yes\n")
    assert add_classes(folder, tmp_path / "new.csv")["new_classes"] == 1
    assert list_gallery(folder)["class_09"] == 1
    assert remove_classes(folder, ["class_09"])["removed_pictures"] == 1  # the one called so
    assert remove_classes(folder, ["class_09", "fruit 1"])["removed_classes"] == 2
    assert "plum" not in list_gallery(folder)
