"""Parses limits on a model's cost: `--max-latency 5ms`, `--max-params 30M`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpo.core.errors import SpecError
from hpo.core.text import told_apart

_LATENCY = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s)")
_COUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([kmb]?)", re.IGNORECASE)
_TIMES = {"": 1, "k": 1e3, "m": 1e6, "b": 1e9}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLimits:
    """What a model may cost; None is no limit."""

    latency_ms: float | None = None
    params: float | None = None

    def __bool__(self) -> bool:
        return self.latency_ms is not None or self.params is not None

    def broken_by(self, cost: Mapping[str, Any]) -> str:
        """Say which limit a measured architecture is beyond; empty if none."""
        if self.latency_ms is not None and cost["latency_ms"] > self.latency_ms:
            took, most = told_apart(cost["latency_ms"], self.latency_ms)
            return f"a picture takes {took} ms, the limit is {most} ms"
        if self.params is not None and cost["params"] > self.params:
            has, most = render_count(cost["params"]), render_count(self.params)
            if has == most:
                has, most = f"{cost['params']:,}", f"{self.params:,.0f}"
            return f"{has} parameters, the limit is {most}"
        return ""


def parse_limits(max_latency: str, max_params: str) -> ModelLimits:
    """Read `5ms` or `0.1s`, and `30M`, `500k` or a plain number; empty is no limit.

    Raises:
        SpecError: for anything else.
    """
    latency = _LATENCY.fullmatch(max_latency.strip()) if max_latency else None
    if max_latency and (latency is None or float(latency[1]) == 0):
        raise SpecError(f"max_latency: must be a time such as 5ms or 0.1s, got {max_latency!r}")
    count = _COUNT.fullmatch(max_params.strip()) if max_params else None
    if max_params and (count is None or float(count[1]) == 0):
        raise SpecError(f"max_params: must be a number such as 30M or 500k, got {max_params!r}")
    return ModelLimits(
        latency_ms=float(latency[1]) * (1000 if latency[2] == "s" else 1) if latency else None,
        params=float(count[1]) * _TIMES[count[2].lower()] if count else None,
    )


def render_count(count: float) -> str:
    """A number of parameters for people: `11.2M`, `372k`."""
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= 0.9995 * size:  # which is rounded up
            return f"{count / size:.3g}{unit}"
    return f"{count:g}"
