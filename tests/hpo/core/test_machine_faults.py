"""Faults of real disks and folders, and those that only a machine of its own could show, in one line."""

import errno
import os
import sqlite3
import tempfile
from pathlib import Path

import pytest

from hpo.core import machine_faults
from hpo.core.machine_faults import describe_fault, find_fault
from tests.crashes.driver import on_disk
from trainer import machine_faults as of_trainer

NUMBERS = (
    *("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM", "ENOENT", "ENOTDIR", "EEXIST"),
    *("EISDIR", "ENAMETOOLONG", "ELOOP", "EIO", "ESTALE", "ENODEV", "ENXIO", "ENOTCONN"),
    *(
        "EREMOTEIO",
        "EHOSTDOWN",
        "ENOLCK",
        "ENOSYS",
        "EOPNOTSUPP",
        "EMFILE",
        "ENFILE",
        "EAGAIN",
        "ENOMEM",
    ),
)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("describe", [describe_fault, of_trainer.describe_fault])
def test_every_fault_is_one_line_with_path_words_and_remedy(name, describe):
    number = getattr(errno, name)
    line = describe(OSError(number, os.strerror(number), "/srv/pictures/x"))
    what, _, remedy = line.partition("; ")
    assert what == f"/srv/pictures/x: {os.strerror(number)}"
    assert len(remedy.split()) > 2
    assert "\n" not in line


def test_trainer_and_harness_know_the_same_faults():
    assert set(machine_faults.REMEDIES) == set(of_trainer._REMEDIES)


@pytest.mark.parametrize("describe", [describe_fault, of_trainer.describe_fault])
@pytest.mark.parametrize(
    "error",
    [ValueError("No space left"), OSError("no number"), BrokenPipeError(32, "x"), KeyError(28)],
)
def test_other_errors_are_not_the_machines(describe, error):
    assert describe(error) == ""


@pytest.mark.parametrize("describe", [describe_fault, of_trainer.describe_fault])
def test_what_python_says_of_homes_and_limits(describe):
    assert describe(RuntimeError("Could not determine home directory.")).startswith("HOME: must ")
    assert "ulimit -u" in describe(RuntimeError("can't start new thread"))
    assert describe(RuntimeError("dictionary changed size")) == ""


@pytest.mark.parametrize(
    ("path", "way"),
    [
        ("/c/pictures/x", "set HPO_CACHE_DIR to another folder"),
        ("/home/me/.cache/matplotlib", "set XDG_CACHE_HOME to another folder"),
        ("/home/me/.config/wandb", "set XDG_CONFIG_HOME to another folder"),
        ("/scratch/hpo-ray-1", "set TMPDIR to another folder"),
        ("/scratch/mine/runs", "use another folder"),
        ("/data/runs", "use another folder"),
    ],
)
def test_the_variable_is_named_that_chooses_the_folder(path, way, monkeypatch):
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HPO_CACHE_DIR", "/c")
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setattr(tempfile, "tempdir", "/scratch")
    line = describe_fault(OSError(errno.EROFS, "Read-only file system", path))
    assert line == f"{path}: Read-only file system; mount it writable, or {way}"


def test_of_a_rename_the_new_name_is_told():
    assert describe_fault(OSError(errno.EROFS, "no", "/a", None, "/b")).startswith("/b: no; ")


def test_a_cause_counts_and_a_mere_context_does_not():
    full = OSError(errno.ENOSPC, "No space left on device", "/x")
    wrapped, other = ValueError("wrapped"), ValueError("of its own")
    wrapped.__cause__, other.__context__ = full, full
    assert find_fault(wrapped).path == "/x"
    assert find_fault(other) is None


def test_a_full_disk_that_no_error_names_is_found(tmp_path):
    small = tmp_path / "small"

    def work():
        try:
            with (small / "file").open("wb", buffering=0) as stream:
                while True:
                    stream.write(bytes(4096))
        except OSError as error:
            return describe_fault(error, [tmp_path / "other", small])

    told = on_disk(small, "size=1m", work)
    if told is None:
        pytest.skip("this machine lets no process mount a small file system")
    assert told.startswith(f"{small}: No space left on device; make room there")
    assert "df -i" in told


def test_a_database_on_a_disk_for_reading_alone(tmp_path):
    disk = tmp_path / "disk"

    def fill():
        with sqlite3.connect(disk / "a.db") as base:
            base.execute("CREATE TABLE t (x)")
        base.close()

    def work():
        try:
            with sqlite3.connect(disk / "a.db") as base:
                base.execute("INSERT INTO t VALUES (1)")
        except sqlite3.Error as error:
            return describe_fault(error, [disk])

    told = on_disk(disk, "size=1m", work, fill=fill, is_read_only=True)
    if told is None:
        pytest.skip("this machine lets no process mount a file system")
    assert told.startswith(f"{disk}: attempt to write a readonly database; mount it writable")


@pytest.mark.parametrize("describe", [describe_fault, of_trainer.describe_fault])
def test_a_working_folder_that_is_gone(describe, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(FileNotFoundError) as caught:
        Path.cwd()
    assert "change to one that is (`cd`)" in describe(caught.value)


@pytest.mark.parametrize("describe", [describe_fault, of_trainer.describe_fault])
def test_no_folder_for_temporary_files(describe, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/nowhere"])
    with pytest.raises(FileNotFoundError) as caught:
        tempfile.gettempdir()
    assert describe(caught.value).startswith("TMPDIR: must name a folder that can be written; ")
