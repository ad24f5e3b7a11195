"""Ray's workers import what the driver would, where files of the user's have the names of modules."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from hpo.executors import ray_start
from tests.hpo.core.process.hostile import (
    install_commands,
    make_folder,
    spare_the_script,
    variables,
)
from tests.nobody import plant_folder

pytest.importorskip("ray")
pytestmark = pytest.mark.ray

ROOT = Path(__file__).resolve().parents[3]
SITE = str(Path(np.__file__).resolve().parents[1])


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A search started in such a folder, with a PYTHONPATH that also holds modules of the user's."""
    folder = make_folder(tmp_path_factory.mktemp("hostile"))
    trainer = "tests.hpo.core.process.reporting:TRAINER"
    (folder / "s.yaml").write_text(
        f"schema_version: 1\nname: h\ntrainer: {trainer}\nbudget: 2\nconcurrent: 1\n"
    )
    path = f"{folder / 'elsewhere'}:{ROOT}:"
    spare_the_script(folder, path)
    environment = variables(path, HPO_TRAINER_MODULES="tests", PYTHONWARNINGS="error")
    hpo, _ = install_commands(tmp_path_factory.mktemp("bin"))
    done = subprocess.run(
        [hpo, "search", "s.yaml", "--yes", "--json"],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    return folder, path, done


def test_the_search_ends_well(searched):
    _, _, done = searched
    assert done.returncode == 0, done.stderr
    finished = json.loads(done.stdout.splitlines()[-1])
    assert finished["trials"]["failed"] == 0
    assert sum(finished["trials"].values()) == 2


def test_a_worker_imports_what_is_installed_and_ours(searched):
    folder, _, _ = searched
    facts = json.loads((folder / "facts.json").read_text())
    for name in ("numpy", "onnx"):
        assert facts["files"][name] == f"{SITE}/{name}/__init__.py"
    for name in ("hpo", "trainer", "search_spaces"):
        assert facts["files"][name] == f"{ROOT}/{name}/__init__.py"
    assert facts["alone"] == "elsewhere"
    assert facts["path"].index(SITE) < facts["path"].index(str(folder))
    assert "error" not in facts["actions"]


def test_a_program_that_a_trainer_starts_has_the_users_variables(searched):
    folder, path, _ = searched
    program = json.loads((folder / "facts.json").read_text())["program"]
    program.pop("PYTHONBREAKPOINT", None)  # Ray's debugger
    assert program == {"PYTHONPATH": path, "PYTHONWARNINGS": "error"}


@pytest.mark.parametrize("is_planted", [False, True])
def test_bytecode_is_kept_in_a_folder_of_ones_own_or_nowhere(
    tmp_path, monkeypatch, is_planted, caplog
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", "")
    folder = tmp_path / f"hpo-pycache-{os.geteuid()}"
    if is_planted:
        plant_folder(folder)
    ray_start._keep_bytecode()
    assert os.environ["PYTHONPYCACHEPREFIX"] == ("" if is_planted else str(folder))
    assert ("PYTHONDONTWRITEBYTECODE" in os.environ) is is_planted
    assert (f"{folder}: must be a folder of yours" in caplog.text) is is_planted
    assert folder.is_dir()


def test_a_signal_while_ray_starts_is_an_interrupt_and_then_ours_again():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    with pytest.raises(KeyboardInterrupt), ray_start._own_sigterm():
        sys.exit(15)  # as Ray's handler does
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == before
