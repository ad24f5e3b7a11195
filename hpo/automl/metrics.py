"""Finds a metric by name: its direction, and its value in logs."""

from __future__ import annotations

import re
from collections.abc import Iterable

from hpo.automl.errors import AutoMLError
from hpo.core.metric_direction import direction_of, name_words
from hpo.core.metric_values import family_of, plain_name
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
    names = (trainer.monitoring_metric, *published)
    return plain_name(name) in map(plain_name, names)


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
    for own in (name, *family_of(name)):
        literal = re.sub(r"[_/]", "[_/]", re.escape(own))
        found.append(rf"{literal}(?:_epoch|_step)?")
        if match := re.match(r"val[_/ ](.+)", own, re.IGNORECASE):
            rest = re.sub(r"[_/]", "[_/ ]", re.escape(match[1]))
            found.append(rf"validation\s+{rest}")
    return found + (["kpi"] if is_primary else [])
