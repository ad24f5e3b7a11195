import json
import os
from pathlib import Path

import pytest

from hpo.automl.artifacts import tables_in_folder, values_in_folder
from hpo.run.checkpoints import list_checkpoints
from hpo.run.plain_files import (
    is_folder,
    json_objects,
    read_object,
    read_printed,
    walk_files,
    write_json,
)


def test_plain_data_come_back_and_other_values_as_text(tmp_path):
    data = {"n": [1, 2.5, None], "text": "\u00e9"}
    write_json(tmp_path / "a" / "b.json", {**data, "path": Path("/x")})
    text = (tmp_path / "a" / "b.json").read_text(encoding="utf-8")
    assert text.endswith("}\n")
    assert json.loads(text) == {**data, "path": "/x"}
    assert read_object(tmp_path / "a" / "b.json") == {**data, "path": "/x"}


@pytest.mark.parametrize("text", [None, "", '{"half": ', "[1]", "3"])
def test_what_is_no_object_reads_as_empty(tmp_path, text):
    if text is not None:
        (tmp_path / "a.json").write_text(text)
    assert read_object(tmp_path / "a.json") == {}


def test_what_was_printed_is_read_as_far_as_it_can_be(tmp_path):
    (tmp_path / "log").write_bytes(b"caf\xe9\n")
    assert read_printed(tmp_path / "log") == "caf\ufffd\n"
    os.mkfifo(tmp_path / "pipe")
    for name in ("none", "pipe", "."):
        assert read_printed(tmp_path / name) == ""


def test_objects_are_read_line_by_line_and_other_lines_passed_over():
    text = '{"epoch": 1}\nwords\n[2]\n\n{"epoch": 2}\n' + "[" * 100_000 + '\n{"half": '
    assert list(json_objects(text)) == [{"epoch": 1}, {"epoch": 2}]


@pytest.mark.parametrize(
    ("read", "found"),
    [
        (walk_files, ["a/epoch_1.pth", "a/metrics.json"]),
        (list_checkpoints, ["a/epoch_1.pth"]),
        (tables_in_folder, {"acc": 0.5}),
        (lambda folder: values_in_folder(folder, ["acc"]), {"acc": 0.5}),
    ],
)
def test_a_folder_that_vanishes_while_it_is_walked_is_passed_over(
    tmp_path, monkeypatch, read, found
):
    """A trainer rotates its checkpoints meanwhile; before, that ended a whole search."""
    for place in (tmp_path / "a", tmp_path / "b/c"):
        place.mkdir(parents=True)
        (place / "metrics.json").write_text('{"acc": 0.5}')
        (place / "epoch_1.pth").touch()
    look = os.scandir

    def vanish(place):
        if str(place) == str(tmp_path / "b"):
            Path(place).rename(tmp_path.parent / f"{tmp_path.name}-gone")
        return look(place)

    monkeypatch.setattr(os, "scandir", vanish)
    told = read(tmp_path)
    names = told if isinstance(told, dict) else [str(p.relative_to(tmp_path)) for p in told]
    assert names == found


def test_a_place_that_cannot_be_looked_at_is_no_folder(tmp_path):
    assert is_folder(tmp_path)
    assert not is_folder(tmp_path / ("x" * 300))
    assert walk_files(tmp_path / "none") == []
