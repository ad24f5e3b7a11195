"""Finds a metric by name: its direction, and its value in logs and tables."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from hpo.automl.errors import AutoMLError
from hpo.core.metric_direction import direction_of, name_words
from hpo.core.protocols import Trainer
from hpo.core.text import uncoloured
from hpo.core.trial import Direction
from hpo.study.skill import Skill, load_skill

KPI = "kpi"
DEFAULT_METRIC = "loss"
"""What the published route optimizes where nothing is said."""

METRIC_NOT_FOUND = "metric not found"
MINIMIZE, MAXIMIZE = "minimize", "maximize"
_ERROR_LIKE = frozenset({"mae", "mse", "rmse", "fid", "eer"})
"""Words of names that sound like errors, and are maximized all the same."""
_STATED = re.compile(r"^\W*Monitoring metric:?\W+(?P<name>\w.*?)\W*$", re.MULTILINE)
_NUMBER = r"[-+]?(?:(?:\d+\.\d*|\d+(?!,\d)|\.\d+)(?:[eE][-+]?\d+)?|nan|inf(?:inity)?)"
"""A whole number with a comma and digits behind it is the beginning of another one."""


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
    if direction_of(metric) is Direction.MINIMIZE:
        return MINIMIZE, ""
    if name_words(metric) & _ERROR_LIKE:
        return MAXIMIZE, (
            f"metric {metric!r} sounds like an error but will be maximized, as none of its words "
            "is minimized by itself; pass direction='minimize' if that is meant"
        )
    return MAXIMIZE, ""


def is_monitored(name: str, trainer: Trainer, published: Iterable[str]) -> bool:
    """Whether a metric's name means the one that the trainer monitors."""
    return _plain(name) in {_plain(other) for other in (trainer.monitoring_metric, *published)}


def find_metric(metrics: Mapping[str, Any], name: str) -> float | None:
    """Look a metric up in a table: by its exact name, by its letters and digits, by its last part.

    A last part counts where it is unambiguous, so `loss` is found as `train_loss`. Booleans and
    what is not finite are no values.
    """
    numbers = numbers_of(metrics)
    same = _same_names(name)
    for fits in (
        lambda key: key == name,
        lambda key: _plain(key) == _plain(name),
        lambda key: _plain(key) in same,
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


def find_in_log(logs: str, name: str, *, is_primary: bool = True) -> float | None:
    """Return the last value of a metric in a log; None when there is none.

    A line may spell it `name: value` or `name=value`, with `best` before and `_epoch` or `_step`
    behind, `a/b` for `a_b`, and `Validation x` for `val_x`; `kpi: value` stands for the primary
    metric. The name must not be part of a longer word, so `loss` is not found in `loss_scale`.

    Args:
        logs: all that a job has printed.
        name: taken literally: it may hold blanks and signs.
        is_primary: whether it is the metric that trials are judged by.
    """
    names = "|".join(dict.fromkeys(_spellings(name, is_primary=is_primary)))
    pattern = (
        rf"(?<![\w./-])[\"']?(?:best\s+)?(?:{names})[\"']?\s*[:=]\s*[\"']?({_NUMBER})"
        r"(?!\w|\.\w)"
    )
    hits = re.findall(pattern, uncoloured(logs), re.IGNORECASE)
    return float(hits[-1]) if hits else None


def _spellings(name: str, *, is_primary: bool) -> list[str]:
    """Patterns of all that a log may call a metric."""
    found = []
    for own in (name, *_family(name)):
        literal = re.sub(r"[_/]", "[_/]", re.escape(own))
        found.append(rf"{literal}(?:_epoch|_step)?")
        if match := re.match(r"val[_/ ](.+)", own, re.IGNORECASE):
            rest = re.sub(r"[_/]", "[_/ ]", re.escape(match[1]))
            found.append(rf"validation\s+{rest}")
    return found + (["kpi"] if is_primary else [])


_FAMILIES = (
    ("mAP", "val_mAP", "val mAP"),
    ("latency", "latency_ms", "avg_latency", "mean_latency", "avg_latency_ms", "mean_latency_ms",
     "runtime", "duration"),
)  # fmt: skip
"""Names that trainers use for one thing."""


def _family(name: str) -> tuple[str, ...]:
    plain = _plain(name)
    return next((f for f in _FAMILIES if plain in {_plain(other) for other in f}), ())


def _same_names(name: str) -> set[str]:
    """Other names of a metric, by their letters and digits."""
    names = {f"{own}{end}" for own in (name, *_family(name)) for end in ("", "_epoch", "_step")}
    short = re.sub(r"(_epoch|_step)$", "", name)
    return {_plain(other) for other in {*names, short}}


def _plain(name: str) -> str:
    """Letters and digits alone; the published label says `at Rank 1` for what is also `at 1`."""
    text = re.sub(r"[^a-z0-9]+", "", str(name).lower())
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
