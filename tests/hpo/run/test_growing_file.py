"""What is read of a file that grows, against reading all of it, and how many bytes that takes."""

import os
import random

import pytest

from hpo.run.growing_file import GrowingFile
from tests.count_reads import bytes_read

LINES = ["plain", "", "caf\u00e9 \U0001f600", "one\rtwo", "x" * 5000, '{"a": 1}']


@pytest.mark.parametrize("seed", range(5))
def test_parts_of_a_file_that_grows_are_the_whole_of_it(tmp_path, seed):
    """It is cut anywhere, within lines and characters, too."""
    rng, path = random.Random(seed), tmp_path / "status.json"
    content = "\n".join(rng.choice(LINES) for _ in range(60)).encode() + b"\n\xff\n\xe2\n"
    cuts = sorted(rng.sample(range(len(content)), 25))
    file, found = GrowingFile(path), []
    assert list(file.new_lines()) == []
    for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True):
        with path.open("ab") as stream:
            stream.write(content[start:end])
        found += file.new_lines()
        whole, newline, rest = content[:end].decode(errors="replace").rpartition("\n")
        assert found == (whole + newline).splitlines()
        assert file.rest == rest
    assert list(file.new_lines()) == []


def test_only_what_is_new_is_read_of_a_long_file(tmp_path):
    path = tmp_path / "status.json"
    path.write_text("a line of fifty letters, more or less, of a trainer\n" * 200_000)
    file = GrowingFile(path)
    assert bytes_read(lambda: list(file.new_lines())) > 10_000_000
    found = []
    for number in range(20):
        with path.open("a") as stream:
            stream.write(f"line {number}\n")
        assert bytes_read(lambda: found.extend(file.new_lines())) < 100_000
        assert bytes_read(lambda: found.extend(file.new_lines())) < 2_000  # nothing is new
    assert found == [f"line {number}" for number in range(20)]


@pytest.mark.parametrize("again", ["new\n", "new\nold 1\nold 2\n", "newer\n" * 2000])
def test_a_file_that_is_written_anew_is_read_from_its_start(tmp_path, again):
    path = tmp_path / "status.json"
    path.write_text("old 1\nold 2\n")
    file = GrowingFile(path)
    assert list(file.new_lines()) == ["old 1", "old 2"]
    assert not file.begins_anew()
    path.write_text(again)
    assert file.begins_anew()
    assert list(file.new_lines()) == again.splitlines()
    assert not file.begins_anew()


def test_one_that_is_gone_and_comes_again(tmp_path):
    path = tmp_path / "status.json"
    path.write_text("first\n")
    file = GrowingFile(path)
    assert list(file.new_lines()) == ["first"]
    path.unlink()
    assert list(file.new_lines()) == []
    path.write_text("another\n")
    assert list(file.new_lines()) == ["another"]


def test_what_was_there_before_can_be_skipped(tmp_path):
    path = tmp_path / "status.json"
    file = GrowingFile(path)
    file.skip()  # nothing is there
    path.write_text("old\nhalf")
    file = GrowingFile(path)
    file.skip()
    assert list(file.new_lines()) == []
    with path.open("a") as stream:
        stream.write(" a line\nnew\n")
    assert list(file.new_lines()) == [" a line", "new"]


def test_what_was_skipped_counts_where_it_is_written_again(tmp_path):
    path = tmp_path / "status.json"
    path.write_text("same\n")
    os.utime(path, ns=(0, 1))  # longer ago than a clock of the disk ticks
    file = GrowingFile(path)
    file.skip()
    path.write_text("same\n")
    assert list(file.new_lines()) == ["same"]
    assert list(file.new_lines()) == []


def test_a_line_that_nobody_has_ended_is_read_where_that_is_wanted(tmp_path):
    path = tmp_path / "log.txt"
    path.write_text("one\ntw")
    file = GrowingFile(path)
    assert list(file.new_lines(whole=False)) == ["one", "tw"]
    with path.open("a") as stream:
        stream.write("o\nthree\n")
    assert list(file.new_lines(whole=False)) == ["o", "three"]


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    file = GrowingFile(tmp_path / "pipe")
    file.skip()
    assert list(file.new_lines()) == []
    assert not file.begins_anew()
