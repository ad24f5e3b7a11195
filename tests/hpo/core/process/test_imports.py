"""Our packages in a program of somebody else's."""

import shutil
import subprocess
import sys
import tomllib
import weakref
from pathlib import Path

import pytest

from hpo.core.process.imports import PACKAGES, import_apart
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


@pytest.fixture(scope="module")
def old_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("old")
    shutil.unpack_archive(ROOT / "tests" / "old_runs" / "version_0_2_0.tar.gz", folder)
    return folder / "version_0_2_0" / "finished"


@pytest.mark.parametrize(
    "words", ["status RUN", "best RUN", "why RUN 0", "report RUN", "ls", "space --plot space.html"]
)
def test_reading_a_run_with_warnings_as_errors(words, old_run, tmp_path):
    environment = variables(str(ROOT), PYTHONWARNINGS="error", HPO_TRAINER_MODULES="tests")
    named = [str(old_run) if word == "RUN" else word for word in words.split()]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "hpo.cli.main", *named], cwd=tmp_path,
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr


def test_loading_a_run_from_a_script_with_warnings_as_errors(old_run, tmp_path):
    code = (
        "import hpo, sys; study = hpo.load(sys.argv[1]); print(len(study.trials_dataframe()));"
        "study.plot_history(); study.plot_curves(); study.report(); print(study.best['trial'])"
    )
    environment = variables(str(ROOT), HPO_TRAINER_MODULES="tests")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(old_run)], cwd=tmp_path, env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "6"


def test_a_call_does_not_make_a_program_tell_again_what_it_tells_once():
    script = (
        "import warnings\n"
        "from hpo.core.process.imports import calls_stay_harmless\n"
        "@calls_stay_harmless\n"
        "class Called:\n"
        "    def call(self): warnings.warn('theirs')\n"
        "for _ in range(3):\n"
        "    warnings.warn('ours')\n"
        "    Called().call()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert [done.stderr.count(f"UserWarning: {word}") for word in ("ours", "theirs")] == [1, 1]


class Thing:
    """Something of whoever imports a module."""


def test_a_module_that_keeps_an_error_of_its_import_holds_nothing_of_who_imports_it(
    tmp_path, monkeypatch
):
    (tmp_path / "keeps_errors.py").write_text(
        "try:\n    import not_there_at_all\nexcept ImportError as error:\n    kept = error\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    def use():
        thing = Thing()
        import_apart("keeps_errors")
        return weakref.ref(thing)

    thing = use()
    assert sys.modules.pop("keeps_errors").kept.__traceback__ is not None
    assert thing() is None
    import_apart("not_there_at_all")  # told by who uses it
