"""Where Ray's files go, by paths that are too long, cannot be written, or are the user's choice."""

import os
import shutil
from pathlib import Path

import pytest

from hpo.core.errors import MachineError
from hpo.executors import ray_folder
from hpo.executors.ray_folder import (
    LONGEST_SOCKET,
    choose_ray_folder,
    hold_session,
    remove_left_sessions,
)
from tests.nobody import plant_folder

OWN = f"ray-{os.geteuid()}"


@pytest.fixture(autouse=True)
def short(monkeypatch, tmp_path_factory):
    """A short folder to fall back to, and no wishes of the machine that this runs on."""
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.chdir("/")
    made = Path("/tmp") / f"rf-{os.getpid()}"  # noqa: S108 - pytest's own are too long
    made.mkdir(mode=0o700)
    monkeypatch.setattr(ray_folder, "SHORT", (str(made),))
    yield made
    shutil.rmtree(made)


def of_length(tmp_path, length):
    """A folder whose path has so many bytes."""
    rest = length - len(str(tmp_path)) - 1
    assert 0 < rest < 250
    folder = tmp_path / ("x" * rest)
    folder.mkdir(mode=0o700)
    return folder


def sockets(folder):
    """The length of the longest path that Ray makes: two digits of a day, six of a microsecond."""
    name = "session_2026-12-31_23-59-59_999999_4194303"
    return len(os.fsencode(f"{folder}/{name}/sockets/plasma_store.1"))


def test_the_users_folder_is_used_while_sockets_fit(short, monkeypatch):
    for length in range(len(str(short)) + 2, 60):
        folder = of_length(short, length)
        monkeypatch.setenv("TMPDIR", str(folder))
        chosen = choose_ray_folder()
        fits = sockets(folder / "ray") <= LONGEST_SOCKET
        assert chosen.path == (folder if fits else short) / "ray"
        assert bool(chosen.warning) is not fits


def test_a_long_folder_is_named_with_what_is_used_instead(short, tmp_path, monkeypatch):
    folder = of_length(tmp_path, 151)
    monkeypatch.setenv("TMPDIR", str(folder))
    chosen = choose_ray_folder()
    assert chosen.path == short / "ray"
    assert chosen.warning.startswith(f"TMPDIR: {folder} is too long by ")
    assert chosen.warning.endswith(f"Ray keeps its files in {short}/ray instead")


def test_names_are_measured_in_bytes(short, monkeypatch):
    folder = short / ("ü" * 16)  # 16 letters fit where 32 bytes do not
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("TMPDIR", str(folder))
    assert choose_ray_folder().path == short / "ray"


@pytest.mark.parametrize("name", ["/proc/nowhere", "/etc/passwd", "/etc/passwd/x"])
def test_a_folder_that_cannot_be_written_is_left(short, name, monkeypatch):
    monkeypatch.setenv("TMPDIR", name)
    chosen = choose_ray_folder()
    assert chosen.path == short / "ray"
    assert f"{name}/{OWN} cannot be used" in chosen.warning


def test_a_folder_that_is_to_be_made_and_one_with_spaces_are_used(short, monkeypatch):
    for name in ("new", "J. Doe"):
        monkeypatch.setenv("TMPDIR", str(short / name))
        assert choose_ray_folder() == ray_folder.RayFolder(path=short / name / OWN / "ray")


@pytest.mark.parametrize("mode", [0o755, 0o1777])
@pytest.mark.parametrize("is_there", [False, True])
def test_where_others_may_enter_it_lies_in_a_folder_that_they_cannot(short, mode, is_there):
    """Ray of an earlier release has made one for everybody."""
    short.chmod(mode)
    if is_there:
        (short / OWN).mkdir()
        (short / OWN).chmod(0o777)
    assert choose_ray_folder().path == short / OWN / "ray"
    assert (short / OWN).stat().st_mode & 0o777 == 0o700


def test_a_folder_that_another_user_has_put_there_is_not_used(short, monkeypatch):
    (short / "shared").mkdir()
    plant_folder(short / "shared" / OWN)
    monkeypatch.setenv("TMPDIR", str(short / "shared"))
    chosen = choose_ray_folder()
    assert chosen.path == short / "ray"
    assert f"{short}/shared/{OWN} cannot be used (it is a link, or another" in chosen.warning


@pytest.mark.parametrize("name", ["/proc/nowhere", "/tmp/" + "x" * 100])  # noqa: S108
def test_rays_own_variable_is_obeyed_or_refused(short, name, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", str(short / "mine"))
    assert choose_ray_folder().path == short / "mine" / OWN / "ray"
    monkeypatch.setenv("RAY_TMPDIR", name)
    with pytest.raises(MachineError, match="^RAY_TMPDIR: must be a folder with a short path"):
        choose_ray_folder()


def test_where_nothing_serves_the_variable_to_set_is_named(monkeypatch):
    monkeypatch.setenv("TMPDIR", "/proc/nowhere")
    monkeypatch.setattr(ray_folder, "SHORT", ())
    with pytest.raises(MachineError, match="^TMPDIR: must be .*--in-process$"):
        choose_ray_folder()


def test_sessions_of_killed_searches_go_and_those_of_others_stay(tmp_path):
    for name in ("session_1_1", "session_1_2", "session_1_3"):
        (tmp_path / name / "logs").mkdir(parents=True)
    remove = hold_session(tmp_path / "session_1_2")
    (tmp_path / "session_1_1" / ".of-a-search").touch()  # the lock went with its process
    remove_left_sessions(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["session_1_2", "session_1_3"]
    remove()
    assert [path.name for path in tmp_path.iterdir()] == ["session_1_3"]
