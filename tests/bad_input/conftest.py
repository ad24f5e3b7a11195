import os
import sys

import pytest

from tests.bad_input.judging import ask, judge, lay_out


@pytest.fixture
def answered(tmp_path, monkeypatch, capfd):
    """Judges one case in a folder of its own, as if MLflow were not installed: importing it takes seconds."""
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "mlflow", None)
    for name in [name for name in os.environ if name.startswith("AUTOML_")]:
        monkeypatch.delenv(name)  # a language model that other tests in this process ask
    desk = tmp_path / "desk"
    desk.mkdir()
    monkeypatch.chdir(desk)

    def run(case):
        for name, value in case.env.items():
            monkeypatch.setenv(name, value)
        lay_out(case, desk)
        return judge(case, ask(case.argv, capfd))

    return run
