import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.crashes.driver import on_disk
from trainer.data import location
from trainer.data.location import (
    cache_settings,
    choose_cache_folder,
    exclusive,
    exclusive_if_free,
    torch_hub_folder,
    why_not_writable,
)
from trainer.errors import SpecError


def test_folder_comes_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_settings().folder == tmp_path / "own"
    monkeypatch.delenv("HPO_CACHE_DIR")
    assert cache_settings().folder == tmp_path / "xdg" / "hpo-recognition"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_settings().folder == Path.home() / ".cache" / "hpo-recognition"


def test_a_relative_xdg_cache_home_does_not_count(monkeypatch):
    monkeypatch.delenv("HPO_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    monkeypatch.setenv("HOME", "/proc/me")
    assert "/proc/me/.cache/hpo-recognition cannot be used" in choose_cache_folder().warning


def no_home(monkeypatch, tmp_path):
    """A user without a home folder, as a random one in a container; temporary files go to `tmp`."""
    for name in ("HPO_CACHE_DIR", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("MPLCONFIGDIR", "HF_HOME", "TORCH_HOME"):
        monkeypatch.setenv(name, "/set")
    monkeypatch.setattr(
        "pwd.getpwuid", lambda uid: (_ for _ in ()).throw(KeyError(f"uid not found: {uid}"))
    )
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(location, "_told", set())
    return tmp_path / "tmp" / f"hpo-cache-{os.geteuid()}"


def test_a_user_without_a_home_may_still_have_weights_at_hand(monkeypatch, tmp_path):
    folder = no_home(monkeypatch, tmp_path)
    assert torch_hub_folder() == Path("/set/hub")
    monkeypatch.delenv("TORCH_HOME")
    assert torch_hub_folder() == folder / "torch" / "hub"


def test_a_user_without_a_home_gets_a_folder_of_his_own_and_one_warning(
    monkeypatch, tmp_path, caplog
):
    folder = no_home(monkeypatch, tmp_path)
    assert cache_settings().folder == cache_settings().folder == folder
    assert folder.stat().st_mode & 0o777 == 0o700
    (said,) = caplog.messages
    assert said == (
        "the cache folder cannot be used (HOME is not set and this user has none); what is derived "
        f"from the pictures goes to {folder}, which may not last; set HPO_CACHE_DIR to a folder that "
        "can be written"
    )


@pytest.mark.parametrize("home", ["/proc/nowhere", "/etc/passwd"])
def test_a_home_that_cannot_be_written_is_named(monkeypatch, tmp_path, home):
    folder = no_home(monkeypatch, tmp_path)
    monkeypatch.setenv("HOME", home)
    chosen = choose_cache_folder()
    assert chosen.path == folder
    assert chosen.warning.startswith(f"{home}/.cache/hpo-recognition cannot be used (")


def test_libraries_are_lent_folders_where_the_users_own_cannot_be_written(monkeypatch, tmp_path):
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path / "mine"))
    for name in ("XDG_CACHE_HOME", "MPLCONFIGDIR", "HF_HOME"):
        monkeypatch.setenv(name, "")  # so that it is put back, whatever is set here
        monkeypatch.delenv(name)
    monkeypatch.setenv("TORCH_HOME", "/the/users")
    monkeypatch.setenv("HOME", str(tmp_path))
    cache_settings()
    assert "MPLCONFIGDIR" not in os.environ
    monkeypatch.setenv("HOME", "/proc/nowhere")
    cache_settings()
    assert os.environ["MPLCONFIGDIR"] == f"{tmp_path}/mine/matplotlib"
    assert os.environ["HF_HOME"] == f"{tmp_path}/mine/huggingface"
    assert os.environ["TORCH_HOME"] == "/the/users"


def test_a_folder_that_somebody_else_has_put_there_is_not_taken(monkeypatch, tmp_path):
    folder = no_home(monkeypatch, tmp_path)
    (tmp_path / "theirs").mkdir()
    folder.symlink_to(tmp_path / "theirs")
    with pytest.raises(SpecError, match="it is somebody else's.*set HPO_CACHE_DIR"):
        cache_settings()
    monkeypatch.setattr(tempfile, "tempdir", "/proc")
    with pytest.raises(SpecError, match="and neither can /proc/hpo-cache.*set HPO_CACHE_DIR"):
        cache_settings()


@pytest.mark.parametrize("named", ["/proc/nowhere/x", "/etc/passwd", "/etc/passwd/x", "~nobody0/x"])
def test_a_folder_that_the_user_has_named_is_used_or_refused(monkeypatch, named):
    monkeypatch.setenv("HPO_CACHE_DIR", named)
    with pytest.raises(SpecError, match=f"^HPO_CACHE_DIR: must be a folder.*{named}") as caught:
        cache_settings()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("link", ["nowhere", "loop"])
def test_a_link_that_leads_nowhere_is_no_folder(tmp_path, monkeypatch, link):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    if link == "nowhere":
        (tmp_path / link).symlink_to(tmp_path / "gone")
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path / link / "cache"))
    with pytest.raises(SpecError, match=f"{link}"):
        cache_settings()


@pytest.mark.parametrize(
    ("options", "is_read_only", "said"),
    [
        ("size=1m", True, "Read-only file system"),
        ("nr_inodes=2", False, "No space left on device"),
        ("size=8k", False, "No space left on device"),
        ("size=1m", False, ""),
    ],
)
def test_what_a_disk_says(tmp_path, options, is_read_only, said):
    def work():
        why = why_not_writable(tmp_path / "disk" / "new" / "folder")
        return f"{why}|{sorted((tmp_path / 'disk').iterdir())}"

    def fill():
        if "inodes" in options:
            (tmp_path / "disk" / "file").touch()

    told = on_disk(tmp_path / "disk", options, work, fill=fill, is_read_only=is_read_only)
    if told is None:
        pytest.skip("this machine lets no process mount a file system")
    assert told.partition("|")[0] == said
    assert "new" not in told.partition("|")[2]


def test_bound_is_20_gb_unless_set(monkeypatch):
    assert cache_settings().limit_bytes == 20_000_000_000
    monkeypatch.setenv("HPO_CACHE_GB", "0.5")
    assert cache_settings().limit_bytes == 500_000_000


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "many", "inf", "1e400", "1e308", "1e10"])
def test_other_bounds_are_refused(monkeypatch, text):
    monkeypatch.setenv("HPO_CACHE_GB", text)
    with pytest.raises(SpecError, match="HPO_CACHE_GB"):
        cache_settings()


def test_a_lock_keeps_others_out_until_released(tmp_path):
    lock = tmp_path / "deep" / "x.lock"
    with exclusive(lock), exclusive_if_free(lock) as is_ours:
        assert not is_ours
    with exclusive_if_free(lock) as is_ours:
        assert is_ours


def test_a_write_under_a_lock_that_fails_without_a_path_gets_one(tmp_path):
    for error in (OSError(28, "full"), OSError(28, "full", "/other")):
        with pytest.raises(OSError, match="full") as caught, exclusive(tmp_path / "x.lock"):
            raise error
        assert caught.value is error
    assert error.filename == "/other"
    with pytest.raises(OSError, match="full") as caught, exclusive(tmp_path / "x.lock"):
        raise OSError(28, "full")
    assert caught.value.filename == str(tmp_path)


def test_a_folder_is_filled_once_and_again_where_its_record_is_empty(tmp_path):
    """As a cut of the power leaves it."""
    fills = []

    def fill(draft):
        fills.append(draft)
        (draft / "split.json").write_text("{}")

    record = tmp_path / "set" / "split.json"
    for left, count in (("", 1), ("{}", 1), ("", 2)):
        if record.exists():
            record.write_text(left)
        location.make_once(record.parent, record.name, fill)
        assert (len(fills), record.read_text()) == (count, "{}")


def test_a_lock_ends_with_its_process(tmp_path):
    lock = tmp_path / "x.lock"
    code = (
        "import os, sys; from pathlib import Path; from trainer.data.location import exclusive\n"
        "with exclusive(Path(sys.argv[1])): os._exit(9)"
    )
    root = Path(__file__).parents[3]
    process = subprocess.run([sys.executable, "-c", code, str(lock)], cwd=root, check=False)
    assert process.returncode == 9
    with exclusive_if_free(lock) as is_ours:
        assert is_ours
