"""The algorithms that ask a language model ask one on this machine."""

import os

import pytest

from tests.local_llm import MODEL, Endpoint


@pytest.fixture(scope="session", autouse=True)
def _language_model():
    with Endpoint().running() as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOML_LLM_ENDPOINT", address)
        patch.setenv("AUTOML_LLM_MODEL", MODEL)
        for name in [name for name in os.environ if name.startswith("AUTOML_LLM_ANALYZER")]:
            patch.delenv(name)
        yield
