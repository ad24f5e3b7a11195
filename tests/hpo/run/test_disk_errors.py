"""Disks that take no more files: a real full one, a real read-only one."""

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from hpo.run.disk_errors import OutOfRoomError, as_run_error, find_problem, out_of_room
from hpo.run.run_dir import RunDir
from tests.crashes.driver import on_small_disk


def test_a_disk_with_room_is_left_as_it_was(tmp_path):
    assert find_problem(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_says_so_until_there_is_room(tmp_path):
    def work():
        ballast = tmp_path / "small" / "ballast"
        with ballast.open("wb", buffering=0) as stream, pytest.raises(OSError, match="No space"):
            while True:
                stream.write(bytes(4096))
        full = find_problem(tmp_path / "small")
        ballast.unlink()
        assert full.is_room
        return f"{full.words}|{find_problem(tmp_path / 'small')}"

    told = on_small_disk(tmp_path / "small", 1, work)
    if told is None:
        pytest.skip("this machine lets no process mount a small file system")
    full, empty = told.split("|")
    assert full == "its disk takes no more files: No space left on device; make room"
    assert empty == "None"


def test_a_trial_that_found_no_room_is_believed(tmp_path):
    told = "[Errno 28] No space left on device: '/runs/x/trials/0003/ckpt/.last.ckpt'"
    assert "make room" in find_problem(tmp_path, told).words
    assert find_problem(tmp_path, "the worker process was lost") is None


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "trials").write_text("a file where a folder should be")
    problem = find_problem(tmp_path / "trials" / "0001")
    assert "make it writable" in problem.words
    assert not problem.is_room


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "make room"),
        (errno.EROFS, "make it writable"),
        (errno.EACCES, "(/runs/q/1/x)"),
        (errno.ENOTCONN, "make it writable"),
    ],
)
def test_faults_of_the_disk_are_one_line(number, said):
    error = OSError(number, os.strerror(number), "/runs/q/1/x")
    run = RunDir(Path("/runs/q/1"))
    line = str(as_run_error(run, error))
    assert line.startswith("/runs/q/1: its disk takes no more files: ")
    assert said in line
    assert line.endswith("then give the same command again")  # of an export, say
    run.start_words = ("--in-process",)
    line = str(as_run_error(run, error))
    again = "`hpo resume /runs/q/1 --in-process` goes on after the last finished epoch"
    assert line.endswith(f", then {again}")
    assert str(find_problem(run.path, os.strerror(errno.ENOSPC)).as_error(run)).endswith(again)


def test_other_errors_are_not_the_disks():
    assert as_run_error(RunDir(Path("/r")), FileNotFoundError(errno.ENOENT, "gone", "/x")) is None
    assert as_run_error(RunDir(Path("/r")), OSError(errno.ENOSPC, "full", "/cache/x")) is None


def of_a_database(code):
    error = sqlite3.OperationalError("a fault of the database")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize("wrapped", ["", "cause", "context"])
@pytest.mark.parametrize(
    ("error", "is_full", "is_full_where_room_is_short"),
    [
        (OSError(errno.EDQUOT, "quota"), True, True),
        (OSError(errno.EACCES, "closed"), False, False),
        (OSError(errno.EIO, "broken"), False, False),
        (OutOfRoomError("told before"), True, True),
        (of_a_database(sqlite3.SQLITE_FULL), True, True),
        (of_a_database(sqlite3.SQLITE_IOERR_WRITE), False, True),
        (of_a_database(sqlite3.SQLITE_CANTOPEN), False, True),
        (of_a_database(sqlite3.SQLITE_LOCKED), False, False),
    ],
)
def test_what_is_for_want_of_room(error, is_full, is_full_where_room_is_short, wrapped):
    outer = RuntimeError("could not be written")
    outer.__cause__, outer.__context__ = error if wrapped == "cause" else None, error
    told = outer if wrapped else error
    assert bool(out_of_room(told, is_short=False)) == is_full
    assert bool(out_of_room(told, is_short=True)) == is_full_where_room_is_short
