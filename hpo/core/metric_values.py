"""Reads the values of metrics in a table: by name, and as finite numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any


def find_metric(metrics: Mapping[str, Any], name: str) -> float | None:
    """Look a metric up in a table: by its exact name, by its letters and digits, by its last part.

    A last part counts where it is unambiguous, so `loss` is found as `train_loss`. Booleans and
    what is not finite are no values.
    """
    numbers = numbers_of(metrics)
    same = _same_names(name)
    for fits in (
        lambda key: key == name,
        lambda key: plain_name(key) == plain_name(name),
        lambda key: plain_name(key) in same,
    ):
        hits = [value for key, value in numbers.items() if fits(key)]
        if hits:
            return hits[0]
    ends = [
        value
        for key, value in numbers.items()
        if re.search(rf"[^a-zA-Z0-9]{re.escape(name)}$", key, re.IGNORECASE)
    ]
    return ends[0] if len(ends) == 1 else None


_FAMILIES = (
    ("mAP", "val_mAP", "val mAP"),
    ("latency", "latency_ms", "avg_latency", "mean_latency", "avg_latency_ms", "mean_latency_ms",
     "runtime", "duration"),
)  # fmt: skip
"""Names that trainers use for one thing."""


def family_of(name: str) -> tuple[str, ...]:
    """Names of the same thing as this one, it among them; none where it is called one way."""
    plain = plain_name(name)
    return next((f for f in _FAMILIES if plain in {plain_name(other) for other in f}), ())


def _same_names(name: str) -> set[str]:
    """Other names of a metric, by their letters and digits."""
    names = {f"{own}{end}" for own in (name, *family_of(name)) for end in ("", "_epoch", "_step")}
    short = re.sub(r"(_epoch|_step)$", "", name)
    return {plain_name(other) for other in {*names, short}}


def plain_name(name: str) -> str:
    """Letters and digits alone; the published label says `at Rank 1` for what is also `at 1`."""
    text = re.sub(r"[\W_]+", "", str(name).casefold())
    return text.replace("atrank", "at")


def numbers_of(table: Any) -> dict[str, float]:
    """The finite numbers of a table by their names; none of what is no table."""
    rows = table.items() if isinstance(table, Mapping) else ()
    return {str(key): n for key, value in rows if (n := number_of(value)) is not None}


def number_of(value: Any) -> float | None:
    """A finite number, or None: booleans, NaN and infinity are no values of a metric."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
