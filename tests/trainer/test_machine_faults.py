import errno
import os

import pytest

from trainer.machine_faults import describe_fault


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "make room there (`df -h` and `df -i` show bytes and inodes), or use another folder"),
        (errno.EROFS, "mount it writable, or use another folder"),
        (errno.ENAMETOOLONG, "use a shorter path"),
        (errno.EMFILE, "raise the limit on open files (`ulimit -n 65536`)"),
    ],
)  # fmt: skip
def test_where_what_and_a_remedy(number, remedy):
    error = OSError(number, os.strerror(number), "/srv/x")
    assert describe_fault(error) == f"/srv/x: {os.strerror(number)}; {remedy}"


def test_folders_of_ours_name_the_variable_that_moves_them(tmp_path, monkeypatch):
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path / "cache"))
    full = OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "cache" / "images"))
    assert describe_fault(full).endswith("or set HPO_CACHE_DIR to another folder")


def test_limits_that_python_tells_without_a_number():
    assert "ulimit -u" in describe_fault(RuntimeError("can't start new thread"))
    assert describe_fault(RuntimeError("Could not determine home directory.")).startswith("HOME: ")


@pytest.mark.parametrize(
    "error", [ValueError("x"), RuntimeError("shapes differ"), OSError("no number"), KeyError("k")]
)
def test_what_the_machine_has_no_part_in_is_not_described(error):
    assert describe_fault(error) == ""
