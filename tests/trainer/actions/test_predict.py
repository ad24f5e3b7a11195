import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from threadpoolctl import threadpool_info

from tests.trainer.tiny import make_folders, make_splits, train_spec
from trainer import cores
from trainer.actions.change_gallery import add_classes
from trainer.actions.evaluate import evaluate
from trainer.actions.export import export
from trainer.actions.inference import infer
from trainer.actions.predict import _rows, describe_threshold, embed_readable, predict
from trainer.encoders import load_model
from trainer.errors import CheckpointError, DataError, SpecError
from trainer.gallery import GalleryIndex
from trainer.onnx_model import OnnxModel
from trainer.spec import parse_spec
from trainer.training import fit
from trainer.vectors import Vectors


def pictures(trained):
    return sorted(Path(trained.splits["query"]).rglob("*.png"))


def of_each_class(row, count):
    """The first of each class among the neighbours that `inference` lists."""
    first = dict(reversed(list(zip(row["labels"], row["distances"], strict=True))))
    ranked = sorted(first.items(), key=lambda item: item[1])[:count]
    return [label for label, _ in ranked], [distance for _, distance in ranked]


def test_labels_equal_those_of_the_checkpoint(trained, exported, tmp_path):
    files = pictures(trained)
    rows = predict(exported, files, topk=3)
    spec = trained.spec(
        tmp_path, inference__checkpoint=str(trained.checkpoint), inference__topk=12,
        inference__input_path=trained.splits["query"],
    )  # fmt: skip
    infer(parse_spec(spec, "inference"))
    from_torch = json.loads((tmp_path / "inference" / "result.json").read_text())
    assert [row["image"] for row in rows] == [row["image"] for row in from_torch]
    for row, other in zip(rows, from_torch, strict=True):
        labels, distances = of_each_class(other, 3)
        assert row["labels"] == labels
        assert row["distances"] == pytest.approx(distances, abs=1e-4)
        assert row["distances"] == sorted(row["distances"])


def test_cut_pictures_are_the_same_in_every_action(tmp_path):
    """Training, evaluation, inference, export and prediction of one small model."""
    splits = make_splits(tmp_path / "pictures", classes=5)
    for number, path in enumerate(sorted(Path(tmp_path).rglob("*.png"))):
        with Image.open(path) as image:  # other ratios, so that squashing them is another thing
            image.resize((40 + number % 9, 70)).save(path)
    framed = {
        "dataset.crop_share": 0.8, "dataset.interpolation": "bicubic",
        "dataset.pixel_mean": [0.5, 0.5, 0.5], "dataset.pixel_std": [0.5, 0.4, 0.3],
        "dataset.cache": True,
    }  # fmt: skip
    spec = train_spec(splits, tmp_path, train__num_epochs=1) | framed
    values = []
    receipt = fit(spec, lambda report: values.append(report["value"]) or True)
    del framed["dataset.cache"]
    assert {key: receipt["applied"][key] for key in framed} == framed
    checkpoint = str(tmp_path / "ckpt" / "last.ckpt")
    scored = evaluate(parse_spec(spec | {"evaluate.checkpoint": checkpoint}, "evaluate"))
    assert scored["metrics"]["val_precision_at_1"] == pytest.approx(values[0])
    export(
        parse_spec(
            spec | {"export.checkpoint": checkpoint, "export.onnx_file": f"{tmp_path}/model.onnx"},
            "export",
        )
    )
    files = sorted(Path(splits["query"]).rglob("*.png"))
    inferred = {"inference.checkpoint": checkpoint, "inference.input_path": splits["query"]}
    infer(parse_spec(spec | inferred | {"inference.topk": 10}, "inference"))
    from_torch = json.loads((tmp_path / "inference" / "result.json").read_text())
    for row, other in zip(predict(tmp_path, files, topk=3), from_torch, strict=True):
        labels, distances = of_each_class(other, 3)
        assert row["labels"] == labels
        assert row["distances"] == pytest.approx(distances, abs=1e-4)
    with pytest.raises(SpecError, match=r"dataset.crop_share must be 0\.8, got 0\.0") as caught:
        plain = {key: value for key, value in spec.items() if key != "dataset.crop_share"}
        evaluate(parse_spec(plain | {"evaluate.checkpoint": checkpoint}, "evaluate"))
    assert str(caught.value).endswith(f"{checkpoint} was made with that")


def slow_matches(trained, checkpoint, spec):
    """Classes of every query by distance to class means, each embedding averaged with its mirror
    image's: one picture at a time.
    """
    model = load_model(checkpoint, spec, torch.device("cpu"))

    def embed(path):
        pixels = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)[None] / 255.0
        pixels = (pixels - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / 0.226
        with torch.no_grad():
            views = [model(view)[0] for view in (pixels, pixels.flip(3))]
        return sum(view / view.norm() for view in views) / 2

    means = {}
    for folder in sorted(Path(trained.splits["reference"]).iterdir()):
        rows = [embed(path) for path in sorted(folder.iterdir())]
        mean = sum(row / row.norm() for row in rows)
        means[folder.name] = mean / mean.norm()
    ranked = {}
    for path in pictures(trained):
        row = embed(path)
        gaps = {name: (row / row.norm() - mean).norm().item() for name, mean in means.items()}
        ranked[str(path)] = sorted(gaps.items(), key=lambda item: item[1])
    return ranked


def test_prototypes_and_mirror_images_are_the_same_in_every_action(trained, tmp_path):
    matched = {"dataset.matching": "prototypes", "dataset.flip_average": True}
    checkpoint, common = str(trained.checkpoint), trained.spec(tmp_path) | matched
    asked = parse_spec(common | {"evaluate.checkpoint": checkpoint, "evaluate.topk": 3}, "evaluate")
    ranked = slow_matches(trained, trained.checkpoint, asked)
    own = [Path(path).parent.name for path in ranked]
    ranks = [
        [name for name, _ in row].index(label) + 1
        for row, label in zip(ranked.values(), own, strict=True)
    ]
    scored = evaluate(asked)
    assert scored["hits"] == [rank == 1 for rank in ranks]
    found = scored["metrics"]
    assert found["val_hit_at_3"] == pytest.approx(np.mean([rank <= 3 for rank in ranks]))
    assert found["val_mrr"] == pytest.approx(np.mean([1 / rank for rank in ranks]))
    assert found["val_r_precision"] == found["val_precision_at_1_query_mean"]
    asked = {"inference.checkpoint": checkpoint, "inference.topk": 3}
    asked["inference.input_path"] = trained.splits["query"]
    infer(parse_spec(common | asked, "inference"))
    rows = json.loads((tmp_path / "inference" / "result.json").read_text())
    files = {"export.checkpoint": checkpoint, "export.onnx_file": str(tmp_path / "model.onnx")}
    export(parse_spec(common | files, "export"))
    for answers in (rows, predict(tmp_path, pictures(trained), topk=3)):
        for row in answers:
            expected = ranked[row["image"]][:3]
            assert row["labels"] == [name for name, _ in expected]
            assert row["distances"] == pytest.approx([gap for _, gap in expected], abs=1e-4)
            assert [Path(n).parent.name for n in row["neighbours"]] == row["labels"]
    with pytest.raises(DataError, match="must be at most the 6 classes of the gallery, got 7"):
        predict(tmp_path, pictures(trained), topk=7)


@pytest.mark.parametrize("matching", ["nearest", "prototypes"])
def test_training_validates_as_evaluation_matches(trained, tmp_path, matching):
    matched = {"dataset.matching": matching, "dataset.flip_average": matching == "prototypes"}
    values = []
    spec = train_spec(trained.splits, tmp_path, train__num_epochs=1) | matched
    receipt = fit(spec, lambda report: values.append(report["value"]) or True)
    assert {key: receipt["applied"][key] for key in matched} == matched
    checkpoint = {"evaluate.checkpoint": str(tmp_path / "ckpt" / "last.ckpt")}
    scored = evaluate(parse_spec(spec | checkpoint, "evaluate"))
    assert scored["metrics"]["val_precision_at_1"] == pytest.approx(values[0])


def test_it_runs_without_torch(trained, exported):
    code = (
        "import json, sys; from pathlib import Path; from trainer.actions.predict import predict;"
        f"rows = predict(Path({str(exported)!r}), [Path({str(pictures(trained)[0])!r})], 2);"
        "print(json.dumps([rows[0]['labels'], 'torch' in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    labels, has_torch = json.loads(done.stdout)
    assert labels == predict(exported, pictures(trained)[:1], 2)[0]["labels"]
    assert not has_torch


def test_classes_added_afterwards_equal_a_full_rebuild(trained, exported, tmp_path):
    whole, parts, new = tmp_path / "whole", tmp_path / "parts", tmp_path / "new"
    make_folders(tmp_path / "more", classes=16, images=2, seed=8)
    for number, folder in enumerate(sorted((tmp_path / "more").iterdir())):
        if number >= 6:
            shutil.copytree(folder, new / f"new_{folder.name}")
    all_folders = tmp_path / "all"
    shutil.copytree(trained.splits["reference"], all_folders)
    shutil.copytree(new, all_folders, dirs_exist_ok=True)
    for target in (whole, parts):
        shutil.copytree(exported, target)
    counts = add_classes(parts, new)
    assert counts == {
        "classes": 16, "pictures": 32, "new_classes": 10, "new_pictures": 20,
        "known_pictures": 0, "errors": [], "notes": [],
    }  # fmt: skip
    (whole / "gallery.npz").unlink()
    _rebuild(whole, all_folders)
    files = pictures(trained) + sorted(new.rglob("*.png"))
    extended, rebuilt = predict(parts, files, 5), predict(whole, files, 5)
    assert [row["labels"] for row in extended] == [row["labels"] for row in rebuilt]
    assert [row["distances"] for row in extended] == [row["distances"] for row in rebuilt]
    assert extended[-1]["labels"][0].startswith("new_")


def _rebuild(folder, pictures_dir):
    from trainer.data.folder import scan_folder
    from trainer.gallery import build_gallery

    found = scan_folder(pictures_dir)
    files = [found.root / path for path in found.paths]
    ((_, emb, _),) = embed_readable(OnnxModel(folder / "model.onnx"), files, {})
    build_gallery(emb, found.labels, found.classes, files).save(folder / "gallery.npz")


def test_more_pictures_of_a_known_class_join_it(trained, exported, tmp_path):
    shutil.copytree(exported, tmp_path / "copy")
    counts = add_classes(tmp_path / "copy", Path(trained.splits["query"]))
    assert counts["new_classes"] == 0
    (row,) = predict(tmp_path / "copy", pictures(trained)[:1], 1)
    assert row["distances"] == [0.0]


def test_bad_input_is_one_line(trained, exported, tmp_path):
    with pytest.raises(
        DataError, match="topk: must be at most the 6 classes of the gallery, got 13"
    ):
        predict(exported, pictures(trained), 13)
    with pytest.raises(CheckpointError, match="no such ONNX file"):
        predict(tmp_path, pictures(trained), 1)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (row,) = predict(exported, [tmp_path / "broken.png"], 1)
    assert row["error"].startswith("not a readable picture")
    shutil.copy(exported / "model.onnx", tmp_path / "model.onnx")
    with pytest.raises(DataError, match="no such gallery index"):
        predict(tmp_path, pictures(trained), 1)


def test_one_broken_picture_does_not_stop_a_batch(trained, exported, tmp_path):
    files = pictures(trained)
    (tmp_path / "broken.png").write_bytes(files[0].read_bytes()[:50])
    mixed = [files[0], tmp_path / "broken.png", *files[1:40], tmp_path / "missing.png"]
    rows = predict(exported, mixed, 3)
    alone = predict(exported, [files[0], *files[1:40]], 3)
    assert [row["image"] for row in rows] == [str(path) for path in mixed]
    assert [row for row in rows if "error" not in row] == alone
    assert rows[1] == {
        "image": str(tmp_path / "broken.png"),
        "error": "not a readable picture (it is cut off); replace or remove it",
    }
    assert "No such file" in rows[-1]["error"]


def test_many_pictures_are_labelled_as_one_by_one_in_their_order(trained, exported, tmp_path):
    """Broken ones lie where one part ends and the next begins; a last part holds no other."""
    given = pictures(trained)
    broken = {0, 31, 32, 70, 96}
    files = []
    for number in range(97):
        path = tmp_path / f"{number:03d}.png"
        path.write_bytes(b"" if number in broken else given[number % len(given)].read_bytes())
        files.append(path)
    threads = [library["num_threads"] for library in threadpool_info()]
    rows = predict(exported, files, topk=2)
    assert [library["num_threads"] for library in threadpool_info()] == threads
    assert [row["image"] for row in rows] == list(map(str, files))
    assert {number for number, row in enumerate(rows) if "error" in row} == broken
    alone = [predict(exported, [file], topk=2)[0] for file in given]
    for number, row in enumerate(rows):
        if number not in broken:
            other = alone[number % len(given)]
            assert row["labels"] == other["labels"]
            assert row["distances"] == pytest.approx(other["distances"], abs=1e-5)


@pytest.mark.parametrize(("quota", "threads"), [("max", 0), ("200000", 2)])
def test_a_quota_bounds_the_threads_of_the_model(exported, tmp_path, monkeypatch, quota, threads):
    (tmp_path / "cpu.max").write_text(f"{quota} 100000\n")
    monkeypatch.setattr(cores, "ROOT", tmp_path)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(64))
    options = OnnxModel(exported / "model.onnx")._session.get_session_options()
    assert options.intra_op_num_threads == threads


def test_pictures_of_no_class_are_unknown_with_the_nearest_beside(trained, tmp_path):
    splits = make_splits(tmp_path / "pictures", classes=9)
    spec = train_spec(splits, tmp_path, train__num_epochs=2, train__optim__trunk__base_lr=2e-3)
    fit(spec, lambda report: True)
    checkpoint = str(tmp_path / "ckpt" / "last.ckpt")
    files = {"export.checkpoint": checkpoint, "export.onnx_file": f"{tmp_path}/model.onnx"}
    export(parse_spec(spec | files, "export"))
    queries = sorted(Path(splits["query"]).rglob("*.png"))
    gallery = GalleryIndex.load(tmp_path / "gallery.npz")
    assert len(gallery.queries.names) == len(queries)
    assert gallery.queries.is_trained_Q.all()
    told = describe_threshold(tmp_path, 0.3)
    assert told["is_of_trained"]
    plain = predict(tmp_path, queries, 4)
    rows = predict(tmp_path, queries, 4, unknown_at=0.3)
    for row, other in zip(rows, plain, strict=True):
        assert other["label"] == other["labels"][0] != other["labels"][1]
        first, *others = row["distances"]
        is_far = first - 0.75 * np.mean(others) > told["limit"]
        assert row["label"] == ("unknown" if is_far else row["labels"][0])
        assert row["labels"] == other["labels"]
        assert row["scores"] == pytest.approx([1 - d * d / 2 for d in row["distances"]], abs=1e-6)
    far = sum(row["label"] == "unknown" for row in rows)
    assert far / len(rows) == pytest.approx(told["rejected"], abs=0.02)
    asked = {"inference.checkpoint": checkpoint, "inference.input_path": splits["query"]}
    done = infer(parse_spec(spec | asked | {"inference.unknown_at": 0.3}, "inference"))
    assert done["threshold"]["limit"] == pytest.approx(told["limit"], abs=1e-4)
    assert (done["threshold"]["rate"], done["threshold"]["is_of_trained"]) == (0.3, True)
    inferred = json.loads((tmp_path / "inference" / "result.json").read_text())
    assert [row["unknown"] for row in inferred] == [row["label"] == "unknown" for row in rows]
    bare = {"dataset.val_dataset.query": None, "inference.unknown_at": 0.3}
    with pytest.raises(SpecError, match=r"val_dataset\.query: must be given for inference\.unkn"):
        infer(parse_spec(spec | asked | bare, "inference"))


def test_too_few_classes_make_no_threshold(trained, exported):
    assert all(row["label"] == row["labels"][0] for row in predict(exported, pictures(trained), 1))
    with pytest.raises(DataError, match="8 classes with validation queries are needed, got 6"):
        predict(exported, pictures(trained), 1, unknown_at=0.1)


@pytest.mark.parametrize("topk", [1, 3, 4, 6])
def test_labels_and_unknown_pictures_come_of_one_search(monkeypatch, topk):
    rng = np.random.default_rng(topk)
    labels = np.arange(90) % 9
    emb = rng.normal(size=(9, 6))[labels] + rng.normal(size=(90, 6))
    index = GalleryIndex(
        vectors=Vectors.of(emb), labels_G=labels, class_names=tuple("abcdefghi"),
        paths=tuple(f"{i}.png" for i in range(90)),
    )  # fmt: skip
    query = rng.normal(size=(20, 6)).astype(np.float32)
    plain = list(_rows(index, query, topk, None))
    limit = float(np.median(index.score_unknown(query)))
    is_far = index.score_unknown(query) > limit
    asked, nearest = [], GalleryIndex.nearest
    monkeypatch.setattr(
        GalleryIndex, "nearest", lambda self, q, k: asked.append(len(q)) or nearest(self, q, k)
    )
    rows = list(_rows(index, query, topk, limit))
    assert [row.pop("unknown") for row in rows] == is_far.tolist()
    assert is_far.any()
    assert asked[0] == 20 > sum(asked[1:])  # deeper for those without enough classes
    for row, other, far in zip(rows, plain, is_far, strict=True):
        assert row == (other | {"label": "unknown"} if far else other)
