import math
from pathlib import Path

import pytest
import yaml

from hpo.core.errors import SpecError
from hpo.core.spec_dicts import (
    flatten,
    lookup,
    merge_into,
    merged,
    nest,
    parse_assignments,
    relocated,
)
from hpo.core.text import nearest
from hpo.core.yaml_io import parse_yaml, read_yaml, to_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E-4", 1e-4),
        ("-2.5e+3", -2500.0),
        (".5e1", 5.0),
        ("3.e2", 300.0),
        ("1_000", 1000),
        ("12", 12),
        ("0.5", 0.5),
        ("true", True),
        ("null", None),
        ("e4", "e4"),
        ("1e", "1e"),
        ("resnet_50", "resnet_50"),
        ("1e-4x", "1e-4x"),
        ("'1e-4'", "1e-4"),
        ("[1e-4, 2]", [1e-4, 2]),
    ],
)
def test_numbers_as_people_write_them(text, value):
    got = parse_yaml(text, "here")
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    "text",
    ["a: [1", "a: b: c", "\tb: 1", "a: !!timestamp 2020-13-45", "? [a]\n: b", "!!python/object:os.system x",
     "a: *missing", "a: !!int x"],
)  # fmt: skip
def test_broken_yaml_is_one_line_with_its_place(text):
    with pytest.raises(SpecError, match=r"^file.yaml.*is not valid YAML: ") as caught:
        parse_yaml(text, "file.yaml")
    assert "\n" not in str(caught.value)


def test_yaml_files_that_cannot_be_read(tmp_path):
    with pytest.raises(SpecError, match="missing.yaml: no such file"):
        read_yaml(tmp_path / "missing.yaml")
    with pytest.raises(SpecError, match="must be a file, and is a folder"):
        read_yaml(tmp_path)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(SpecError, match="binary.yaml: must be text in UTF-8, and byte 1 is not"):
        read_yaml(binary)


def test_written_yaml_reads_back_in_its_order():
    data = {"z": 1e-05, "a": {"b": [1, 2.5, None, True], "c": "text"}, "m": 1e10, "e": "1e-4"}
    text = to_yaml(data)
    assert parse_yaml(text, "x") == data
    assert list(yaml.safe_load(text)) == ["z", "a", "m", "e"]


def test_flatten_and_nest_undo_each_other():
    nested = {"a": {"b": {"c": 1}, "d": [1, {"x": 2}]}, "e": {}, "f": None}
    flat = {"a.b.c": 1, "a.d": [1, {"x": 2}], "e": {}, "f": None}
    assert flatten(nested) == flat
    assert nest(flat) == nested
    assert nest(nested) == nested


def test_dotted_and_nested_keys_mix():
    mixed = {"train.lr": 1, "train": {"margin": 2, "optim.gamma": 3}}
    assert nest(mixed) == {"train": {"lr": 1, "margin": 2, "optim": {"gamma": 3}}}


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        (({"a": 1}, {"a.b": 2}), r"a: is a value \(1\), so nothing can be set below it"),
        (
            ({"a": {"b": {"c": 1}}}, {"a.b": 2}),
            "a.b: is a section of keys, so it cannot be set to 2",
        ),
        (({"a.b": 1, "a.b.c": 2},), r"a.b: is a value \(1\)"),
    ],
)
def test_a_key_cannot_be_value_and_section(layers, said):
    with pytest.raises(SpecError, match=said):
        merged(*layers)


def test_merging_takes_the_last_word_and_leaves_its_sources_alone():
    base, extra = {"a": {"b": 1, "c": [1, 2]}, "d": {}}, {"a": {"b": 2}, "d": 3}
    assert merged(base, {}, extra, {"a.c": []}) == {"a": {"b": 2, "c": []}, "d": 3}
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": {}}
    assert extra == {"a": {"b": 2}, "d": 3}


def test_merge_into_changes_and_returns_its_base():
    base = {"a": {"b": 1}}
    inner = base["a"]
    assert merge_into(base, {"a": {"c": 2}}) is base
    assert base == {"a": {"b": 1, "c": 2}}
    assert inner == {"b": 1}


def test_lookup_by_dotted_name():
    spec = {"a": {"b": None, "c": 0}}
    assert lookup(spec, "a.b") is None
    assert lookup(spec, "a") == {"b": None, "c": 0}
    for name in ("a.x", "a.c.d", "x"):
        with pytest.raises(KeyError):
            lookup(spec, name)


@pytest.mark.parametrize(
    "twice",
    [
        {"train.lr": 0.1, "train": {"lr": 0.2}},
        {"train": {"lr": 0.1}, "train.lr": 0.2},
        {"a": {"train.lr": 0.1, "train": {"lr": 0.2}}},
        {"train": {"lr": 0.1}, "train.lr": None},
    ],
)
def test_a_key_with_two_values_is_refused(twice):
    with pytest.raises(SpecError, match=r"train\.lr: is given twice, as 0\.1 and "):
        nest(twice)


def test_a_key_with_the_same_value_twice_is_taken():
    nan = float("nan")
    assert nest({"train.lr": 0.1, "train": {"lr": 0.1, "b": 2}}) == {"train": {"lr": 0.1, "b": 2}}
    assert math.isnan(nest({"train.lr": nan, "train": {"lr": float("nan")}})["train"]["lr"])


def test_paths_are_text():
    folder = Path("data/train")
    found = nest({"a": {"b": folder, "c": [folder, [folder], 3]}, "d.e": folder})
    text = "data/train"
    assert found == {"a": {"b": text, "c": [text, [text], 3]}, "d": {"e": text}}
    assert isinstance(found["a"]["c"][1][0], str)


def test_an_assignment_made_twice_is_refused():
    assert parse_assignments(["a=1", "a=1", "b=2"]) == {"a": 1, "b": 2}
    with pytest.raises(SpecError, match=r"--fix a\.b: is given twice, as 1 and 2; leave one out"):
        parse_assignments(["a.b=1", "a.b=2"], "--fix")
    with pytest.raises(SpecError, match="--set a: is given twice, as 1 and true"):
        parse_assignments(["a=1", "a=true"])


def test_assignments_keep_their_types():
    assert parse_assignments(["a.b=1e-4", "c=[1, 2]", "d=x=y", " e = off ", "f=", "g='5'"]) == {
        "a.b": 1e-4, "c": [1, 2], "d": "x=y", "e": False, "f": "", "g": "5",
    }  # fmt: skip


@pytest.mark.parametrize("pair", ["a", "=1", "", " =2"])
def test_assignments_need_a_key_and_a_value(pair):
    with pytest.raises(SpecError, match=r"--set: key=value must be given"):
        parse_assignments([pair])


def test_an_assignment_of_an_empty_section_is_refused():
    with pytest.raises(SpecError, match=r"--set m\.a=\{\}: sets nothing; set the keys below m\.a"):
        parse_assignments(["m.a={}"])


def test_bad_yaml_in_an_assignment_names_its_key():
    with pytest.raises(SpecError, match=r"--set a.b.*: is not valid YAML"):
        parse_assignments(["a.b=[1"])


def test_nearest_name():
    known = ["train.optim.lr", "train.num_epochs", "model.backbone"]
    assert nearest("train.num_epoch", known) == "; did you mean 'train.num_epochs'?"
    assert nearest("backbon", known) == "; did you mean 'model.backbone'?"
    assert nearest("qqqq", known) == ""
    assert nearest("x", []) == ""


def test_nan_survives_reading():
    assert math.isnan(parse_yaml(".nan", "x"))


def test_what_nobody_writes_for_a_number_is_a_name():
    words = ["a=001", "b=12:30:00", "c=2024-01-01", "d=0", "e=0.5", "f=-1", "g=10", "h=0x1F"]
    assert parse_assignments(words) == {
        "a": "001",
        "b": "12:30:00",
        "c": "2024-01-01",
        "d": 0,
        "e": 0.5,
        "f": -1,
        "g": 10,
        "h": 31,
    }


def test_what_a_moved_run_says_of_itself():
    said = {
        "run_dir": "/a/run", "best": {"onnx": "/a/run/best/model.onnx", "trial": 3, "gallery": None},
        "next": ["hpo ui /a/run", "cp /a/run-2/x k=/a/run/y", "/b/a/run"],
    }  # fmt: skip
    assert relocated(said, Path("/a/run"), Path("/new\\1")) == {
        "run_dir": "/new\\1",
        "best": {"onnx": "/new\\1/best/model.onnx", "trial": 3, "gallery": None},
        "next": ["hpo ui /new\\1", "cp /a/run-2/x k=/new\\1/y", "/b/a/run"],
    }
