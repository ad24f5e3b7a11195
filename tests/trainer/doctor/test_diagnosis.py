"""Planted faults are all found and named; a clean set has none."""

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.trainer.deep_files import fax_with_bad_codes, with_broken_exif
from tests.trainer.doctor.drawing import CLASSES, SPLITS, draw, save, sources
from trainer.doctor.diagnosis import diagnose
from trainer.doctor.fingerprint import near_pairs, take_fingerprint, take_fingerprints


def test_a_clean_set_has_no_finding(clean):
    diagnosis = diagnose(sources(clean))
    assert diagnosis["findings"] == []
    assert diagnosis["splits"]["train"] == {
        "images": 30,
        "classes": 5,
        "per_class_min": 6,
        "per_class_max": 6,
    }


def truncate(root):
    path = root / "train/almond/train_0.jpg"
    path.write_bytes(path.read_bytes()[:600])
    return [path]


def empty_file(root):
    path = root / "query/barley/query_1.jpg"
    path.write_bytes(b"")
    return [path]


def no_picture(root):
    path = root / "reference/barley/reference_1.jpg"
    path.write_text("<html>not found</html>")
    return [path]


def copy(root, source, target):
    (root / target).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(root / source, root / target)
    return [root / source, root / target]


def again(root, source, target, scale=0.6, quality=60):
    """The same picture, made smaller and compressed again."""
    with Image.open(root / source) as picture:
        size = (round(picture.width * scale), round(picture.height * scale))
        picture.resize(size).save(root / target, quality=quality)
    return [root / source, root / target]


def empty_class(root):
    (root / "train" / "garlic").mkdir()
    return [root / "train" / "garlic"]


def remove(root, split, name, keep=0):
    for path in sorted((root / split / name).iterdir())[keep:]:
        path.unlink()
    if not keep:
        (root / split / name).rmdir()


def single(root):
    for number, split in enumerate(SPLITS):
        save(draw(900 + number), root / split / "zest" / f"{split}_9.jpg")
    return [root / "train" / "zest"]


def few(root):
    remove(root, "train", "dates", keep=3)
    return [root / "train" / "dates"]


def imbalance(root):
    for i in range(130):
        save(draw(5000 + i), root / "train" / "dates" / f"more_{i}.jpg")
    return [root / "train" / "dates", root / "train" / "almond"]


def only_in_query(root):
    for i in range(4):
        save(draw(700 + i), root / "query" / "hazelnut" / f"{i}.jpg")
    return [root / "query" / "hazelnut"]


def never_asked(root):
    remove(root, "query", "fennel")
    return [root / "train" / "fennel"]


def not_in_gallery(root):
    shutil.rmtree(root / "reference" / "fennel")
    remove(root, "query", "fennel")
    return [root / "train" / "fennel"]


def lone_gallery(root):
    for name in ("barley", "cashew", "dates", "fennel"):
        for split in ("reference", "query"):
            shutil.rmtree(root / split / name, ignore_errors=True)
    return [root / "reference"]


def not_trained(root):
    remove(root, "train", "fennel")
    return [root / "query" / "fennel"]


def twins(root):
    for number, (split, count) in enumerate(SPLITS.items()):
        for i in range(count):
            save(draw(800 + 10 * number + i), root / split / "Al-mond" / f"{i}.jpg")
    return [root / "train" / "Al-mond", root / "train" / "almond"]


def stray(root):
    return save(draw(600), root / "train" / "lost.jpg")


def other_file(root):
    path = root / "train" / "almond" / "IMG_1.xyz"
    path.write_bytes(b"x")
    return [path]


def wrong_class_name(root):
    path = root / "train" / "almond" / "train_3.jpg"
    return [path.rename(path.with_name("cashew_014.jpg"))]


def grey(root):
    return save(draw(601).convert("L"), root / "train" / "almond" / "train_0.jpg")


def transparent(root):
    return save(draw(602).convert("RGBA"), root / "train" / "almond" / "logo.png")


def wrong_ending(root):
    return save(draw(603), root / "train" / "almond" / "train_0.jpg", format="PNG")


def animation(root):
    more = {"save_all": True, "append_images": [draw(608)]}
    return save(draw(607), root / "train" / "almond" / "moving.gif", **more)


def broken_metadata(root):
    path = root / "train" / "almond" / "train_0.jpg"
    path.write_bytes(with_broken_exif(Image.open(path)))
    return [path]


def broken_fax(root):
    path = root / "train" / "almond" / "scan.tif"
    path.write_bytes(fax_with_bad_codes(draw(609, (400, 300))))
    return [path]


FAULTS = {
    "truncated": ("unreadable", "error", truncate),
    "empty file": ("unreadable", "error", empty_file),
    "no picture": ("unreadable", "error", no_picture),
    "duplicate": (
        "duplicate",
        "info",
        lambda r: copy(r, "train/almond/train_0.jpg", "train/almond/copy.jpg"),
    ),
    "duplicate across splits": (
        "duplicate_across_splits",
        "warning",
        lambda r: copy(r, "query/almond/query_0.jpg", "train/almond/again.jpg"),
    ),
    "one file in two classes": (
        "duplicate_conflict",
        "warning",
        lambda r: copy(r, "train/almond/train_1.jpg", "train/barley/copy.jpg"),
    ),
    "near duplicate": (
        "near_duplicate",
        "info",
        lambda r: again(r, "train/almond/train_0.jpg", "train/almond/small.jpg"),
    ),
    "near duplicate across splits": (
        "near_duplicate_across_splits",
        "warning",
        lambda r: again(r, "query/dates/query_2.jpg", "train/dates/small.jpg"),
    ),
    "near duplicate in two classes": (
        "near_duplicate_conflict",
        "warning",
        lambda r: again(r, "train/dates/train_2.jpg", "train/cashew/large.jpg", 1.5, 85),
    ),
    "empty class": ("empty_class", "warning", empty_class),
    "class of one picture": ("single_image", "error", single),
    "class of few pictures": ("small_class", "warning", few),
    "imbalance": ("imbalance", "warning", imbalance),
    "query class without gallery": ("query_without_gallery", "error", only_in_query),
    "training class never asked for": ("class_not_in_query", "warning", never_asked),
    "training class not in the gallery": ("class_not_in_reference", "warning", not_in_gallery),
    "gallery of one class": ("one_class", "error", lone_gallery),
    "query class not trained on": ("class_not_in_train", "warning", not_trained),
    "class spelt twice": ("similar_classes", "warning", twins),
    "picture beside the classes": ("stray_picture", "warning", stray),
    "file of another kind": ("other_file", "info", other_file),
    "name of another class": ("label_in_name", "warning", wrong_class_name),
    "grey among colours": ("odd_mode", "info", grey),
    "transparent": ("odd_mode", "info", transparent),
    "several frames": ("several_frames", "info", animation),
    "broken metadata": ("damaged_metadata", "info", broken_metadata),
    "broken fax codes": ("damaged_pixels", "warning", broken_fax),
    "wrong ending": ("wrong_extension", "info", wrong_ending),
    "tiny": (
        "tiny_image",
        "warning",
        lambda r: save(draw(604, (9, 9)), r / "train" / "almond" / "train_0.jpg"),
    ),
    "huge": (
        "huge_image",
        "warning",
        lambda r: save(
            draw(605).resize((9000, 6000), Image.Resampling.NEAREST),
            r / "train" / "almond" / "train_0.jpg",
        ),
    ),
    "strip": (
        "extreme_aspect",
        "warning",
        lambda r: save(draw(606, (800, 100)), r / "train" / "almond" / "train_0.jpg"),
    ),
    "blank": (
        "blank",
        "warning",
        lambda r: save(Image.new("RGB", (64, 64), "white"), r / "train" / "almond" / "train_0.jpg"),
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_and_nothing_else_of_its_kind(pictures, name):
    kind, severity, plant = FAULTS[name]
    planted = {str(path) for path in plant(pictures)}
    findings = diagnose(sources(pictures))["findings"]
    found = [f for f in findings if f["kind"] == kind]
    assert found, findings
    assert {f["severity"] for f in found} == {severity}
    assert planted <= {path for f in found for path in f["paths"]}
    unrelated = {f["kind"] for f in findings if not planted & set(f["paths"])}
    assert unrelated <= CONSEQUENCES.get(name, set()), findings


CONSEQUENCES = {
    "query class without gallery": {"class_not_in_train"},
    "gallery of one class": {"class_not_in_reference"},
    "class spelt twice": {"similar_classes"},
    "query class not trained on": {"class_not_in_query"},
}
"""What follows from a fault elsewhere: one finding per split, or the same seen from another."""


def test_all_at_once_are_all_found(pictures):
    chosen = [
        *("truncated", "empty file", "no picture", "duplicate across splits"),
        *("one file in two classes", "near duplicate across splits", "empty class", "imbalance"),
        *("near duplicate in two classes", "class of one picture", "query class without gallery"),
        *("class spelt twice", "picture beside the classes", "file of another kind"),
        *("name of another class", "transparent", "training class never asked for"),
    ]
    extra = {"tiny": (10, 10), "strip": (900, 100)}
    for number, size in enumerate(extra.values()):
        save(draw(950 + number, size), pictures / "train" / "barley" / f"odd_{number}.jpg")
    planted = {name: [str(p) for p in FAULTS[name][2](pictures)] for name in chosen}
    findings = diagnose(sources(pictures))["findings"]
    kinds = {f["kind"] for f in findings}
    assert {FAULTS[name][0] for name in (*chosen, *extra)} <= kinds
    assert sum(f["kind"] == "unreadable" for f in findings) == 3
    for name in ("truncated", "one file in two classes", "name of another class"):
        every = {path for f in findings if f["kind"] == FAULTS[name][0] for path in f["paths"]}
        assert set(planted[name]) <= every
    order = [f["severity"] for f in findings]
    assert order == sorted(order, key=["error", "warning", "info"].index)


def test_a_missing_folder_is_a_finding_and_the_others_are_still_looked_at(clean):
    diagnosis = diagnose({**sources(clean), "test_query": str(clean / "nowhere")})
    assert [f["kind"] for f in diagnosis["findings"]] == ["source"]
    assert "nowhere" in diagnosis["findings"][0]["message"]
    assert set(diagnosis["splits"]) == set(SPLITS)


def test_the_same_folder_twice(clean):
    findings = diagnose({"train": str(clean / "train"), "query": str(clean / "train")})["findings"]
    assert "same_folder" in {f["kind"] for f in findings}


def test_a_split_by_class_lacks_nothing(clean, tmp_path):
    for split, names in (
        ("train", CLASSES[:3]),
        ("reference", CLASSES[3:]),
        ("query", CLASSES[3:]),
    ):
        for name in names:
            shutil.copytree(clean / split / name, tmp_path / split / name)
    assert diagnose(sources(tmp_path))["findings"] == []


@pytest.mark.parametrize("side", [48, 96, 300])
def test_resized_pictures_are_recognised_at_any_size(tmp_path, side):
    for seed in range(20):
        draw(seed).save(tmp_path / f"a{seed}.png")
        draw(seed).resize((side, side * 3 // 4)).save(tmp_path / f"b{seed}.jpg", quality=70)
    paths = [
        tmp_path / f"{letter}{i}.{end}"
        for letter, end in (("a", "png"), ("b", "jpg"))
        for i in range(20)
    ]
    assert near_pairs(take_fingerprints(paths)) == [(i, i + 20) for i in range(20)]


def test_different_pictures_do_not_resemble_one_another(tmp_path):
    paths = [tmp_path / f"{seed}.png" for seed in range(300)]
    for seed, path in enumerate(paths):
        draw(seed, (48, 36)).save(path)
    assert near_pairs(take_fingerprints(paths)) == []


def test_an_unreadable_folder_entry_is_told(tmp_path):
    assert take_fingerprint(tmp_path / "missing.jpg").error == "No such file or directory"


@pytest.mark.skipif("HPO_SHARED_DIR" not in os.environ, reason="needs HPO_SHARED_DIR")
def test_an_archive_of_real_pictures(tmp_path, monkeypatch):
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path))
    folder = Path(os.environ["HPO_SHARED_DIR"], "data", "omniglot", "known_classes")
    splits = {"train": "train", "reference": "reference", "query": "val"}
    diagnosis = diagnose({k: str(folder / f"{name}.tar.gz") for k, name in splits.items()})
    assert set(diagnosis["splits"]) == set(splits)
    assert diagnosis["splits"]["train"]["images"] > 500
    assert [f for f in diagnosis["findings"] if f["severity"] == "error"] == []
