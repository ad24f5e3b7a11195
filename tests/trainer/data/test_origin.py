"""Messages name the picture that the user put there, wherever its bytes lie."""

import json
import shutil
import tarfile
import zipfile

import pytest
from PIL import Image

from tests.decoded import open_cache
from trainer.data.decode import decode_image
from trainer.data.demo import make_demo_data
from trainer.data.folder import scan_folder
from trainer.data.framing import ImageSize
from trainer.data.inspect import inspect_data
from trainer.data.origin import _nearest_record, origin
from trainer.data.split import split_folder
from trainer.data.staging import stage
from trainer.doctor.diagnosis import diagnose
from trainer.errors import DataError, ImageError

SMALL = ImageSize(height=8, width=8)


@pytest.fixture
def photos(make_folder):
    return make_folder("photos", {"apple": 8, "pear": 8})


@pytest.fixture(params=["tar.gz", "zip"])
def archive(request, photos):
    path = photos.with_name(f"photos.{request.param}")
    if request.param == "zip":
        with zipfile.ZipFile(path, "w") as packed:
            for file in photos.rglob("*.png"):
                packed.write(file, file.relative_to(photos.parent).as_posix())
    else:
        with tarfile.open(path, "w:gz") as packed:
            packed.add(photos, "photos")
    return path


def broken(folder):
    path = folder / "pear" / "3.png"
    path.write_bytes(path.read_bytes()[:40])
    return path


def refusal(path):
    with pytest.raises(ImageError) as caught:
        decode_image(path, SMALL)
    return str(caught.value)


def test_a_file_of_the_users_is_itself(photos):
    path = broken(photos)
    assert origin(path) == str(path)
    assert refusal(path).startswith(f"{path}: not a readable picture (")


def test_a_member_of_an_archive_is_named_by_the_archive(archive, photos, cache_dir):
    folder = stage(str(archive))
    assert str(folder).startswith(str(cache_dir))
    assert origin(folder) == str(archive)
    assert origin(folder / "photos" / "pear" / "3.png") == f"{archive}/photos/pear/3.png"
    assert refusal(broken(folder / "photos")).startswith(f"{archive}/photos/pear/3.png: not a")


def test_an_archive_staged_by_a_relative_path_is_named_in_full(archive, monkeypatch):
    monkeypatch.chdir(archive.parent)
    folder = stage(archive.name)
    assert origin(folder / "photos") == f"{archive}/photos"


def test_a_link_of_a_split_is_named_by_what_it_leads_to(photos, tmp_path):
    parts = split_folder(photos, tmp_path / "out", seed=3)
    for part in ("train", "reference", "query", "test_query"):
        folder = scan_folder(parts[part])
        assert origin(folder.root) == str(photos)
        for relative in folder.paths:
            link = folder.root / relative
            assert origin(link) == str(link.resolve()) == f"{photos}/{relative}"


def test_a_split_of_an_archive_is_named_by_the_archive(archive, tmp_path):
    parts = split_folder(archive, tmp_path / "out", seed=3)
    folder = scan_folder(parts["train"])
    assert origin(folder.root / folder.paths[0]) == f"{archive}/photos/{folder.paths[0]}"


def test_the_embedded_data_set_is_named_as_such(tmp_path, monkeypatch):
    monkeypatch.setattr("trainer.data.demo._draw_all", draw_one)
    train = make_demo_data(tmp_path / "seed-5", 5)["train"]
    path = f"{train}/a/000.jpg"
    assert refusal(tmp_path / path).startswith("embedded data set (seed 5)/train/a/000.jpg: not a")


def draw_one(target, seed):
    (target / "train" / "a").mkdir(parents=True)
    (target / "train" / "a" / "000.jpg").write_bytes(b"")
    (target / "demo.json").write_text(json.dumps({"seed": seed, "version": 1, "classes": 1}))


def test_files_of_the_user_that_are_called_like_a_record_change_nothing(photos):
    for name in ("staging.json", "split.json", "demo.json"):
        (photos / name).write_text('{"train": ["a.png"]}')
    (photos / "apple" / "split.json").write_text("not JSON")
    assert origin(photos / "apple" / "1.png") == str(photos / "apple" / "1.png")
    for source in ("kaggle", ".", 5, None):
        (photos / "split.json").write_text(json.dumps({"source": source, "images": {"train": 6}}))
        _nearest_record.cache_clear()
        assert origin(photos / "pear" / "1.png") == str(photos / "pear" / "1.png")
    (photos / "split.json").write_text(json.dumps({"source": "/x", "images": ["1.png"]}))
    _nearest_record.cache_clear()
    assert origin(photos / "pear" / "1.png") == str(photos / "pear" / "1.png")


def test_records_that_lead_to_each_other_come_to_an_end(photos):
    for here, there in (("apple", "pear"), ("pear", "apple")):
        record = {"source": str(photos / there), "images": {"train": 6}}
        (photos / here / "split.json").write_text(json.dumps(record))
    assert origin(photos / "apple" / "1.png").startswith(str(photos))


def test_names_that_cannot_be_printed_are_spelt_out(tmp_path):
    assert origin(tmp_path / "caf\udce9" / "a.png") == f"{tmp_path}/caf\\xe9/a.png"


def test_every_message_of_a_broken_picture_names_the_users_file(
    photos, tmp_path, make_spec, cache_dir
):
    path = broken(photos)
    parts = split_folder(photos, cache_dir / "splits", seed=3)
    part = next(
        n
        for n in ("train", "reference", "query", "test_query")
        if (tmp_path / parts[n] / "pear/3.png").exists()
    )
    with pytest.raises(ImageError, match=f"^{path}: not a readable"):
        open_cache(scan_folder(parts[part]), SMALL)
    wanted = {name: parts[name] for name in ("train", "reference", "query")} | {
        "query": parts[part]
    }
    with pytest.raises(ImageError, match=f"{path}: not a readable"):
        inspect_data(make_spec(wanted["train"], wanted["reference"], wanted["query"]))
    found = diagnose({"images": parts[part]})["findings"]
    unreadable = next(f for f in found if f["kind"] == "unreadable")
    assert unreadable["paths"] == [str(path)]
    assert f" {path}: " in unreadable["message"]
    assert not [f for f in found if str(cache_dir) in json.dumps(f)]


def test_findings_of_a_whole_split_name_folders_of_the_user(photos, make_spec, cache_dir):
    for number in range(8):
        shutil.copy(photos / "apple" / f"{number}.png", photos / "pear" / f"copy_{number}.png")
    Image.new("RGB", (3, 3)).save(photos / "apple" / "tiny.png")
    parts = split_folder(photos, cache_dir / "splits", seed=3)
    sources = {name: parts[name] for name in ("train", "reference", "query")}
    told = [*diagnose(sources)["findings"], *inspect_data(make_spec(*sources.values()))["findings"]]
    assert {"duplicate_conflict", "conflicting_labels"} <= {f["kind"] for f in told}
    assert str(cache_dir) not in json.dumps(told)
    assert f"{photos}/pear/copy_" in json.dumps(told)


def test_classes_that_do_not_match_are_told_of_the_archives(
    archive, make_folder, make_spec, cache_dir
):
    gallery = make_folder("gallery", {"quince": 2, "cherry": 2})
    with pytest.raises(DataError) as caught:
        inspect_data(make_spec(archive, gallery, archive))
    assert f"{archive}/photos: no class in common with the reference {gallery}" in str(caught.value)
    assert str(cache_dir) not in str(caught.value)


def test_files_are_looked_up_by_their_folders_alone(photos, tmp_path):
    parts = split_folder(photos, tmp_path / "out", seed=3)
    folder = scan_folder(parts["train"])
    _nearest_record.cache_clear()
    for relative in folder.paths:
        assert origin(folder.root / relative) == f"{photos}/{relative}"
    kept = _nearest_record.cache_info()
    above = {above for path in (folder.root / "apple" / "x", photos / "apple" / "x")
             for above in path.parents}  # fmt: skip
    assert kept.currsize <= len(above) + 2  # the two folders of the other class
    assert kept.maxsize > 30_000  # three splits of 10,000 classes
    assert origin(folder.root) == str(photos)
    assert origin(tmp_path / "out") == str(tmp_path / "out")
    assert origin(tmp_path / ("n" * 300)) == str(tmp_path / ("n" * 300))
    assert origin("a.png") == "a.png"


def test_a_place_that_becomes_a_record_is_known_by_it(photos, tmp_path):
    target = tmp_path / "later"
    assert origin(target) == str(target)
    shutil.copytree(photos, target)
    (target / "staging.json").write_text(json.dumps({"source": "/x.zip", "files": 1}))
    assert origin(target / "apple" / "1.png") == "/x.zip/1.png"
