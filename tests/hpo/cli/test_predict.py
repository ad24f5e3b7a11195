import json
import os

import numpy as np
import pytest
from PIL import Image

from hpo.cli.predict import split_words


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.jpg"
    path.touch()
    return path


def test_labels_of_a_picture(hpo, first, photo):
    code, out, err = hpo("predict", "first", "photo.jpg", photo)
    assert code == 0
    assert out == f"photo.jpg: a (0.000)\n{photo}: a (0.000)\n"
    assert "greets you" in err


def test_the_same_for_programs(hpo, first, photo):
    code, out, _ = hpo("predict", first, "photo.jpg", "--topk", 3, "--json")
    assert code == 0
    assert json.loads(out) == [{"image": "photo.jpg", "labels": ["a"], "distances": [0.0]}]


def test_the_newest_run_needs_no_name(hpo, runs, second, photo):
    assert hpo("export")[0] == 0
    assert hpo("predict", "photo.jpg")[1] == "photo.jpg: a (0.000)\n"
    assert hpo("predict", ".", "photo.jpg")[1] == "photo.jpg: a (0.000)\n"


def test_lists_and_patterns_are_no_runs_unless_a_run_is_called_so(runs):
    assert split_words(["@more.txt"], runs) == (None, ["@more.txt"])
    assert split_words(["shelf/*.jpg", "b.jpg"], runs) == (None, ["shelf/*.jpg", "b.jpg"])
    assert split_words(["first", "@more.txt"], runs) == ("first", ["@more.txt"])
    assert split_words(["x" * 300, "b.jpg"], runs) == ("x" * 300, ["b.jpg"])
    for old, new in (("first", "@home"), ("second", "shelf[1]")):
        (runs / old).rename(runs / new)
        assert split_words([new, "b.jpg"], runs) == (new, ["b.jpg"])


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("first", "none.jpg"), "none.jpg: no such picture"),
        (("first",), "first: no such picture; name one to label"),
        (("first", "photo.jpg", "--topk", 0), "--topk: must be at least 1, got 0"),
        (("second", "photo.jpg"), "has no exported model yet; finish the search, or `hpo export "),
        (("third", "photo.jpg"), "no run 'third'"),
    ],
)
def test_what_cannot_be_labelled(fails, runs, photo, argv, said):
    assert said in fails("predict", *argv)


def test_a_list_without_its_sign_is_told_how_it_is_named(fails, runs, tmp_path):
    file = tmp_path / "my photos.CSV"
    file.write_text("path\na.png\n")
    said = fails("predict", file)
    assert said == f"hpo predict: {file}: is a list of pictures; name it as '@{file}'"


@pytest.mark.parametrize(
    ("flag", "name"), [("--out", "l.csv"), ("--out", "l"), ("--sheet", "l.html")]
)
def test_a_file_of_labels_replaces_only_one_of_labels(hpo, fails, first, photo, flag, name):
    (photo.parent / name).touch()
    for _ in range(2):
        assert hpo("predict", first, "photo.jpg", flag, name)[0] == 0
    (photo.parent / name).write_text("image,label\na.jpg,4711\n")
    said = f"{flag}: must not replace what is there, and {name} was not written by this"
    assert said in fails("predict", first, "photo.jpg", flag, name)


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1"])
@pytest.mark.parametrize(("flag", "head"), [("--out", "image,label,"), ("--sheet", "<!doctype")])
def test_files_may_go_to_standard_output(hpo, first, photo, tmp_path, name, flag, head):
    before = sorted(tmp_path.iterdir())
    code, out, err = hpo("predict", first, "photo.jpg", flag, name)
    assert (code, out[: len(head)], "photo.jpg" in out) == (0, head, True)
    assert head not in err
    assert "written /dev/stdout: 1 picture" in err
    assert sorted(tmp_path.iterdir()) == before


def test_a_pipe_is_written_as_it_is(hpo, first, photo):
    reading, writing = os.pipe()
    assert hpo("predict", first, "photo.jpg", "--out", f"/dev/fd/{writing}")[0] == 0
    os.close(writing)
    with os.fdopen(reading) as stream:
        assert stream.read().startswith("image,label,")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--out", "-", "--json"), "--json: is printed on standard output, too; name a file"),
        (("--out", "-", "--sheet", "/dev/stdout"), "--sheet: must be another file than --out"),
    ],
)
def test_standard_output_holds_one_thing(fails, first, photo, argv, said):
    assert said in fails("predict", first, "photo.jpg", *argv)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("@shelf.csv", "--out", "./shelf.csv"), "--out: must not be what is to be labelled, got"),
        (
            ("@shelf.csv", "--sheet", "odd"),
            "--sheet: must not replace what is there, and odd was not written by",
        ),
        (("a.jpg", "--out", "odd"), "--out: must not replace what is there, and odd was not"),
        (("a.jpg", "--out", "l", "--sheet", "./l"), "--sheet: must be another file than --out"),
    ],
)
def test_nothing_is_written_over_what_is_labelled(fails, first, tmp_path, argv, said):
    (tmp_path / "shelf.csv").write_text(labels := "image,label,error\na.jpg,4711,\n")
    (tmp_path / "odd").write_text("kept")
    (tmp_path / "a.jpg").touch()
    assert said in fails("predict", "first", "@odd", "odd", *argv)
    assert (tmp_path / "shelf.csv").read_text() == labels
    assert (tmp_path / "odd").read_text() == "kept"


def test_what_unknown_costs_is_told_and_holds(hpo, run, calibrated, tmp_path):
    """The share of known pictures that become unknown is counted by labelling the queries."""
    shots = tmp_path / "shots"
    shots.mkdir()
    for number, hue in enumerate(calibrated):
        for more in (2, 4, 6):
            color = tuple(int(channel) + more for channel in hue)
            Image.new("RGB", (16, 16), color).save(shots / f"{number}-{more}.png")
    Image.new("RGB", (16, 16), (255, 255, 255)).save(shots / "white.png")
    code, out, err = hpo(
        "predict", run.path, "shots", "--unknown-at", "0.1", "--out", "l.csv", "--sheet", "s.html"
    )
    assert (code, out) == (0, "")
    labels = [line.split(",") for line in (tmp_path / "l.csv").read_text().splitlines()[1:]]
    unknown = sum("unknown" in row for row in labels)
    assert len(labels) == 25
    assert f"about {(unknown - 1) / 24:.0%} of pictures of known classes become unknown" in err
    assert f"{unknown} of 25 are unknown\nwritten l.csv and s.html: 25 pictures\n" in err


def test_a_far_picture_is_unknown_also_where_the_nearest_class_is_called_so(hpo, run, calibrated):
    file = run.best_dir / "gallery.npz"
    with np.load(file) as arrays:
        kept = dict(arrays)
    np.savez(file, **kept | {"class_names": [f"hue{i}" if i != 2 else "unknown" for i in range(8)]})
    Image.new("RGB", (16, 16), (255, 255, 255)).save("far.png")
    Image.new("RGB", (16, 16), tuple(map(int, calibrated[2]))).save("fits.png")
    words = ("predict", run.path, "far.png", "fits.png", "--topk", 1)
    rows = json.loads(hpo(*words, "--unknown-at", "0.1", "--json")[1])
    assert [(row["labels"], row["unknown"]) for row in rows] == [
        (["unknown"], True),
        (["unknown"], False),
    ]
    _, out, err = hpo(*words, "--unknown-at", "0.1")
    assert out.startswith("far.png: unknown, nearest unknown (")
    assert "\nfits.png: unknown (0.000)\n" in out
    assert "1 of 2 are unknown" in err
    assert "unknown" not in json.loads(hpo(*words, "--json")[1])[0]
    np.savez(file, **kept | {"class_names": [f"hue{i}\x1b]0;mine\x07" for i in range(8)]})
    assert hpo(*words)[1].splitlines()[1] == "fits.png: hue2\\x1b]0;mine\\x07 (0.000)"
