import subprocess
import sys
from pathlib import Path

import pytest

from trainer.data.location import cache_settings, exclusive, exclusive_if_free
from trainer.errors import SpecError


def test_folder_comes_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_settings().folder == tmp_path / "own"
    monkeypatch.delenv("HPO_CACHE_DIR")
    assert cache_settings().folder == tmp_path / "xdg" / "hpo-recognition"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_settings().folder == Path.home() / ".cache" / "hpo-recognition"


def test_bound_is_20_gb_unless_set(monkeypatch):
    assert cache_settings().limit_bytes == 20_000_000_000
    monkeypatch.setenv("HPO_CACHE_GB", "0.5")
    assert cache_settings().limit_bytes == 500_000_000


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "many"])
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
