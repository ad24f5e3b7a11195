import subprocess
import sys

import pytest

from hpo.core.errors import SpecError
from hpo.core.trainers import find_trainer
from tests.quick_trainer import NAME, TRAINER


def test_a_module_and_attribute_need_no_installation():
    assert find_trainer(NAME) is TRAINER


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(
        SpecError, match=r"no trainer is registered as 'ml_recgo' \(registered: .*\)"
    ):
        find_trainer("ml_recgo")


@pytest.mark.parametrize(
    "name",
    ["no_such_module:TRAINER", "tests.quick_trainer:NOTHING", "tests.quick_trainer:", ":TRAINER",
     "no such:thing", "a:b:c"],
)  # fmt: skip
def test_a_trainer_that_cannot_be_imported_is_the_users_matter(name):
    with pytest.raises(SpecError, match="trainer: .*cannot be imported") as caught:
        find_trainer(name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_a_trainer_that_breaks_while_it_is_imported_is_a_bug(tmp_path, monkeypatch):
    (tmp_path / "broken_trainer.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ZeroDivisionError):
        find_trainer("broken_trainer:TRAINER")


def test_the_real_trainer_is_found_without_torch():
    code = (
        "import sys; from hpo.core.trainers import find_trainer; t = find_trainer('ml_recog');"
        "print(t.name, t.direction, 'torch' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    if "no trainer is registered" in found.stderr:
        pytest.skip("the package is not installed, so its entry points are not known")
    assert found.stdout == "ml_recog maximize False\n", found.stderr
