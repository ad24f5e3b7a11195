"""Files with the names of modules, where somebody may have them."""

import pytest

from hpo.doctor.names import check_names
from tests.hpo.core.process.hostile import NAMES, ROOT, make_folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return tmp_path


def test_nothing_to_tell(here):
    (here / "my_script.py").touch()
    (here / "numpy_notes.py").touch()
    (here / "torch").mkdir()  # a folder without modules is imported in nobody's place
    (check,) = check_names()
    assert (check.name, check.status) == ("names", "ok")


def test_files_of_the_working_directory(here, monkeypatch):
    make_folder(here)
    monkeypatch.setenv("PYTHONPATH", f":{here}")  # once is enough
    (check,) = check_names()
    assert check.status == "warning"
    for name in NAMES:
        assert f"{name}.py (module {name})" in check.text
    assert f"in {here} (the working directory)" in check.text
    assert "mine_alone" not in check.text
    assert "rename" in check.advice


def test_packages_of_our_names_on_pythonpath(here, monkeypatch):
    elsewhere = here / "a"
    elsewhere.mkdir()
    make_folder(elsewhere)
    monkeypatch.setenv("PYTHONPATH", str(elsewhere / "elsewhere"))
    (check,) = check_names()
    for name in ("hpo", "trainer", "search_spaces"):
        assert f"{name}/ (module {name})" in check.text
    assert f"in {elsewhere}/elsewhere (on PYTHONPATH)" in check.text


def test_a_checkout_that_takes_the_place_of_a_package_is_told_as_that(here, monkeypatch):
    package = here / "src" / "timm"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (here / "src" / "queue.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(here / "src"))
    passed_over, used = check_names()
    assert "queue.py (module queue)" in passed_over.text
    assert "timm" not in passed_over.text
    assert "timm/ (module timm)" in used.text
    assert "is imported in place of what is installed" in used.text


def test_our_own_folder_is_no_fault(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    assert [check.status for check in check_names()] == ["ok"]


def test_a_folder_that_is_gone_is_passed_over(here, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(here / "gone"))
    assert [check.status for check in check_names()] == ["ok"]
