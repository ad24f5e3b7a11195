"""Addresses (`s3://...`) reach the trainer as they were given, wherever they are given."""

import argparse
import io
from pathlib import Path

import fsspec
import pytest
from PIL import Image

from hpo.cli import search
from hpo.cli.predict import split_words
from hpo.cli.study_flags import study_from_args
from hpo.core.errors import SpecError
from hpo.core.spec_dicts import relocated
from hpo.study.arguments import study_of_arguments
from hpo.study.plan import build_base_spec, resolve_sources
from hpo.study.spec import StudySpec, load_given_study
from trainer.session import TRAINER

BUCKET = "memory://shop"
SPLITS = ("train", "reference", "query", "test_reference", "test_query")


@pytest.fixture(autouse=True)
def store(monkeypatch, tmp_path):
    """Two classes of ten pictures in a store that lives in this process."""
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    shop = fsspec.filesystem("memory")
    for number in range(20):
        stream = io.BytesIO()
        Image.new("RGB", (8, 8), (number, 9 * number, 90)).save(stream, "PNG")
        shop.pipe(f"/shop/all/{'ab'[number % 2]}/{number}.png", stream.getvalue())
    yield shop
    shop.rm("/shop", recursive=True)


def from_flags(place):
    parser = argparse.ArgumentParser()
    search.add_arguments(parser)
    return study_from_args(parser.parse_args(["--data", place]))


def from_file(place):
    Path("s.yaml").write_text(f"schema_version: 1\ndata: {{folder: '{place}'}}\n")
    return load_given_study(Path("s.yaml"))


def from_python(place):
    return study_of_arguments(None, place, *[None] * 4)


@pytest.mark.parametrize("read", [from_flags, from_file, from_python])
def test_a_folder_in_a_store_is_fetched_and_split(read):
    study = read(f"{BUCKET}/all")
    assert study.data.folder == f"{BUCKET}/all"
    sources = resolve_sources(study, TRAINER)
    assert set(sources) == set(SPLITS)
    files = {path.name for name in sources.values() for path in Path(name).rglob("*.png")}
    assert files == {f"{number}.png" for number in range(20)}


@pytest.mark.parametrize("read", [from_flags, from_file, from_python])
def test_nothing_at_an_address_names_it_as_it_was_given(read):
    from hpo.core.errors import DataError

    with pytest.raises(DataError, match=rf"^{BUCKET}/none: nothing there$"):
        resolve_sources(read(f"{BUCKET}/none"), TRAINER)


@pytest.mark.parametrize("read", [from_flags, from_file, from_python])
def test_an_address_that_has_lost_a_slash_is_no_folder(read):
    with pytest.raises(
        SpecError, match=r"s3:/shop/all: must be an address with two slashes, as s3"
    ):
        resolve_sources(read("s3:/shop/all"), TRAINER)


def split_study(way):
    places = {name: f"{BUCKET}/{name}" for name in SPLITS}
    if way == "flags":
        parser = argparse.ArgumentParser()
        search.add_arguments(parser)
        words = [w for name in SPLITS for w in (f"--{name.replace('_', '-')}", places[name])]
        return study_from_args(parser.parse_args(words))
    if way == "file":
        lines = "".join(f"  {name}: {place}\n" for name, place in places.items())
        Path("s.yaml").write_text(f"schema_version: 1\ndata:\n{lines}")
        return load_given_study(Path("s.yaml"))
    return study_of_arguments(None, places, *[None] * 4)


@pytest.mark.parametrize("way", ["flags", "file", "python"])
def test_splits_in_a_store_stand_in_every_trials_spec_as_they_were_when_the_search_began(
    way, store
):
    for name in SPLITS:
        store.copy("/shop/all", f"/shop/{name}", recursive=True)
    study = split_study(way)
    sources = resolve_sources(study, TRAINER)
    places = [place.partition("#state=") for place in sources.values()]
    assert [address for address, _, _ in places] == [f"{BUCKET}/{name}" for name in SPLITS]
    assert all(state for _, _, state in places)
    spec = build_base_spec(study, TRAINER, sources)["dataset"]
    assert spec["train_dataset"] == sources["train"]
    assert spec["val_dataset"] == {name: sources[name] for name in ("reference", "query")}
    assert study.data.splits == {name: f"{BUCKET}/{name}" for name in SPLITS}
    store.rm("/shop/train/a/0.png")  # a trial that begins later
    assert len(list(TRAINER.stage(spec["train_dataset"]).rglob("*.png"))) == 20


def test_a_study_keeps_addresses_when_it_is_written_and_read():
    study = from_flags(f"{BUCKET}/all")
    assert study.to_dict()["data"]["folder"] == f"{BUCKET}/all"
    assert isinstance(study, StudySpec)


def test_the_doctor_looks_there():
    from hpo.cli import doctor

    parser = argparse.ArgumentParser()
    doctor.add_arguments(parser)
    data = doctor.study_from(parser.parse_args(["--data", f"{BUCKET}/all"])).data
    assert (data.folder, data.splits, data.group_by) == (f"{BUCKET}/all", {}, "")
    found = TRAINER.diagnose_data({"images": data.folder}, None)
    assert found["splits"]["images"]["images"] == 20


def test_predict_takes_an_address_for_pictures(tmp_path):
    assert split_words([f"{BUCKET}/all"], tmp_path) == (None, [f"{BUCKET}/all"])
    assert split_words(["shelf", f"{BUCKET}/all"], tmp_path) == ("shelf", [f"{BUCKET}/all"])
    assert len(TRAINER.find_pictures([f"{BUCKET}/all"])["pictures"]) == 20


def test_pictures_that_have_moved_into_a_store():
    spec = {"dataset": {"train_dataset": "/disk/all", "other": "/disk/all2"}}
    moved = relocated(spec, "/disk/all", "s3://shop/all")
    assert moved == {"dataset": {"train_dataset": "s3://shop/all", "other": "/disk/all2"}}
    assert relocated(moved, "s3://shop/all", "/disk/all") == spec
