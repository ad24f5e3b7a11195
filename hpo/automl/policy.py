"""The AutoML policy of one run: an explicit value, else what the request says, else on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpo.automl.errors import AutoMLError
from hpo.automl.request_reading import read_request

POLICY = "automl_policy"
_TRUE, _FALSE = ("on", "auto", "true", "yes", "1"), ("off", "false", "no", "0")
_QUOTED = r"[\"'`\u2018\u2019\u201c\u201d\uff02]?"
_KEY = re.compile(
    rf"{_QUOTED}\bauto[\s_-]?ml[\s_-]?policy\b{_QUOTED}"
    r"(?P<sign>\s*[:=\uff1a\uff1d]\s*|\s+(?:(?:is|to|as|must|should|shall|be|set|not)\s+)*"
    r"|\s*(?:设为|设成|设置为|为|是|改为)\s*)"
    rf"{_QUOTED}(?P<value>[a-z0-9]+)\b{_QUOTED}",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"\b(?:not|n't|never|no|instead of|rather than)\b[^.;,!?]{0,24}$|(?:不要|别|不)[^。，]{0,8}$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Whether this run may become a search, and who said so."""

    is_on: bool
    source: str
    """`value`, `phrase` or `default`."""
    phrase: str = ""
    """The words of the request that decided."""
    unclear: str = ""
    """Words of the request that can be read both ways, where the default decided."""

    @property
    def shown(self) -> str:
        """`on` or `off`."""
        return "on" if self.is_on else "off"

    def describe(self) -> str:
        """One line for people."""
        if self.unclear:
            return (
                f"AutoML policy {self.shown}: the default, because {self.unclear!r} can be read "
                f"both ways; say {POLICY}: off for one plain training"
            )
        if self.phrase:
            return f"AutoML policy {self.shown}: the request says {self.phrase!r}"
        reason = f"{POLICY} was given" if self.source == "value" else "the default"
        return f"AutoML policy {self.shown}: {reason}"


def resolve_policy(value: Any = None, request: str = "") -> Policy:
    """Resolve the policy of one run.

    An explicit value beats an `automl_policy` in the request, which beats its other words, which
    beat the default.

    Args:
        value: `on` or `off`, or the booleans that YAML makes of them; `auto` is an older word for
            the default.
        request: the user's words. The last that decide win; denied ones decide nothing.

    Raises:
        AutoMLError: for another value.
    """
    if value is not None:
        return _from_value(value)
    text = request
    key: Policy | None = None
    for match in _KEY.finditer(request):
        stated = _stated(match, request)
        key = stated or key
        text = text[: match.start()] + " " * len(match[0]) + text[match.end() :]
    if key is not None:
        return key
    said = read_request(text)
    if said.is_on is None:
        return Policy(is_on=True, source="default", unclear=said.unclear)
    return Policy(is_on=said.is_on, source="phrase", phrase=said.phrase)


def without_policy(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Settings or spec keys of a search without the policy, which is none of them.

    Args:
        given: by name.
        where: names them in a message.

    Raises:
        AutoMLError: where the policy is off; what asks for a search outright is not turned into
            one plain training.
    """
    if POLICY in given:
        value = given[POLICY]
        if not resolve_policy("" if value is None else value).is_on:
            raise AutoMLError(
                f"{where}.{POLICY}: off asks for one plain training, and this call is a search; "
                "leave it out, or call LocalJobs().create_job('train', ...) or `hpo automl`"
            )
    return {key: value for key, value in given.items() if key != POLICY}


def _from_value(value: Any, phrase: str = "") -> Policy:
    word = str(value).strip().lower()
    if word not in _TRUE + _FALSE:
        raise AutoMLError(f"{POLICY}: must be on or off, got {value!r}")
    return Policy(is_on=word in _TRUE, source="value", phrase=phrase)


def _stated(match: re.Match[str], request: str) -> Policy | None:
    """The policy of a key in a request; None where it is denied, or where prose follows."""
    value, sign = match["value"], match["sign"].strip()
    is_known = value.lower() in _TRUE + _FALSE
    is_denied = "not" in sign.lower().split() or _DENIED.search(request[: match.start()].lower())
    if is_denied or not (is_known or sign in (":", "=", "\uff1a", "\uff1d")):
        return None
    return _from_value(value, " ".join(match[0].split()))
