"""Tells by a metric's name whether it is to grow, where nobody has said so."""

from __future__ import annotations

import re

from hpo.core.trial import Direction

_MINIMIZED = frozenset(
    {"loss", "latency", "runtime", "duration", "time", "cost", "flops", "params", "memory",
     "energy", "wer", "cer", "perplexity", "ppl", "error"}
)  # fmt: skip


def name_words(metric: str) -> set[str]:
    """The words that a metric's name is made of.

    Example: `valLoss_1` -> `{"val", "loss", ""}`.
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", metric)
    return set(re.split(r"[^a-z]+", spaced.lower()))


def direction_of(metric: str) -> Direction:
    """The direction of a metric of this name; of an unknown one, and of none, upwards."""
    is_less = bool(name_words(metric) & _MINIMIZED) or "loss" in metric.lower()
    return Direction.MINIMIZE if is_less else Direction.MAXIMIZE
