"""Our packages in a program of somebody else's."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from hpo.core.process.imports import PACKAGES
from tests.hpo.core.process.hostile import make_folder, variables

ROOT = Path(__file__).resolve().parents[4]


def test_every_installed_package_is_known():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    built = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert sorted(built) == sorted(PACKAGES)


def run_script(folder, text):
    script = folder / "script.py"
    script.write_text(text)
    return subprocess.run(
        [sys.executable, script], cwd=folder, env=variables(""), capture_output=True, text=True,
        check=False,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    folder = make_folder(tmp_path)
    for name in (
        "numpy",
        "types",
        "random",
        "logging",
        "onnx",
        "hpo",
    ):  # the program itself needs them
        (folder / f"{name}.py").unlink()
    return folder


def test_a_script_beside_files_of_our_names_gets_our_packages(folder):
    done = run_script(
        folder,
        "import hpo\nprint(hpo.search.__name__)\n"
        "import trainer, search_spaces\nprint(trainer.__file__)\n",
    )
    assert done.stdout.splitlines() == ["search", f"{ROOT}/trainer/__init__.py"], done.stderr


def test_a_script_that_has_imported_another_module_of_that_name_is_told(folder):
    (folder / "trainer.py").write_text("MINE = 1\n")
    done = run_script(folder, "import trainer\nimport hpo\nhpo.search()\n")
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: {folder}/trainer.py: has the name of a package of")
