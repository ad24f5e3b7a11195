"""Several objectives of one search: reads them, makes one score of them, finds the Pareto front.

With several objectives the search maximizes their score, the weighted sum
`sum(sign * weight * value / scale)` with sign -1 for what is minimized. With one the score is its
value, in its own direction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hpo.automl.errors import AutoMLError
from hpo.automl.metrics import MAXIMIZE, MINIMIZE, resolve_direction
from hpo.core.text import nearest
from hpo.core.trial import Direction

SCORE = "objective_score"
"""Name of the score among the metrics of a trial."""
_GENERIC = ("metric", "metric_value", "value", "score")
"""Keys of a reported mapping that stand for the primary objective."""
_FIELDS = ("metric", "direction", "weight", "scale")
_KEYS = (*_FIELDS, "name")
_MAIN = ("metric", "direction", "metric_weight", "metric_scale")
_LATENCY = tuple(f"latency_{key}" for key in _FIELDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """One thing to optimize."""

    metric: str
    direction: str
    """`maximize` or `minimize`."""
    weight: float = 1.0
    scale: float = 1.0
    """Size of a difference that counts as much as a weight of 1."""

    @property
    def sign(self) -> float:
        """1.0 for what is to grow, -1.0 for what is to shrink."""
        return Direction(self.direction).sign


@dataclass(frozen=True, slots=True)
class Objectives:
    """What a search optimizes; the first is the primary one.

    Example: accuracy, and latency with weight 0.5 and scale 10: values 0.9 and 20 score
        `0.9 - 0.5 * 20 / 10`, which is -0.1.
    """

    items: tuple[Objective, ...]

    @property
    def primary(self) -> Objective:
        """The objective by which trials are stopped early, and whose value is a trial's metric."""
        return self.items[0]

    @property
    def is_several(self) -> bool:
        """Whether there is more than one."""
        return len(self.items) > 1

    @property
    def names(self) -> tuple[str, ...]:
        """The metrics, the primary one first."""
        return tuple(item.metric for item in self.items)

    @property
    def direction(self) -> str:
        """Where the score is to go."""
        return MAXIMIZE if self.is_several else self.primary.direction

    def score(self, values: Mapping[str, float]) -> float:
        """The score of a value for every objective."""
        if not self.is_several:
            return float(values[self.primary.metric])
        return sum(
            item.sign * item.weight * float(values[item.metric]) / item.scale for item in self.items
        )

    def missing(self, values: Mapping[str, Any]) -> list[str]:
        """Objectives without a value."""
        return [name for name in self.names if values.get(name) is None]

    def names_any(self, answer: Mapping[str, Any]) -> bool:
        """Whether a caller's mapping names any objective, also where its value is None."""
        return any(name in answer for name in (*self.names, *_GENERIC))

    def named(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """A mapping that a caller gave, by the names of objectives; others are left out."""
        found = {name: answer[name] for name in self.names if name in answer}
        generic = next((answer[key] for key in _GENERIC if answer.get(key) is not None), None)
        if generic is not None:
            found.setdefault(self.primary.metric, generic)
        return found

    def to_list(self) -> list[dict[str, Any]]:
        """Plain data."""
        return [asdict(item) for item in self.items]


def from_list(rows: Iterable[Mapping[str, Any]]) -> Objectives:
    """Read what `to_list` wrote."""
    return Objectives(tuple(Objective(**row) for row in rows))


def read_objectives(
    settings: Mapping[str, Any], given: Iterable[str], resolve: Callable[[str], str]
) -> tuple[Objectives, list[str]]:
    """Read the objectives of the settings.

    Args:
        settings: complete, by their own names.
        given: those that the caller gave.
        resolve: replaces `kpi` by the model's own metric.

    Returns:
        The objectives, and warnings.

    Raises:
        AutoMLError: for all that is wrong with them, at once.
    """
    given = set(given)
    listed = settings.get("objectives")
    problems: list[str] = []
    warnings: list[str] = []
    rows: list[Any] = [_row(settings, _MAIN)] if listed is None else list(listed)
    if not rows:
        problems.append("objectives: must name at least one, got an empty list")
    found = [_read(row, place, problems, warnings, resolve) for place, row in enumerate(rows)]
    names = [item.metric for item in found if item is not None]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        warnings.append(f"objectives: {', '.join(twice)}: is named more than once, and counts once")
    items = _first_of_each([item for item in found if item is not None])
    if settings["multi_objective"]:
        row = _row(settings, _LATENCY)
        latency = _read(row, "latency", problems, [], lambda name: name)
        items = _first_of_each([*items, latency]) if latency else items
    elif own := sorted(name for name in given if name.startswith("latency_")):
        warnings.append(f"{', '.join(own)}: has no effect without multi_objective")
    own = sorted(given & {"metric_weight", "metric_scale"})
    if own and listed is not None:
        warnings.append(f"{', '.join(own)}: has no effect beside objectives, which have their own")
    elif own and not settings["multi_objective"]:
        warnings.append(f"{', '.join(own)}: has no effect with a single objective")
    if listed is not None:
        _demand_no_other(settings, given, items, problems, resolve)
    if problems:
        raise AutoMLError("; ".join(f"automl_settings.{problem}" for problem in problems))
    return Objectives(tuple(items)), warnings


def _row(settings: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """An objective that is given by four settings."""
    return {key: settings[name] for key, name in zip(_FIELDS, names, strict=True)}


def _first_of_each(items: Sequence[Objective]) -> list[Objective]:
    """Each metric once, as it was named first."""
    kept: dict[str, Objective] = {}
    for item in items:
        kept.setdefault(item.metric, item)
    return list(kept.values())


def _read(
    row: Any,
    place: int | str,
    problems: list[str],
    warnings: list[str],
    resolve: Callable[[str], str],
) -> Objective | None:
    """One objective, or None where something is wrong with it."""
    where, before = f"objectives[{place}]", len(problems)
    facts = {"metric": row} if isinstance(row, str) else row
    if not isinstance(facts, Mapping):
        problems.append(f"{where}: must be a name or a mapping, got {row!r}")
        return None
    for key in facts:
        if key not in _KEYS:
            problems.append(f"{where}.{key}: no such key{nearest(str(key), _KEYS)}")
    name = facts.get("metric", facts.get("name"))
    if not isinstance(name, str) or not name.strip():
        problems.append(f"{where}.metric: must be a name, got {name!r}")
    weight = _number(facts.get("weight", 1.0), f"{where}.weight", problems, least="at least 0")
    scale = _number(facts.get("scale", 1.0), f"{where}.scale", problems, least="above 0")
    word = str(facts.get("direction") or "").strip().lower()
    if word not in ("", MINIMIZE, MAXIMIZE):
        problems.append(f"{where}.direction: must be minimize or maximize, got {word!r}")
    if len(problems) > before:
        return None
    metric = resolve(str(name).strip())
    direction, warning = resolve_direction(metric, word)
    warnings += [warning] if warning else []
    return Objective(metric=metric, direction=direction, weight=weight, scale=scale)


def _number(value: Any, where: str, problems: list[str], *, least: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        problems.append(f"{where}: must be a finite number, got {value!r}")
        return 1.0
    if value < 0 or (value == 0 and least == "above 0"):
        problems.append(f"{where}: must be {least}, got {value!r}")
    return float(value)


def _demand_no_other(
    settings: Mapping[str, Any],
    given: set[str],
    items: Sequence[Objective],
    problems: list[str],
    resolve: Callable[[str], str],
) -> None:
    """Refuse a metric or a direction that the list of objectives contradicts."""
    named = {item.metric: item for item in items}
    if not items or not given & {"metric", "direction"}:
        return
    metric = resolve(settings["metric"]) if "metric" in given else items[0].metric
    if metric not in named:
        problems.append(f"metric: {metric!r} is none of the objectives ({', '.join(named)})")
    elif settings["direction"] and settings["direction"].lower() != named[metric].direction:
        problems.append(
            f"direction: {settings['direction']!r} contradicts that of the objective {metric!r}, "
            f"{named[metric].direction}; give it there"
        )


def pareto_front(
    rows: Sequence[Mapping[str, Any]], objectives: Objectives
) -> list[Mapping[str, Any]]:
    """Those rows that no other is at least as good as in every objective and better in one.

    Args:
        rows: each with `rec_id` and `objective_values`; those without a value are left out.
        objectives: what counts.

    Returns:
        The front in order of `rec_id`.
    """
    points = {
        row["rec_id"]: tuple(
            item.sign * row["objective_values"][item.metric] for item in objectives.items
        )
        for row in rows
        if not objectives.missing(row["objective_values"])
    }

    best: list[tuple[float, ...]] = []
    for own in sorted(set(points.values()), reverse=True):  # what beats a point comes before it
        # Of two objectives the second grows along the front, so its newest point has the most.
        rivals = best[-1:] if len(own) == 2 else best
        if not any(all(a >= b for a, b in zip(other, own, strict=True)) for other in rivals):
            best.append(own)
    unbeaten = set(best)
    front = [row for row in rows if points.get(row["rec_id"]) in unbeaten]
    return sorted(front, key=lambda row: int(row["rec_id"]))
