"""Children: what they import, what they hand on, and that there is no other way to start one."""

import ast
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from hpo.core.process import children
from hpo.core.process.imports import PACKAGES
from tests.hpo.core.process.hostile import make_folder, paths, variables

ROOT = Path(__file__).resolve().parents[4]
SITE = str(Path(np.__file__).resolve().parents[1])


@pytest.fixture
def folder(tmp_path):
    return make_folder(tmp_path)


def started(command, folder, environment):
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def environment_below(path, folder):
    """The environment that a child gets from a process in that folder with that PYTHONPATH."""
    code = (
        "import json, runpy, sys; sys.path.append(sys.argv[1]);"
        "runpy.run_path(sys.argv[1] + '/hpo/core/process/entry.py')['import_ours']();"
        "from hpo.core.process import children; print(json.dumps(children.environment()))"
    )
    done = started(children.python("-c", code, str(ROOT)), folder, variables(path))
    return json.loads(done.stdout)


@pytest.mark.parametrize("number", [0, 1])
def test_a_child_imports_what_is_installed_and_ours(number, folder):
    environment = environment_below(paths(folder)[number], folder)
    command = children.own("tests.hpo.core.process.reporting", "mine_alone")
    done = started(command, folder, environment | {"PYTHONPATH": f"{environment['PYTHONPATH']}:."})
    assert done.returncode == 7, done.stderr
    facts = json.loads(done.stdout)
    for name in ("numpy", "onnx"):
        assert facts["files"][name] == f"{SITE}/{name}/__init__.py"
    for name in PACKAGES:
        assert facts["files"][name] == f"{ROOT}/{name}/__init__.py"
    assert facts["importable"] == ["the working directory"]
    assert facts["path"][-1] == str(folder)
    assert facts["arguments"] == ["tests.hpo.core.process.reporting", "mine_alone"]


def test_a_child_gives_the_users_variables_to_programs_that_it_starts(folder, monkeypatch):
    given = {"PYTHONPATH": "/somewhere:/else", "PYTHONWARNINGS": "error,ignore::UserWarning"}
    for name in [name for name in os.environ if name.startswith("PYTHON")]:
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    environment = children.environment()
    assert environment["PYTHONSAFEPATH"] == "1"
    assert environment["PYTHONWARNINGS"] == "ignore::UserWarning"
    done = started(children.own("tests.hpo.core.process.reporting"), folder, environment)
    facts = json.loads(done.stdout)
    assert facts["python"] == given
    assert "error" not in facts["actions"]
    assert facts["options"] == ["ignore::UserWarning"]


@pytest.mark.parametrize(
    ("option", "is_harmless"),
    [
        ("error", False), ("e", False), (" err ::UserWarning", False), ("error::Warning:numpy", False),
        ("ignore", True), ("default::DeprecationWarning", True), ("", True), ("once", True),
        ("ignore:error", True),
    ],
)  # fmt: skip
def test_options_of_warnings(option, is_harmless):
    assert children.is_harmless(option) is is_harmless


def modules():
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


STARTS = {
    "hpo/core/machine.py": "nvidia-smi",
    "hpo/doctor/machine.py": "nvidia-smi, and children.python",
    "hpo/jobs/run_command.py": "a skill's own command, and children.own",
    "hpo/tracking/server.py": "children.python",
    "trainer/multi_process.py": "children.command",
    "hpo/executors/child_call.py": "children.own",
    "hpo/jobs/processes.py": "a platform's command, by /bin/sh",
    "trainer/models/weight_facts.py": "children.command",
    "trainer/proposals.py": "children.command",
}
"""Every file that starts a process, and what."""


def calls(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            yield ast.unparse(node.func), node


def is_interpreter(node):
    return isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.executable"


def test_no_file_starts_python_in_a_way_of_its_own():
    starting, interpreters = set(), set()
    for path in modules():
        name, tree = str(path.relative_to(ROOT)), ast.parse(path.read_text())
        for function, _ in calls(tree):
            first, _, last = function.rpartition(".")
            is_start = first == "subprocess" or last in ("Popen", "get_context", "posix_spawn")
            is_start |= first == "os" and last.startswith(
                ("exec", "spawn", "system", "popen", "fork")
            )
            is_start |= first.split(".")[-1] in ("multiprocessing", "mp") or "ProcessPool" in last
            if is_start:
                starting.add(name)
        interpreters |= {name for node in ast.walk(tree) if is_interpreter(node)}
    assert starting == set(STARTS)
    own = {"hpo/core/process/children.py", "trainer/children.py"}
    # These start programs of the user's, which may import what lies beside them.
    assert interpreters == own | {"hpo/automl/command_trainer.py", "hpo/jobs/processes.py"}


def test_every_python_process_has_the_environment_of_children():
    for name in STARTS:
        text = (ROOT / name).read_text()
        words = ("children.own(", "children.python(", "children.command(")
        assert sum(map(text.count, words)) <= text.count("children.environment()"), name


def test_ray_is_started_in_one_file_and_its_workers_as_children():
    found = {
        str(path.relative_to(ROOT)): node
        for path in modules()
        if "ray.init" in (text := path.read_text())
        for function, node in calls(ast.parse(text))
        if function == "ray.init"
    }
    assert set(found) == {"hpo/executors/ray_start.py"}
    assert "**_worker_processes()" in ast.unparse(found["hpo/executors/ray_start.py"])
