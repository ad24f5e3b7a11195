"""Runs to ask the verbs about, and the command line inside this process."""

import json
import shutil
import sys
import time

import pytest

from hpo.cli import main as cli
from hpo.cli.main import main
from hpo.core import event_json
from hpo.core.budget import Budget
from hpo.searching.session import start_search
from tests.hpo.cli import json_page
from tests.quick_runs import Ear, quick_study


@pytest.fixture(autouse=True)
def json_is_as_its_page_says(monkeypatch):
    """Hold what every verb prints here as JSON against the page about it."""
    run, to_text, asked = cli._run, event_json.strict_json, []

    def run_noting(args):
        asked[:] = [args]
        return run(args)

    def to_text_checked(data, indent=None):
        if indent and asked:  # a document; events have a line
            json_page.check(asked[0], data)
        return to_text(data, indent)

    monkeypatch.setattr(cli, "_run", run_noting)
    monkeypatch.setattr(event_json, "strict_json", to_text_checked)


@pytest.fixture
def hpo(capfd, monkeypatch, tmp_path):
    """Call `hpo ARGS` in an empty folder; returns (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    # As if MLflow were not installed: to import it and to make its store takes seconds.
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.setattr("hpo.tracking.mirror.CLOSE_ATTEMPTS", 1)

    def call(*argv):
        try:
            code = main([str(word) for word in argv])
        except SystemExit as end:
            code = end.code
        return code, *capfd.readouterr()

    return call


@pytest.fixture
def fails(hpo):
    """Call `hpo ARGS` that must be refused in one line with exit code 2; returns the line."""

    def call(*argv):
        code, out, err = hpo(*argv)
        assert (code, out) == (2, "")
        (line,) = err.splitlines()
        assert "Traceback" not in line
        return line

    return call


@pytest.fixture
def json_of(hpo):
    """Call `hpo ARGS --json` and read its answer."""

    def call(*argv):
        code, out, err = hpo(*argv, "--json")
        assert (code, err) == (0, "")
        return json.loads(out)

    return call


@pytest.fixture(scope="session")
def kept_runs(tmp_path_factory):
    """A finished search `first`, a failed trial in it, and a paused one `second`; never changed."""
    out = tmp_path_factory.mktemp("verbs") / "runs"
    spec = {"fault.kind": "raise@1:1"}
    first = quick_study(spec, budget=Budget(trials=4))
    from dataclasses import replace

    start_search(replace(first, name="first"), out, Ear().settings())
    time.sleep(1)  # runs are named by the second
    second = replace(quick_study(budget=Budget(trials=4)), name="second")
    start_search(second, out, Ear(stop_after=(1, 1)).settings())
    return out


@pytest.fixture
def runs(kept_runs, tmp_path):
    """A copy of the two runs in `runs/` of the working folder."""
    shutil.copytree(kept_runs, tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture
def first(runs):
    """The finished run."""
    return next((runs / "first").iterdir())


@pytest.fixture
def second(runs):
    """The paused run."""
    return next((runs / "second").iterdir())
