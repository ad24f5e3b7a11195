import json

import pytest


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


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("first", "none.jpg"), "none.jpg: no such picture"),
        (("first",), "first: no such picture; name one to label"),
        (("first", "photo.jpg", "--topk", 0), "--topk: must be at least 1, got 0"),
        (("second", "photo.jpg"), "has no exported model yet; finish the search or run `hpo ex"),
        (("third", "photo.jpg"), "no run 'third'"),
    ],
)
def test_what_cannot_be_labelled(fails, runs, photo, argv, said):
    assert said in fails("predict", *argv)
