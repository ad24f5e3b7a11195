"""One finished search of the quick trainer, and what is read from it."""

import pytest

from hpo.core.budget import parse_budget
from hpo.report.run_data import load_run_data
from hpo.searching.session import start_search
from hpo.searching.settings import SearchSettings
from tests.quick_runs import quick_study


@pytest.fixture(scope="package")
def searched(tmp_path_factory):
    """A search of 16 trials, three of which are planted failures."""
    study = quick_study({"fault.kind": "raise@3:2 nan@5:1 raise@6:1"}, budget=parse_budget("16"))
    settings = SearchSettings(executor="inprocess", report=True)
    return start_search(study, tmp_path_factory.mktemp("runs"), settings)


@pytest.fixture(scope="package")
def facts(searched):
    return load_run_data(searched.run)
