import math
from pathlib import Path

import pytest
import yaml

from hpo.core.errors import SpecError
from hpo.core.yaml_io import (
    DEEPEST,
    LARGEST_FILE,
    MOST_VALUES,
    as_written,
    parse_texts,
    parse_word,
    parse_yaml,
    read_yaml,
    to_yaml,
)


def test_a_key_that_stands_twice_is_refused_at_any_depth():
    for text in ("a: 1\na: 2\n", "x:\n  a: 1\n  a: 1\n", "[{a: 1, a: 2}]", "1: a\n1: b"):
        with pytest.raises(SpecError, match=r"file \(line \d\).*is given twice; keep one of them"):
            parse_yaml(text, "file")


def test_equal_keys_of_different_sections_and_merged_ones_are_fine():
    assert parse_yaml("a: {k: 1}\nb: {k: 2}", "file") == {"a": {"k": 1}, "b": {"k": 2}}
    merged = parse_yaml("a: &a {k: 1, l: 1}\nb: {<<: *a, k: 2}", "file")
    assert merged["b"] == {"k": 2, "l": 1}


def test_nesting_is_taken_to_a_depth_and_refused_beyond_without_touching_the_stack():
    assert parse_yaml("[" * DEEPEST + "]" * DEEPEST, "file")
    for depth in (DEEPEST + 1, 300_000):  # the C parser alone would end the process here
        with pytest.raises(SpecError, match=f"at most {DEEPEST} levels deep"):
            parse_yaml("[" * depth + "]" * depth, "file")


@pytest.mark.parametrize(("first", "level"), [("x", "[{}]"), ("{{k: 1}}", "{{<<: [{}]}}")])
def test_aliases_are_counted_as_often_as_they_are_used(first, level):
    per_level, levels = 10, 9
    laughs = f"a: &a0 {first.format()}\n" + "".join(
        f"b{n}: &a{n} {level.format(', '.join([f'*a{n - 1}'] * per_level))}\n"
        for n in range(1, levels + 1)
    )
    assert per_level**levels > MOST_VALUES
    with pytest.raises(SpecError, match="once its aliases"):
        parse_yaml(laughs, "file")
    assert parse_yaml("a: &a [1, 2]\nb: [*a, *a]", "file")["b"] == [[1, 2], [1, 2]]


@pytest.mark.parametrize("text", ["a: &a [*a]", "a: &a {<<: *a}"])
def test_an_alias_within_itself_is_refused(text):
    with pytest.raises(SpecError, match="once its aliases"):
        parse_yaml(text, "file")


@pytest.mark.parametrize(
    "text", ["010", "-007", "1_0:30", "1:30", "190:20:30.5", "2026-01-31", "2020-13-45", "="]
)
@pytest.mark.parametrize("above", ["{}", "[{}]", "a: {{b: {}}}"])
def test_what_nobody_writes_for_a_number_is_text_at_any_depth(text, above):
    """YAML 1.1 reads 010 as 8, 1:30 as 90 and the rest as dates."""
    wanted = parse_yaml(above.format(f"'{text}'"), "file")
    assert parse_yaml(above.format(text), "file") == wanted
    for reader in (lambda kept: parse_yaml(kept, "file"), yaml.safe_load):  # other programs too
        assert reader(to_yaml(wanted)) == wanted


@pytest.mark.parametrize(
    "text",
    ["1e-4", "-.5", "+.5", "1_0e5", "1_2.5e3", "2024_1e2", "010", "0b1_", "1:30", ".inf", "a"],
)
@pytest.mark.parametrize("end", ["", "\udce9"])
def test_text_that_looks_like_a_number_is_text_again(text, end):
    values = {"a": text, "b": [text], "c": end}
    assert parse_yaml(to_yaml(values), "x") == values


def test_numbers_are_read_as_they_are_written():
    written = {"0": 0, "-5": -5, "+12": 12, "1_000": 1000, "0x1F": 31, "0b11": 3}
    written |= {"1e-3": 0.001, "2E4": 2e4, "09.5": 9.5, "-.5": -0.5, "7.": 7.0, "-.inf": -math.inf}
    for text, value in written.items():
        got = parse_yaml(text, "file")
        assert (got, type(got)) == (value, type(value))


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system [ls]", "!!python/name:os.system", "!shop x"]
)
def test_tags_that_build_objects_are_refused_by_name(tag):
    with pytest.raises(SpecError, match=f"the tag {tag.split()[0]} is refused"):
        parse_yaml(f"a: {tag}", "file")


def test_control_characters_are_named():
    with pytest.raises(SpecError, match="control character #x0007"):
        parse_yaml('a: "\x07"', "file")


def test_a_file_that_is_much_too_large_is_not_read(tmp_path):
    path = tmp_path / "large.yaml"
    with path.open("wb") as file:
        file.truncate(LARGEST_FILE + 1)
    with pytest.raises(SpecError, match="large.yaml: must have at most 16 MB"):
        read_yaml(path)


def test_devices_are_not_read():
    with pytest.raises(SpecError, match="/dev/zero: must be a file, and is a pipe or device"):
        read_yaml(Path("/dev/zero"))


def test_texts_are_as_they_are_written():
    text = "a: 001\nyes: [1e3, null, ~, 2024-01-01, 'x', {b: 0x1F}]\n? 12:30:00\n: \n"
    assert parse_texts(text, "x") == {
        "a": "001",
        "yes": ["1e3", "null", "~", "2024-01-01", "x", {"b": "0x1F"}],
        "12:30:00": "",
    }
    with pytest.raises(SpecError, match="is given twice"):
        parse_texts("1: a\n1: b\n", "x")


def test_names_are_taken_as_written_and_nothing_stays_nothing():
    text = "[001, yes, null, word, [1e3, 2], {a: 1}]"
    data = as_written(parse_yaml(text, "x"), parse_texts(text, "x"))
    assert data == ["001", "yes", None, "word", ["1e3", "2"], {"a": 1}]


def test_paths_of_any_bytes_are_written_and_read_again():
    path = "/srv/caf\udce9 é\n梨"
    text = to_yaml({"data": path, "lr": 1e-4, "word": "1e-4"})
    text.encode()  # a file takes it
    assert parse_yaml(text, "x") == {"data": path, "lr": 1e-4, "word": "1e-4"}
    assert parse_texts(text, "x")["data"] == path
    with pytest.raises(SpecError, match="is given twice"):
        parse_yaml(text + "data: 1\n", "x")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null # none", None),
        ("~  # none", None),
        ("null#1", "null#1"),
        ("# null", "# null"),
        ("nullable # a word", "nullable # a word"),
        ("3 # three", 3),
    ],
)
def test_a_word_is_text_whole_or_what_yaml_has_for_it(text, value):
    assert parse_word(text, "x") == value
