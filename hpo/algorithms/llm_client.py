"""Client for OpenAI-compatible chat endpoints, on the standard library alone.

The key is sent in one header and appears nowhere else: not in messages, logs, events or files.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hpo.algorithms.options import Option
from hpo.core.errors import HpoError, SpecError

_DEFAULT_ENDPOINT = "https://integrate.api.nvidia.com/v1"
_LONGEST_ANSWER = 1_000_000
"""Bytes; what is longer is no answer."""

LLM_OPTIONS = (
    Option(
        name="llm_endpoint",
        kind=str,
        default=_DEFAULT_ENDPOINT,
        aliases=("base_url",),
        env=("AUTOML_LLM_ENDPOINT",),
        help="address of an OpenAI-compatible endpoint, up to /v1",
    ),
    Option(
        name="llm_model",
        kind=str,
        aliases=("model",),
        env=("AUTOML_LLM_MODEL",),
        help="name of the model at that endpoint",
    ),
    Option(
        name="llm_api_key",
        kind=str,
        aliases=("api_key",),
        env=("AUTOML_LLM_API_KEY", "NVIDIA_API_KEY"),
        is_secret=True,
        help="key of the endpoint, from the environment alone; never printed or stored",
    ),
    Option(
        name="llm_temperature",
        kind=float,
        default=0.0,
        route_default=0.7,
        low=0.0,
        high=2.0,
        env=("AUTOML_LLM_TEMPERATURE",),
        help="how freely the model answers; 0 is most alike from call to call",
    ),
    Option(
        name="llm_max_tokens",
        route_default=4096,
        low=1,
        env=("AUTOML_LLM_MAX_TOKENS",),
        help="longest answer, in tokens; none leaves it to the endpoint",
    ),
    Option(
        name="llm_timeout_s",
        kind=float,
        default=60.0,
        route_default=120.0,
        env=("AUTOML_LLM_TIMEOUT",),
        low=0.1,
        help="seconds to wait for an answer",
    ),
    Option(
        name="llm_max_failures",
        default=3,
        env=("AUTOML_LLM_MAX_RETRIES",),
        low=0,
        help="failed calls in a row that tpe stands in for, each told; one more ends the search",
    ),
)


class LlmError(HpoError):
    """A call to a language model failed, or its answer cannot be used."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Refuses to carry the key to another address."""

    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        """Follow nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmClient:
    """One model behind one endpoint.

    Example: `LlmClient(endpoint="http://127.0.0.1:8000/v1", model="m").ask_json("Answer in JSON",
    "...")` -> the object that the model answered with.
    """

    endpoint: str
    model: str
    api_key: str | None = field(default=None, repr=False)
    timeout_s: float = 60.0
    temperature: float = 0.0
    max_tokens: int | None = None

    def ask_json(self, system: str, user: str) -> dict[str, Any]:
        """Return the JSON object in the model's answer.

        Raises:
            LlmError: when the endpoint does not answer, refuses, or answers with something else.
        """
        answer = self._post({
            "model": self.model,
            "messages": [
                {"role": "system", "content": system}, {"role": "user", "content": user},
            ],
            "temperature": self.temperature,
            **({} if self.max_tokens is None else {"max_tokens": self.max_tokens}),
        })  # fmt: skip
        try:
            text = answer["choices"][0]["message"]["content"]
        except (KeyError, IndexError, TypeError) as error:
            raise LlmError(f"{self._place}: answered without a message") from error
        return self._object_in(str(text))

    @property
    def _place(self) -> str:
        return f"language model {self.model} at {self.endpoint}"

    def _post(self, body: Mapping[str, Any]) -> Any:
        headers = {"Content-Type": "application/json"}
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        request = urllib.request.Request(  # noqa: S310 - the scheme is checked in `make_client`
            self.endpoint.rstrip("/") + "/chat/completions",
            data=json.dumps(body).encode(),
            headers=headers,
        )
        opener = urllib.request.build_opener(_NoRedirects)
        try:
            with opener.open(request, timeout=self.timeout_s) as response:
                return json.loads(response.read(_LONGEST_ANSWER))
        except urllib.error.HTTPError as error:
            error.close()  # it holds the connection
            raise LlmError(f"{self._place}: refused with HTTP {error.code}") from None
        except json.JSONDecodeError:
            raise LlmError(f"{self._place}: did not answer in JSON") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise LlmError(f"{self._place}: {self._without_key(str(reason))}") from None

    def _object_in(self, text: str) -> dict[str, Any]:
        """Find the object in an answer that may have words or a fence around it."""
        start = text.find("{")
        try:
            found, _ = json.JSONDecoder().raw_decode(text[start:]) if start >= 0 else (None, 0)
        except json.JSONDecodeError:
            found = None
        if not isinstance(found, dict):
            raise LlmError(f"{self._place}: no JSON object in the answer")
        return found

    def _without_key(self, text: str) -> str:
        return text.replace(self.api_key, "***") if self.api_key else text


def make_client(options: Mapping[str, Any]) -> LlmClient:
    """Make a client of an algorithm's options.

    Raises:
        SpecError: when the model is not named, or the address is none.
    """
    endpoint, model = options["llm_endpoint"], options["llm_model"]
    if not str(endpoint).startswith(("http://", "https://")):
        raise SpecError(f"llm_endpoint: must begin with http:// or https://, got {endpoint!r}")
    if not model:
        raise SpecError(
            "search.algorithm_options.llm_model: the name of a language model must be given, and "
            "there is no default; set AUTOML_LLM_MODEL, or --algorithm-option llm_model=NAME, to "
            f"one that {endpoint} serves (AUTOML_LLM_ENDPOINT names another server, "
            "AUTOML_LLM_API_KEY holds the key)"
        )
    return LlmClient(
        endpoint=endpoint,
        model=model,
        api_key=options["llm_api_key"],
        timeout_s=options["llm_timeout_s"],
        temperature=options.get("llm_temperature") or 0.0,
        max_tokens=options.get("llm_max_tokens"),
    )
