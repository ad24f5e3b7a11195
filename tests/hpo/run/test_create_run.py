"""New run directories: whole or not there, and refused where no run can lie."""

import errno
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from hpo.core.durable_files import write_atomically
from hpo.core.errors import RunError
from hpo.run.create_run import create_run
from hpo.run.run_dir import list_runs
from tests.crashes.driver import on_disk
from tests.hpo.run.test_run_dir import fill
from tests.nobody import as_nobody


@pytest.mark.parametrize("mask", [0o077, 0o002])
def test_runs_and_their_files_have_the_permissions_of_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        run = create_run(tmp_path / "runs", "retail", fill)
        run.write_state({"status": "finished"})
        write_atomically(tmp_path / "runs" / "retail" / "more.json", "{}")
    finally:
        os.umask(before)
    assert run.path.stat().st_mode & 0o777 == 0o777 & ~mask
    for file in (run.state_file, run.study_file, run.path.parent / "more.json"):
        assert file.stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_new_run_is_named_by_study_and_time(tmp_path):
    run = create_run(tmp_path / "runs", "retail", fill)
    assert run.path.parent == tmp_path / "runs" / "retail"
    assert re.fullmatch(r"\d{8}-\d{6}", run.path.name)
    assert sorted(p.name for p in run.path.iterdir()) == ["ledger.db", "study.yaml"]


def test_nothing_is_seen_before_all_of_it_is_there(tmp_path):
    """Another process looks all the time; the run is either absent or has both of its files."""
    out, stop = tmp_path / "runs", tmp_path / "stop"
    out.mkdir()
    code = (
        "from pathlib import Path; from hpo.run.run_dir import list_runs\n"
        f"out, stop, seen = Path({str(out)!r}), Path({str(stop)!r}), set()\n"
        "print('ready', flush=True)\n"
        "while not stop.exists():\n"
        "    for run in list_runs(out):\n"
        "        seen.add(tuple(sorted(p.name for p in run.path.iterdir())))\n"
        "print(sorted(seen))\n"
    )
    watcher = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert watcher.stdout.readline() == "ready\n"

    def slow_fill(folder):
        (folder / "study.yaml").write_text("schema_version: 1\n")
        time.sleep(0.05)
        (folder / "ledger.db").write_text("x")

    for _ in range(3):
        create_run(out, "s", slow_fill)
    time.sleep(0.05)
    stop.touch()
    assert watcher.communicate()[0] == "[('ledger.db', 'study.yaml')]\n"


def test_a_fill_that_fails_leaves_no_run(tmp_path):
    def broken(folder):
        fill(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        create_run(tmp_path, "s", broken)
    assert list_runs(tmp_path) == []
    assert list(tmp_path.iterdir()) == []  # programs take the study's folder for the sign of a run


def test_searches_in_one_second_get_a_name_each(tmp_path):
    runs = []
    threads = [
        threading.Thread(target=lambda: runs.append(create_run(tmp_path, "s", fill).path))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(runs)) == 8
    assert len(list_runs(tmp_path)) == 8


def test_a_place_that_cannot_hold_runs(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        RunError, match=r"file: cannot hold run directories: .*choose another --out"
    ):
        create_run(tmp_path / "file", "s", fill)


@pytest.mark.parametrize("below", [".", "trials/0000", "new/deep"])
def test_a_run_within_a_run_is_refused(tmp_path, below):
    run = create_run(tmp_path / "runs", "retail", fill)
    before = sorted(run.path.rglob("*"))
    with pytest.raises(RunError, match=f"must lie outside other runs, and {run} is one; name a"):
        create_run(run.path / below, "s", fill)
    with pytest.raises(RunError, match="must lie outside other runs"):  # as workspaces are made
        create_run(run.path.parent, run.path.name, fill, prefix="run_")
    assert sorted(run.path.rglob("*")) == before
    assert create_run(run.path.parent, "s", fill).path.is_dir()


@pytest.mark.parametrize(
    ("options", "is_read_only", "said"),
    [
        ("size=1m", True, "Read-only file system"),
        ("nr_inodes=2", False, "No space left on device"),
        ("size=1m", False, "No space left on device"),
    ],
)
def test_a_disk_that_takes_no_run_is_named_and_left_as_it_was(
    tmp_path, options, is_read_only, said
):
    disk = tmp_path / "disk"

    def much(folder):
        (folder / "ledger.db").write_bytes(bytes(2_000_000))

    def work():
        before = sorted(disk.rglob(".*"))
        with pytest.raises(RunError) as caught:
            create_run(disk / "runs", "retail", much)
        assert sorted(disk.rglob(".*")) == before
        return str(caught.value)

    told = on_disk(disk, options, work, is_read_only=is_read_only)
    if told is None:
        pytest.skip("this machine lets no process mount a file system")
    assert told == f"{disk}/runs: cannot hold run directories: {said}; choose another --out"


@pytest.mark.parametrize("name", [b"r\xe9", b"r\nn", b"r\x1b[2J"])
def test_a_folder_whose_path_is_no_text_cannot_hold_runs(tmp_path, name):
    out = tmp_path / os.fsdecode(name)
    with pytest.raises(RunError, match="its path is no UTF-8"):
        create_run(out, "retail", fill)
    assert not out.exists()


def test_a_study_whose_folder_is_another_users_is_refused_by_it():
    with tempfile.TemporaryDirectory() as scratch:  # below no folder that is root's alone
        out = Path(scratch)
        out.chmod(0o777)
        (out / "shelf").mkdir()
        (out / "shelf").chmod(0o555)
        with (
            as_nobody(),
            pytest.raises(
                RunError, match=f"^{out}/shelf: .*: Permission denied; .* --name or --out"
            ),
        ):
            create_run(out, "shelf", fill)
        assert [place.name for place in out.rglob("*")] == ["shelf"]


def test_the_folder_of_a_study_may_lie_on_another_disk(tmp_path, monkeypatch):
    (tmp_path / "big").mkdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "shelf").symlink_to(tmp_path / "big")
    rename = os.rename

    def within_a_disk(source, target):
        """As the system does it: what lies below `big` is another disk."""
        if Path(source).parent.resolve() != Path(target).parent.resolve():
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), source, None, target)
        rename(source, target)

    monkeypatch.setattr(os, "rename", within_a_disk)
    run = create_run(tmp_path / "runs", "shelf", fill)
    assert run.path.parent == tmp_path / "big"
    assert list_runs(tmp_path / "runs")[0].path == run.path


def test_what_a_kill_left_of_a_new_run_goes_after_a_day(tmp_path):
    """And nothing of a user's: a workspace may lie in any folder."""
    young, others = f".new-{16 * '2'}", [".new-data", ".new-0011", "new-0033"]
    for name in (f".new-{16 * 'a'}", young, *others):
        age_s = 600 if name == young else 90000
        (tmp_path / name).mkdir()
        (tmp_path / name / "study.yaml").touch()
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    create_run(tmp_path, "retail", lambda folder: (folder / "study.yaml").touch())
    assert {path.name for path in tmp_path.iterdir()} == {young, *others, "retail"}
