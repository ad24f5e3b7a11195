"""The two commands, started where files have the names of modules."""

import subprocess
from pathlib import Path

import pytest

from hpo.core.process import children
from tests.hpo.core.process.hostile import (
    install_commands,
    make_folder,
    paths,
    spare_the_script,
    variables,
)

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    return install_commands(tmp_path_factory.mktemp("bin"))


@pytest.fixture
def folder(tmp_path):
    return make_folder(tmp_path)


def said(command, folder, path, **changes):
    return subprocess.run(
        command, cwd=folder, env=variables(path, **changes), capture_output=True, text=True,
        check=False,
    )  # fmt: skip


@pytest.mark.parametrize("number", range(6))
def test_the_commands_start_whatever_lies_around(number, folder, commands):
    hpo, ml_recog = commands
    path = paths(folder)[number]
    spare_the_script(folder, path)
    versions = said([ml_recog, "--version"], folder, path)
    assert (versions.returncode, versions.stderr) == (0, "")
    assert versions.stdout.startswith("ml_recog ")
    space = said([hpo, "space"], folder, path)
    assert (space.returncode, space.stderr) == (0, "")
    assert "train.optim.trunk.base_lr" in space.stdout


def test_modules_of_the_user_are_found_in_the_working_directory_where_it_is_asked_for(
    folder, commands
):
    spare_the_script(folder, ".")
    (folder / "own_trainer.py").write_text("1 / 0  # it was imported\n")
    (folder / "s.yaml").write_text("schema_version: 1\ntrainer: own_trainer:TRAINER\n")
    for path, ending in ((".", "ZeroDivisionError: division by zero"), ("", "No module named")):
        done = said(
            [commands[0], "plan", "s.yaml"], folder, path, HPO_TRAINER_MODULES="own_trainer"
        )
        assert ending in done.stderr.splitlines()[-1], path


def test_as_modules_they_start_like_the_commands(folder):
    for name in ("types", "random", "logging", "hpo", "trainer"):  # before any of ours
        (folder / f"{name}.py").unlink()
    path = f"{ROOT}:{folder / 'elsewhere'}"
    for module, name in (("hpo.cli.main", "hpo"), ("trainer.cli", "ml_recog")):
        done = said([str(children.COMMANDS / "python"), "-m", module, "--version"], folder, path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(name)
