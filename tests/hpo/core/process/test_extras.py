"""An installation of the two base packages alone: every verb and call answers in one line."""

import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from hpo.core.process.extras import explain_missing

ROOT = Path(__file__).resolve().parents[4]
SITE = Path(jsonschema.__file__).resolve().parents[1]
BASE = (
    *("yaml", "_yaml", "jsonschema", "jsonschema_specifications", "referencing", "rpds", "attr"),
    *("attrs", "typing_extensions.py"),
)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Folders with those packages, ours, and the command `hpo`."""
    folder = tmp_path_factory.mktemp("bare")
    for name in BASE:
        if (SITE / name).exists():
            (folder / name).symlink_to(SITE / name)
    for name in ("hpo", "trainer", "search_spaces", "studies"):
        (folder / name).symlink_to(ROOT / name)
    info = next(SITE.glob("hpo_recognition-*.dist-info"))
    (folder / info.name).symlink_to(info)
    return folder


def call(bare, code, *words, cwd):
    start = f"import sys; sys.path.append({str(bare)!r}); sys.argv[0] = 'hpo'\n"
    environment = {"PATH": os.environ["PATH"], "HOME": str(cwd)}
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", start + code, *words], cwd=cwd, env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


HPO = "from hpo.core.process.start import hpo\nsys.exit(hpo())"
ML_RECOG = "from hpo.core.process.start import ml_recog\nsys.exit(ml_recog())"


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["space"], ["ls"], ["search", "--help"]]
)
def test_what_needs_no_extra_works(bare, words, tmp_path):
    done = call(bare, HPO, *words, cwd=tmp_path)
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 2), done.stderr


@pytest.mark.parametrize("words", [["search"], ["plan"], ["search", "--in-process"]])
def test_a_verb_that_needs_more_says_what_to_install(bare, words, tmp_path):
    done = call(bare, HPO, *words, cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.endswith("is not installed; pip install 'hpo-recognition[all]'")
    assert not (tmp_path / "runs").exists()


def test_doctor_says_what_is_missing(bare, tmp_path):
    done = call(bare, HPO, "doctor", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "not installed: " in done.stdout


@pytest.mark.parametrize("name", ["search", "load", "AutoMLRunner", "query_status"])
def test_a_call_from_python_says_what_to_install(bare, name, tmp_path):
    done = call(bare, f"import hpo\nhpo.{name}", cwd=tmp_path)
    last = done.stderr.splitlines()[-1]
    assert last.startswith(
        "ImportError: numpy, optuna, ray, torch, plotly: not installed; pip install"
    )


def test_a_module_of_the_users_is_no_package_of_ours():
    assert explain_missing(ModuleNotFoundError("x", name="my_trainer")) == ""
    assert "torch is not installed" in explain_missing(ModuleNotFoundError("x", name="torch.nn"))
