"""Broken pictures are named as their user knows them, and in words that say what is wrong with the file."""

import json
import shutil
import struct
import tarfile
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.bad_input.judging import Case
from tests.bad_input.shelf import take_model, take_pictures, take_run
from tests.trainer.deep_files import fax_with_bad_codes, png, png_chunk, ramp, tiff
from trainer.gallery import GalleryIndex
from trainer.vectors import Vectors

SEARCH = (
    "hpo search {} --weights lite0 --in-process --budget 1 --search-over train.optim.trunk.base_lr"
)
SPLITS = "--train {} --reference gallery --query val"
FOLDERS = SPLITS.format("train")


def case(name, content, *says, file="03.png", sources=FOLDERS, pack=None):
    """Sound pictures, of which one is replaced, packed where that is asked."""

    def make(desk):
        take_pictures(desk)
        (desk / "train/class_01/03.png").unlink()
        (desk / "train/class_01" / file).write_bytes(content)
        if pack is not None:
            pack(desk)

    return Case(
        name=name, words=SEARCH.format(sources), make=make, says=(f"class_01/{file}", *says)
    )


def tar(desk):
    with tarfile.open(desk / "shop.tar.gz", "w:gz") as packed:
        packed.add(desk / "train", "all/of/it")


def zipped(desk):
    with zipfile.ZipFile(desk / "shop.zip", "w") as packed:
        for path in (desk / "train").rglob("*.png"):
            packed.write(path, path.relative_to(desk).as_posix())


def cut_fax():
    page = fax_with_bad_codes(Image.fromarray(ramp(80, 80, 1, 255, np.uint8)[..., 0]))
    return page[:200]


def gif_of(width, height):
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", width, height, 0x80, 0, 0)
        + bytes(6)
        + b",\0\0\0\0"
        + struct.pack("<HH", width, height)
        + b"\0\x02\x02\x44\x01\0;"
    )


def bad_sum():
    data = bytearray(tiff(ramp(32, 32, 3, 255, np.uint8), packed=True))
    data[-2] ^= 0x55
    return bytes(data)


CASES = [
    case("one folder", b"", "/desk/train/class_01/03.png", "empty", sources="--data train"),
    case("an archive", b"", "/desk/shop.tar.gz/all/of/it/class_01/03.png", sources=SPLITS.format("shop.tar.gz"), pack=tar),
    case("one archive", b"x", "/desk/shop.zip/train/class_01/03.png", sources="--data shop.zip", pack=zipped),
    case("held-out queries", b"x", "/desk/train/class_01/03.png", sources=SPLITS.format("val") + " --test-query train"),
    case("a TIFF of 64-bit floats", tiff(ramp(9, 9, 1, 1.0, np.float64)), "TIFF", "8 bits a channel", file="03.tif"),
    case("a TIFF of two deep channels", tiff(ramp(9, 9, 2, 9.0, np.uint16)), "TIFF", file="03.tif"),
    case("a TIFF with a bad sum", bad_sum(), "damaged", file="03.tif"),
    case("half a fax", cut_fax(), file="03.tif"),
    case("a deep png cut", png(ramp(32, 32, 1, 65535, np.uint16))[:900], "cut off"),
    case("a png with a text bomb", png(ramp(9, 9, 3, 255, np.uint8), extra=png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(5_000_000)))), "more than a megabyte"),
    case("a gif of 4e9 pixels", gif_of(65_500, 65_500), "65500 x 65500 pixels take 4.3 GB once decoded", file="03.gif"),
    case("a webp cut", b"RIFF\x24\0\0\0WEBPVP8 \x18\0\0\0", file="03.webp"),
]  # fmt: skip


@pytest.mark.parametrize("spoilt", CASES, ids=lambda spoilt: spoilt.name)
def test_a_broken_picture_is_one_line_that_names_it_as_its_user_does(spoilt, answered, tmp_path):
    line = answered(spoilt)
    assert str(tmp_path / "cache") not in line
    assert not list(tmp_path.glob("desk/runs/*/*"))


def gallery_model(desk):
    """A finished run whose model is the mean colour of a picture, and pictures to ask about."""
    run = take_run(desk)
    model = run / "best"
    shutil.copy(take_model(desk / "made") / "model.onnx", model / "model.onnx")
    import onnx

    proto = onnx.load(str(model / "model.onnx"))
    facts = {"input_height": 32, "input_width": 32, "pixel_mean": [0.0], "pixel_std": [1.0]}
    for name, value in facts.items():
        proto.metadata_props.add(key=name, value=json.dumps(value))
    onnx.save(proto, str(model / "model.onnx"))
    emb = np.eye(3, dtype=np.float32)
    GalleryIndex(
        vectors=Vectors.of(emb),
        labels_G=np.arange(3),
        class_names=("red", "lime", "blue"),
        paths=("a", "b", "c"),
    ).save(model / "gallery.npz")
    study = run / "study.yaml"
    study.write_text(study.read_text().replace("tests.quick_trainer:TRAINER", "ml_recog"))
    (desk / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    (desk / "empty").mkdir()
    (desk / "texts").mkdir()
    (desk / "texts" / "a.txt").touch()
    (desk / "bad.zip").write_bytes(b"PK\x03\x04")
    return run


ASKED = [
    ("hpo predict broken.jpg", "broken.jpg"),
    ("hpo predict gone.jpg", "gone.jpg"),
    ("hpo predict quick gone.jpg", "gone.jpg", "no such picture"),
    ("hpo predict quick empty", "empty", "no picture"),
    ("hpo predict empty", "empty", "no picture"),
    ("hpo predict texts", "no picture"),
    ("hpo predict bad.zip", "bad.zip"),
    ("hpo predict made/query --topk 4", "topk: must be at most the 3"),
    ("hpo gallery --remove redd", "redd", "did you mean red?"),
    ("hpo gallery --remove x\ny", "no such class"),
    ("hpo gallery --remove", "--remove"),
    ("hpo gallery --remove red --remove lime --remove blue", "must keep a class"),
    ("hpo gallery --add empty", "empty"),
    ("hpo gallery --add broken.jpg", "broken.jpg"),
]


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: asked[0])
def test_pictures_to_label_and_classes_that_are_none_are_one_line(asked, answered):
    words, *says = asked
    answered(Case(name=words, words=tuple(words.split(" ")), make=gallery_model, says=tuple(says)))
