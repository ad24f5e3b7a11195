"""Keys in the environment stay there: nothing of a run holds them."""

import pytest

from hpo.core.budget import Budget
from hpo.searching.session import start_search
from hpo.study.sections import SearchOptions
from tests.local_llm import MODEL, Endpoint
from tests.quick_runs import Ear, quick_study

KEYS = {
    "AUTOML_LLM_API_KEY": "sk-model-8c1f5d",
    "AWS_SECRET_ACCESS_KEY": "aws-77aa01bd",
    "WANDB_API_KEY": "wandb-31f0c9",
    "MLFLOW_TRACKING_PASSWORD": "mlflow-b00c44",
}


@pytest.fixture
def searched(tmp_path, monkeypatch):
    """A search by a language model with every key in the environment; its folder and what the model heard."""
    for name, key in KEYS.items():
        monkeypatch.setenv(name, key)
    endpoint = Endpoint()
    with endpoint.running() as address:
        monkeypatch.setenv("AUTOML_LLM_ENDPOINT", address)
        monkeypatch.setenv("AUTOML_LLM_MODEL", MODEL)
        study = quick_study(budget=Budget(trials=3), search=SearchOptions(algorithm="llm"))
        start_search(study, tmp_path, Ear().settings(report=True))
    return tmp_path, endpoint.requests


def test_no_file_of_a_run_holds_a_key(searched):
    folder, requests = searched
    assert any(KEYS["AUTOML_LLM_API_KEY"] in str(head) for _, head, _ in requests)  # it was in use
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {"ledger.db", "study.yaml", "events.ndjson", "report.html"} <= {
        path.name for path in files
    }
    for path in files:
        content = path.read_bytes()
        assert not [name for name, key in KEYS.items() if key.encode() in content], path
