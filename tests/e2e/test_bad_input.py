"""Wrong input at the command line, asked of a process of its own; `tests/bad_input` asks `main` the rest."""

import os
import subprocess
import sys


def test_missing_folder_is_one_line_and_leaves_nothing_behind(tmp_path):
    """Without weights, whose network a process would import timm for."""
    for name in ("gallery", "val"):
        (tmp_path / name / "tea").mkdir(parents=True)
    words = ["--train", "nowhere", "--reference", "gallery", "--query", "val", "--weights", "none"]
    done = subprocess.run(
        [sys.executable, "-m", "hpo.cli.main", "search", *words], cwd=tmp_path, timeout=60,
        env=os.environ | {"HPO_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert str(tmp_path / "nowhere") in line
    assert not list(tmp_path.glob("runs/*/*"))
