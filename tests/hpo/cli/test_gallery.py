"""`hpo gallery` on a run whose model is the mean colour of a picture."""

import dataclasses
import io
import json
import shutil

import fsspec
import numpy as np
import pytest
from PIL import Image

from hpo.cli.main import main
from hpo.run.next_commands import resume_command
from hpo.run.run_dir import Holder
from tests.hpo.tracking.test_registry import COLORS
from tests.trainer.deep_files import png


def test_classes_are_listed(run, capsys):
    assert main(["gallery", str(run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["CLASS", "PICTURES"]
    assert [line.split() for line in lines[1:4]] == [["blue", "1"], ["green", "1"], ["red", "1"]]
    assert lines[4:] == ["", "3 pictures of 3 classes"]


def test_a_new_class_is_recognised_without_training(run, tmp_path, capsys):
    (tmp_path / "new" / "white").mkdir(parents=True)
    Image.new("RGB", (20, 20), (250, 250, 250)).save(tmp_path / "new" / "white" / "a.png")
    Image.new("RGB", (30, 10), (200, 200, 200)).save(tmp_path / "asked.png")
    assert main(["predict", str(run), str(tmp_path / "asked.png"), "--topk", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["labels"] != ["white"]
    assert main(["gallery", str(run), "--add", str(tmp_path / "new"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["classes"] == {"blue": 1, "green": 1, "red": 1, "white": 1}
    assert (told["added"]["new_classes"], told["added"]["new_pictures"]) == (1, 1)
    main(["predict", str(run), str(tmp_path / "asked.png"), "--topk", "1", "--json"])
    assert json.loads(capsys.readouterr().out)[0]["labels"] == ["white"]


@pytest.mark.parametrize("holder", Holder)
def test_a_change_waits_for_no_other_and_says_who_else_holds_the_run(run, capsys, holder):
    before = (run.best_dir / "gallery.npz").read_bytes()
    with run.lock(holder):
        code = main(["gallery", str(run), "--remove", "red"])
        said = capsys.readouterr().err
        assert (
            (code, said) == (0, "") if holder is Holder.GALLERY else (2, f"hpo: {run.held_by()}\n")
        )
    assert ((run.best_dir / "gallery.npz").read_bytes() == before) == (code == 2)


def test_a_new_class_from_an_address(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path / "cache"))
    stream = io.BytesIO()
    Image.new("RGB", (20, 20), (250, 250, 250)).save(stream, "PNG")
    shop = fsspec.filesystem("memory")
    shop.pipe("/gallery/new/white/a.png", stream.getvalue())
    assert main(["gallery", str(run), "--add", "memory://gallery/new", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["classes"]["white"] == 1
    shop.rm("/gallery", recursive=True)


@pytest.mark.parametrize(("switch", "is_told"), [("on", True), ("off", False)])
def test_a_change_tells_how_it_gets_into_mlflows_registry(
    run, capsys, monkeypatch, switch, is_told
):
    monkeypatch.setenv("HPO_MLFLOW", switch)
    for is_mirrored in (False, True):
        if is_mirrored:
            (run.store_dir / "mlflow.db").touch()
        assert main(["gallery", str(run), "--kind", "16-bit"]) == 0
        err = capsys.readouterr().err
        assert (f"`{resume_command(run)}` registers it" in err) == (is_mirrored and is_told)
    assert main(["gallery", str(run)]) == 0
    assert capsys.readouterr().err == ""


def picture(path, color, size=(20, 20)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)
    return path


def test_the_same_folder_twice_and_a_class_removed(run, tmp_path, capsys):
    for number in range(3):
        picture(tmp_path / "new" / "white" / f"{number}.png", (250 - 9 * number, 250, 250))
    assert main(["gallery", str(run), "--add", str(tmp_path / "new")]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out == ["added   3 pictures, 1 new class", "now     6 pictures of 4 classes"]
    assert main(["gallery", str(run), "--add", str(tmp_path / "new")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "added   0 pictures, 0 new classes",
        "known   3 pictures, there already",
        "now     6 pictures of 4 classes",
    ]
    assert main(["gallery", str(run), "--remove", "white", "--remove", "red"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "removed 4 pictures of 2 classes",
        "now     2 pictures of 2 classes",
    ]
    assert main(["gallery", str(run), "--remove", "blu", "--json"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == "hpo gallery: blu: no such class in the gallery; did you mean blue?\n"
    assert (
        main(["gallery", str(run), "--remove", "blue", "--add", str(tmp_path / "new"), "--json"])
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert told["classes"] == {"green": 1, "white": 3}
    assert (told["removed"]["removed_pictures"], told["added"]["new_pictures"]) == (1, 3)


def test_pictures_that_are_not_added_are_named_and_the_exit_code_says_so(run, tmp_path, capsys):
    picture(tmp_path / "new" / "white" / "a.png", (250, 250, 250))
    (tmp_path / "new" / "white" / "b.png").write_bytes(b"no picture")
    assert main(["gallery", str(run), "--add", str(tmp_path / "new")]) == 2
    out, err = capsys.readouterr()
    assert "added   1 picture, 1 new class" in out
    assert err == (
        f"{tmp_path}/new/white/b.png: not a readable picture (unknown format); replace or remove it\n"
    )


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_what_was_changed_before_an_error_is_told(run, tmp_path, capsys, flags):
    picture(tmp_path / "new" / "white" / "a.png", (250, 250, 250))
    (tmp_path / "new" / "white" / "b.png").write_bytes(b"no picture")
    words = ["--remove", "red", "--add", str(tmp_path / "new"), "--merge", str(tmp_path / "gone")]
    assert main(["gallery", str(run), *words, *flags]) == 2
    out, err = capsys.readouterr()
    *told, refused, last = err.splitlines()
    assert out == ""
    assert told == [
        "removed 1 picture of 1 class",
        "added   1 picture, 1 new class",
        "now     3 pictures of 3 classes",
    ]
    assert refused.startswith(f"{tmp_path}/new/white/b.png: not a readable picture")
    assert last.startswith("hpo gallery: ")
    assert str(tmp_path / "gone") in last


def test_good_pictures_are_labelled_beside_broken_ones(run, tmp_path, capsys):
    good = picture(tmp_path / "good.png", COLORS["red"])
    broken, good2 = tmp_path / "broken.jpg", picture(tmp_path / "good2.png", COLORS["blue"])
    broken.write_bytes(good.read_bytes()[:60])
    words = ["predict", str(run), *map(str, (good, broken, good2)), "--topk", "1"]
    assert main([*words, "--json"]) == 2
    out, err = capsys.readouterr()
    rows = json.loads(out)
    assert [row["image"] for row in rows] == [str(good), str(broken), str(good2)]
    assert [row.get("labels") for row in rows] == [["red"], None, ["blue"]]
    assert rows[1]["error"].startswith("not a readable picture (it is cut off)")
    assert err == ""
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert [line.split(": ")[0] for line in out.splitlines()] == [str(good), str(good2)]
    assert err.splitlines() == [
        f"{broken}: not a readable picture (it is cut off); replace or remove it",
        "1 of 3 could not be labelled",
    ]


def test_folders_are_labelled_with_what_lies_below_them(run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture(tmp_path / "shelf" / "low" / "a.png", COLORS["green"])
    picture(tmp_path / "shelf" / "b.png", COLORS["blue"])
    (tmp_path / "shelf" / "list.txt").write_text("x")
    assert main(["predict", str(run), "shelf", "shelf/b.png", "--topk", "1"]) == 0
    out, err = capsys.readouterr()
    assert [line.split(" ")[:2] for line in out.splitlines()] == [
        ["shelf/b.png:", "blue"],
        ["shelf/low/a.png:", "green"],
    ]
    assert err.splitlines() == [
        "shelf: 1 .txt file was skipped",
        "1 named more than once and labelled once",
    ]
    assert main(["predict", "shelf", "--topk", "1", "--json"]) == 0  # no run's folder: the newest
    assert len(json.loads(capsys.readouterr().out)) == 2
    assert main(["predict", "quick", "shelf/low", "--topk", "1"]) == 0
    assert capsys.readouterr().out.startswith("shelf/low/a.png: green")
    (tmp_path / "quick").mkdir()  # called like the study
    picture(tmp_path / "quick" / "c.png", COLORS["red"])
    assert main(["predict", "quick", "--topk", "1"]) == 0
    assert capsys.readouterr().out.startswith("quick/c.png: red")


def test_an_empty_folder_is_one_line(run, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["predict", str(run), str(tmp_path / "empty")]) == 2
    assert capsys.readouterr() == ("", f"hpo predict: {tmp_path / 'empty'}: holds no picture\n")


def test_a_deep_picture_is_labelled_by_the_range_of_the_model(run, tmp_path, capsys):
    import onnx

    model = onnx.load(str(run.best_dir / "model.onnx"))
    model.metadata_props.add(key="value_range", value="[0.0, 4095.0]")
    onnx.save(model, str(run.best_dir / "model.onnx"))
    values = np.broadcast_to(np.array(COLORS["blue"]) * 16, (9, 9, 3)).astype(np.uint16)
    (tmp_path / "deep.png").write_bytes(png(values))
    assert main(["predict", str(run), str(tmp_path / "deep.png"), "--topk", "1", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["labels"] == ["blue"]
    assert row["distances"][0] < 0.01


def test_a_folder_that_is_missing_is_one_line(run, tmp_path, capsys):
    assert main(["gallery", str(run), "--add", str(tmp_path / "nowhere")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("hpo gallery: ")
    assert err.count("\n") == 1


def test_without_an_export_there_is_no_gallery(run, capsys):
    shutil.rmtree(run.best_dir)
    assert main(["gallery", str(run)]) == 2
    assert "has no exported model yet" in capsys.readouterr().err


def test_galleries_are_merged_kept_in_other_ways_and_set_back(run, tmp_path, capsys):
    from trainer.gallery import GalleryIndex, model_digest

    other = tmp_path / "other.npz"
    picture(tmp_path / "new" / "white" / "0.png", (250, 250, 250))
    main(["gallery", str(run), "--add", str(tmp_path / "new")])
    shutil.copy(run.best_dir / "gallery.npz", other)
    assert main(["gallery", str(run), "--undo"]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "undone  the last change",
        "now     3 pictures of 3 classes",
    ]
    assert main(["gallery", str(run), "--merge", str(other)]) == 2
    assert "does not say which model made it; export it again" in capsys.readouterr().err
    digest = model_digest(run.best_dir / "model.onnx")
    dataclasses.replace(GalleryIndex.load(other), model=digest).save(other)
    words = ["gallery", str(run), "--merge", str(other), "--kind", "8-bit"]
    assert main([*words, "--matching", "prototypes"]) == 0
    size = f"{(run.best_dir / 'gallery.npz').stat().st_size:,}"
    assert capsys.readouterr().out.splitlines() == [
        "merged  1 picture, 1 new class",
        "known   3 pictures, there already",
        f"kept    as 8-bit ({size} bytes), by prototypes",
        "now     4 pictures of 4 classes",
    ]
    main(["predict", str(run), str(tmp_path / "new"), "--topk", "1", "--json"])
    assert json.loads(capsys.readouterr().out)[0]["labels"] == ["white"]
    assert main(["gallery", str(run), "--undo", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["undone"] == {"classes": 4, "pictures": 4}
    for _ in range(2):
        main(["gallery", str(run), "--undo"])
    assert "there is no change to undo" in capsys.readouterr().err


def test_another_models_gallery_is_refused_whatever_is_asked(run, tmp_path, capsys):
    asked = picture(tmp_path / "new" / "white" / "a.png", (250, 250, 250))
    file = run.best_dir / "gallery.npz"
    with np.load(file) as arrays:
        np.savez(file, **{**arrays, "model": "5" * 64})
    swapped = file.read_bytes()
    verbs = [
        ["predict", str(run), str(asked)],
        ["predict", str(run), str(asked), "--unknown-at", "0.1"],
        ["gallery", str(run), "--add", str(tmp_path / "new")],
        ["gallery", str(run), "--remove", "red"],
        ["gallery", str(run), "--merge", str(file)],
        ["gallery", str(run), "--kind", "8-bit"],
        ["gallery", str(run), "--sizes"],
    ]
    for words in verbs * 2:
        assert main(words) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"{file}: was made by another model" in line
        assert file.read_bytes() == swapped


def test_sizes_are_measured_and_nothing_is_changed(run, capsys):
    file = run.best_dir / "gallery.npz"
    assert main(["gallery", str(run), "--sizes"]) == 2
    assert "holds no validation queries of its classes" in capsys.readouterr().err
    with np.load(file) as arrays:
        kept = dict(arrays)
    names = np.array([*COLORS, "blue"])  # the last one's picture is the first one's
    np.savez(
        file,
        **kept,
        query_embeddings=np.concatenate((kept["embeddings"], kept["embeddings"][:1])),
        query_names=names,
        query_is_trained=np.ones(4, dtype=bool),
    )
    before = file.read_bytes()
    assert main(["gallery", str(run), "--sizes", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows[0]["precision_at_1"] == pytest.approx((1 + 1 + 0.5) / 3)
    assert {row["kind"] for row in rows} == {"flat", "16-bit", "8-bit", "hnsw"}
    assert file.read_bytes() == before
    assert main(["gallery", str(run), "--sizes"]) == 0
    told = capsys.readouterr().out
    assert told.splitlines()[1].split()[:2] == ["flat", "nearest"]
    assert "\nP@1 of 4 validation queries (of many, a random part)" in told
    assert main(["gallery", str(run), "--sizes", "--kind", "8-bit"]) == 2
    assert "--sizes: changes nothing" in capsys.readouterr().err
