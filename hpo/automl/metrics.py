"""Finds a metric by name: its direction, and its value in logs and tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from hpo.automl.errors import AutoMLError
from hpo.core.protocols import Trainer
from hpo.study.skill import Skill, load_skill

KPI = "kpi"
DEFAULT_METRIC = "loss"
"""What the published route optimizes where nothing is said."""

METRIC_NOT_FOUND = "metric not found"
MINIMIZE, MAXIMIZE = "minimize", "maximize"
_ERROR_LIKE = frozenset({"error", "perplexity", "mae", "mse", "rmse", "fid", "eer", "wer"})
_STATED = re.compile(r"^\W*Monitoring metric:?\W+(?P<name>\w.*?)\W*$", re.MULTILINE)
_NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|nan|inf(?:inity)?)"


def monitoring_metrics(skill: Skill, trainer: Trainer | None = None) -> list[str]:
    """Names of the metric that a model is judged by, the likeliest first; empty when it has none.

    They stand in the skill's metadata, else in its SKILL.md, else in the metadata that the
    registered trainer brings along.
    """
    places = [skill] if trainer is None else [skill, load_skill(trainer.skill_dir)]
    for place in places:
        if place.monitored:
            return place.monitored
        page = place.path / "SKILL.md"
        if page.is_file():
            found = _STATED.search(page.read_text(encoding="utf-8").replace("**", ""))
            if found:
                return [found["name"].strip()]
    return []


def resolve_metric(name: str, skill: Skill, trainer: Trainer | None = None) -> str:
    """Replace `kpi` by the model's own metric.

    Raises:
        AutoMLError: when the model defines none.
    """
    if name.strip().lower() != KPI:
        return name
    known = monitoring_metrics(skill, trainer)
    if not known:
        raise AutoMLError(
            f"metric: 'kpi' is the metric that the model defines, but {skill.path} defines none; "
            "name the metric itself"
        )
    return known[0]


def resolve_direction(metric: str, direction: str | None) -> tuple[str, str]:
    """Say whether a metric is to grow or to shrink.

    Returns:
        (`maximize` or `minimize`, a warning or an empty string).

    Raises:
        AutoMLError: for another explicit direction.
    """
    if direction:
        word = str(direction).strip().lower()
        if word not in (MINIMIZE, MAXIMIZE):
            raise AutoMLError(f"direction: must be minimize or maximize, got {direction!r}")
        return word, ""
    if "loss" in metric.lower():
        return MINIMIZE, ""
    words = set(re.split(r"[^a-z]+", metric.lower()))
    if words & _ERROR_LIKE:
        return MAXIMIZE, (
            f"metric {metric!r} sounds like an error but will be maximized, since only names with "
            "'loss' are minimized by themselves; pass direction='minimize' if that is meant"
        )
    return MAXIMIZE, ""


def is_monitored(name: str, trainer: Trainer, published: Iterable[str]) -> bool:
    """Whether a metric's name means the one that the trainer monitors."""
    return _plain(name) in {_plain(other) for other in (trainer.monitoring_metric, *published)}


def find_metric(metrics: Mapping[str, Any], name: str) -> float | None:
    """Look a metric up in a table: by its exact name, by its letters and digits, by its last part.

    A last part counts where it is unambiguous, so `loss` is found as `train_loss`.
    """
    for same in (lambda key: key == name, lambda key: _plain(key) == _plain(name)):
        hits = [value for key, value in metrics.items() if same(str(key))]
        if hits:
            return _number(hits[0])
    ends = [
        value
        for key, value in metrics.items()
        if re.search(rf"[^a-zA-Z0-9]{re.escape(name)}$", str(key), re.IGNORECASE)
    ]
    return _number(ends[0]) if len(ends) == 1 else None


def find_in_log(logs: str, name: str) -> float | None:
    """Return the last `name: value` or `name=value` of a log; None when there is none.

    The name is taken literally: it may hold blanks and signs. It must not be part of a longer word.
    """
    pattern = rf"(?<![\w./-])[\"']?{re.escape(name)}[\"']?\s*[:=]\s*({_NUMBER})(?![\w.])"
    hits = re.findall(pattern, logs, re.IGNORECASE)
    return float(hits[-1]) if hits else None


def _plain(name: str) -> str:
    """Letters and digits alone; the published label says `at Rank 1` for what is also `at 1`."""
    text = re.sub(r"[^a-z0-9]+", "", str(name).lower())
    return text.replace("atrank", "at")


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
