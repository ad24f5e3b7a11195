import json
import os
from pathlib import Path

import pytest

from hpo.run.plain_files import json_objects, read_object, read_printed, write_json


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
