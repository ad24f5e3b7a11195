import gc
import json
import re
import time

import pytest

from hpo.algorithms.llm_client import LLM_OPTIONS, LlmClient, LlmError, make_client
from hpo.algorithms.options import resolve_options
from hpo.core.errors import SpecError
from tests.local_llm import Endpoint

KEY = "sk-very-secret-0123456789"


def client(address, **more):
    return LlmClient(**({"endpoint": address, "model": "m", "api_key": KEY, "timeout_s": 5} | more))


def ask(reply, **more):
    with Endpoint(lambda question: reply).running() as address:
        return client(address, **more).ask_json("system", "question")


def content(text):
    return json.dumps({"choices": [{"message": {"content": text}}]}).encode()


def test_the_request_is_a_chat_completion():
    endpoint = Endpoint(lambda question: {"a": 1})
    with endpoint.running() as address:
        assert client(address + "/").ask_json("be brief", "how?") == {"a": 1}
    path, headers, body = endpoint.requests[0]
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert body["model"] == "m"
    assert body["temperature"] == 0
    assert [(m["role"], m["content"]) for m in body["messages"]] == [
        ("system", "be brief"), ("user", "how?"),
    ]  # fmt: skip


def test_without_a_key_no_header_is_sent():
    endpoint = Endpoint(lambda question: {"a": 1})
    with endpoint.running() as address:
        client(address, api_key=None).ask_json("s", "q")
    assert "Authorization" not in endpoint.requests[0][1]


@pytest.mark.parametrize(
    "text",
    ['{"a": {"b": 2}}', 'Sure: {"a": {"b": 2}} as you wish', '```json\n{"a": {"b": 2}}\n```'],
)
def test_the_object_is_found_among_words(text):
    assert ask(content(text)) == {"a": {"b": 2}}


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (401, "refused with HTTP 401"),
        (500, "refused with HTTP 500"),
        (302, "refused with HTTP 302"),
        (b"", "did not answer in JSON"),
        (b"<html>", "did not answer in JSON"),
        (b'{"error": "no"}', "answered without a message"),
        (content("I would rather not."), "no JSON object in the answer"),
        (content('{"a": '), "no JSON object in the answer"),
    ],
)
def test_what_is_no_answer_is_one_line_without_the_key(reply, said):
    with pytest.raises(LlmError, match=re.escape(said)) as caught:
        ask(reply)
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings(
    "error::ResourceWarning", "error::pytest.PytestUnraisableExceptionWarning"
)
def test_a_refusal_leaves_no_connection_open():
    with pytest.raises(LlmError, match="refused with HTTP 500"):
        ask(500)
    gc.collect()


def test_a_dead_endpoint_is_one_line():
    with pytest.raises(LlmError, match=r"language model m at http://127\.0\.0\.1:9/v1: .*refused"):
        client("http://127.0.0.1:9/v1").ask_json("s", "q")


def test_a_slow_endpoint_is_given_up():
    def slow(question):
        time.sleep(1.5)
        return {"a": 1}

    with Endpoint(slow).running() as address, pytest.raises(LlmError, match="timed out"):
        client(address, timeout_s=0.2).ask_json("s", "q")


def test_a_key_shows_in_no_form_of_the_client():
    assert KEY not in repr(client("http://x/v1"))


@pytest.fixture
def _bare(monkeypatch):
    for option in LLM_OPTIONS:
        for name in option.env:
            monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("_bare")
def test_options_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("NVIDIA_API_KEY", "general")
    monkeypatch.setenv("AUTOML_LLM_MODEL", "m")
    made = make_client(resolve_options("llm", LLM_OPTIONS, {"base_url": "http://here/v1"}))
    assert (made.endpoint, made.model, made.api_key) == ("http://here/v1", "m", "general")
    monkeypatch.setenv("AUTOML_LLM_API_KEY", "own")
    assert make_client(resolve_options("llm", LLM_OPTIONS, {})).api_key == "own"


@pytest.mark.usefixtures("_bare")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "llm_model: the name of a language model must be given"),
        ({"llm_endpoint": "ftp://x", "llm_model": "m"}, "must begin with http://"),
    ],
)
def test_a_model_and_an_address_are_needed(given, said):
    with pytest.raises(SpecError, match=said):
        make_client(resolve_options("llm", LLM_OPTIONS, given))
