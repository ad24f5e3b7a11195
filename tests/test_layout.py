"""The shape of the repository: file lengths, README's commands, constraints, study files."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("hpo", "search_spaces", "trainer")


def tracked(*patterns):
    listing = subprocess.run(
        ["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [Path(line) for line in listing.stdout.splitlines()]


def modules():
    return [path for path in tracked(*(f"{p}/**.py" for p in PACKAGES)) if path.stem != "__init__"]


def test_no_module_is_longer_than_400_lines():
    long = {str(p): n for p in modules() if (n := len((ROOT / p).read_text().splitlines())) > 400}
    assert long == {}


def test_ci_runs_readmes_second_command():
    readme = (ROOT / "README.md").read_text()
    command = re.search(r"<!-- tests -->\n```sh\n(.+?)\n```", readme, re.DOTALL)
    assert command is not None
    assert "tests/check.sh" in command[1]
    assert "README.md" in (ROOT / ".ci" / "run").read_text()


def test_constraints_are_names_and_versions_alone():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert lines
    for line in lines:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!-]+", line), line


@pytest.mark.parametrize(
    ("system", "machine", "is_wanted"),
    [("linux", "x86_64", True), ("linux", "aarch64", False), ("darwin", "arm64", False)],
)
def test_only_what_has_a_wheel_for_a_machine_is_asked_of_it(system, machine, is_wanted):
    faiss = requirement("faiss-gpu")
    where = {"sys_platform": system, "platform_machine": machine}
    assert faiss.marker.evaluate(where) is is_wanted


def test_a_scikit_learn_without_what_the_map_uses_is_not_taken():
    """`TSNE(max_iter=...)` is of 1.5; before it was `n_iter`, and half a report was left out."""
    allowed = requirement("scikit-learn").specifier
    assert not allowed.contains("1.4.2")
    assert allowed.contains("1.5.0")


def requirement(name):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    read = map(Requirement, project["optional-dependencies"]["trainer"])
    return next(one for one in read if one.name == name)


@pytest.mark.parametrize("name", ["quickstart", "retail_resnet50", "defects"])
def test_study_files_say_what_they_are_for(name):
    text = (ROOT / "studies" / f"{name}.yaml").read_text()
    assert text.startswith("# ")
    assert f"name: {name}" in text


def test_pre_commit_runs_the_quick_checks_of_check_sh():
    script = (ROOT / "tests" / "check.sh").read_text()
    commands = [
        line.replace('"$bin/', ".venv/bin/")
        .replace('"$python"', ".venv/bin/python")
        .replace('"', "")
        .removesuffix(" &")
        for line in script.splitlines()
        if line.startswith('"$') and "pytest" not in line
    ]
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert [hook["entry"] for hook in hooks] == commands
    assert len(commands) == 6
