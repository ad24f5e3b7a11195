import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer.data import demo
from trainer.data.demo import make_demo_data
from trainer.data.folder import scan_folder

NAMES = ["train", "reference", "query", "test_reference", "test_query"]


@pytest.fixture(scope="module")
def sources(drawn):
    return make_demo_data(drawn / "demo" / "seed-0", 0)


def digest(folder):
    content = hashlib.blake2b()
    for path in sorted(Path(folder).rglob("*.jpg")):
        content.update(path.name.encode() + path.read_bytes())
    return content.hexdigest()


def test_known_and_unknown_classes_are_laid_out_as_folders(sources):
    assert list(sources) == NAMES
    folders = {name: scan_folder(path) for name, path in sources.items()}
    assert folders["train"].classes == folders["reference"].classes == folders["query"].classes
    assert folders["test_reference"].classes == folders["test_query"].classes
    assert len(folders["train"].classes) == 28
    assert len(folders["test_query"].classes) == 12
    assert not set(folders["train"].classes) & set(folders["test_query"].classes)
    assert 600 <= len(folders["train"].paths) <= 900
    assert all(len(set(folder.counts())) == 1 for folder in folders.values())


def test_no_picture_is_in_two_places(sources):
    contents = [
        path.read_bytes() for folder in sources.values() for path in Path(folder).rglob("*.jpg")
    ]
    assert len(contents) == len(set(contents))


def test_pictures_are_small_and_in_colour(sources):
    for path in list(Path(sources["train"]).rglob("*.jpg"))[::100]:
        with Image.open(path) as image:
            assert image.size == (96, 96)
            assert image.mode == "RGB"
            assert np.asarray(image).std() > 10


def test_a_second_call_draws_nothing(sources, monkeypatch):
    def refuse(*_):
        raise AssertionError

    monkeypatch.setattr(demo, "take_view", refuse)
    assert make_demo_data(Path(sources["train"]).parent.parent, 0) == sources


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(demo, "_NUM_KNOWN_BRANDS", 1)
    monkeypatch.setattr(demo, "_NUM_UNKNOWN_BRANDS", 1)
    parts = tuple(
        demo._Part(name=part.name, is_known=part.is_known, views=2) for part in demo._PARTS
    )
    monkeypatch.setattr(demo, "_PARTS", parts)


@pytest.mark.usefixtures("small")
def test_pictures_depend_on_the_seed_alone(tmp_path, monkeypatch):
    first = digest(make_demo_data(tmp_path / "a", 1)["train"])
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    assert digest(make_demo_data(tmp_path / "b", 1)["train"]) == first
    assert digest(make_demo_data(tmp_path / "c", 2)["train"]) != first


@pytest.mark.usefixtures("small")
def test_an_interrupted_drawing_is_begun_anew(tmp_path, monkeypatch):
    plain = demo.take_view
    monkeypatch.setattr(demo, "take_view", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make_demo_data(tmp_path, 1)
    monkeypatch.setattr(demo, "take_view", plain)
    assert scan_folder(make_demo_data(tmp_path, 1)["train"]).counts().tolist() == [2] * 4
