"""The published names: by opt-in, lazily, and never beside the original."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hpo.automl import alias

ROOT = Path(__file__).parents[3]


@pytest.fixture
def installed():
    alias.install()
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == alias.NAME]:
        del sys.modules[name]


def call(*words, cwd=None, path=""):
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(path), str(ROOT)]))}
    return subprocess.run(
        [sys.executable, *map(str, words)], capture_output=True, text=True, cwd=cwd, env=env,
        check=False,
    )  # fmt: skip


def test_nothing_of_that_name_is_there_by_itself():
    with pytest.raises(ModuleNotFoundError):
        __import__("tao_automl")


def test_the_published_imports_are_ours(installed):
    import tao_automl
    from tao_automl import AutoML, query_status
    from tao_automl.runner import AutoMLRunner

    import hpo

    assert (AutoML, query_status, AutoMLRunner) == (hpo.AutoML, hpo.query_status, hpo.AutoMLRunner)
    assert tao_automl.runner.AutoMLRunner is AutoMLRunner
    alias.install()
    with pytest.raises(AttributeError):
        _ = tao_automl.no_such_name


def test_an_unchanged_script_runs_by_the_module(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nimport tao_automl; from tao_automl.runner import AutoMLRunner\n"
        "print(AutoMLRunner.__module__, sys.argv[1:])\n"
    )
    found = call("-m", "hpo.automl.alias", script, "one", "two")
    assert found.stdout.split("\n")[0] == "hpo.automl.runner ['one', 'two']"
    assert call(script).returncode == 1
    assert call("-m", "hpo.automl.alias").returncode == 2


@pytest.mark.parametrize("kind", ["package", "distribution"])
def test_beside_the_original_it_refuses_in_one_line(tmp_path, kind):
    if kind == "package":
        (tmp_path / "tao_automl").mkdir()
        (tmp_path / "tao_automl/__init__.py").write_text("WHO = 'the original'\n")
    else:
        facts = tmp_path / "nvidia_tao_automl-1.0.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: nvidia-tao-automl\nVersion: 1.0\n"
        )
    (tmp_path / "script.py").write_text("print('not reached')")
    found = call("-m", "hpo.automl.alias", tmp_path / "script.py", path=tmp_path)
    assert (found.returncode, found.stdout) == (2, "")
    (line,) = found.stderr.strip().splitlines()
    assert "is installed" in line
    assert "import from hpo instead" in line
    code = "from hpo.automl import alias; alias.install()"
    assert "AliasError" in call("-c", code, path=tmp_path).stderr


def test_importing_hpo_is_cheap():
    code = (
        "import sys, hpo; heavy = {'yaml', 'optuna', 'numpy', 'hpo.automl.runner'} & set(sys.modules);"
        "assert not heavy, heavy; hpo.query_status('/nowhere');"
        "assert not {'optuna', 'ray', 'torch'} & set(sys.modules)"
    )
    found = call("-c", code)
    assert found.returncode == 0, found.stderr
