"""Charts of parameters: importance, parallel coordinates, value against each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from hpo.core.text import count_of
from hpo.core.trial import TrialRecord, TrialState
from hpo.report.charts import (
    CATEGORY,
    STATE_COLORS,
    Figure,
    bars,
    kind_for,
    points,
    titled,
    whole_ticks,
)
from hpo.report.optuna_view import importances, in_order, scalar, short_names, shown_trials
from hpo.report.run_data import RunData

_MAX_AXES = 8
_LONGEST_LINE = 15
"""Characters under an axis of the parallel coordinates that do not touch its neighbour's."""
_ABSENT, _GAP = "not searched", 0.15
"""Where trials without a parameter stand on its axis, and how far below its values."""
_MAX_SLICES = 12
_SLICE_COLUMNS = 3


def importance_bars(facts: RunData) -> tuple[Figure | None, str]:
    """Share of the variance that each parameter explains, with how that was found."""
    shares, epoch, count = importances(facts)
    if not shares:
        return None, f"{count_of(count, 'trial')}: too few to tell which parameters matter."
    names = list(reversed(shares))
    trace = bars(
        [shares[name] for name in names],
        names,
        marker={"color": "@accent"},
        hovertemplate="%{y}: %{x:.1%}<extra></extra>",
    )
    layout = {
        "xaxis": titled("share explained", tickformat=".0%"),
        "yaxis": {"automargin": True},
        "height": 90 + 26 * len(names),
    }
    text = (
        f"PED-ANOVA on the {facts.metric_word} of {count} trials after epoch {epoch}, which they "
        "all reached."
    )
    if count < 30:
        text += f" With {count} trials this is a hint, not a finding."
    return {"data": [trace], "layout": layout}, text


def parallel(facts: RunData) -> Figure | None:
    """One line a trial through its parameters and its value; ranges can be picked on every axis.

    Optuna's own plot of this kind cannot be filtered.
    """
    names, trials = _most_important(facts)[:_MAX_AXES], shown_trials(facts)
    if len(trials) < 2 or not names:
        return None
    values = [t.values[0] for t in trials]
    trace = {
        "type": "parcoords",
        "line": {
            "color": values,
            "colorscale": [[0, "@pruned"], [1, "@accent"]],
            "showscale": False,
        },
        "labelside": "bottom",
        "labelfont": {"size": 11},
        "tickfont": {"size": 11},
        "rangefont": {"size": 1, "color": "rgba(0,0,0,0)"},
        "dimensions": [
            *(_axis(name, trials) for name in names),
            {"label": facts.metric_word, "values": values},
        ],
    }
    return {
        "data": [trace],
        "layout": {"height": 430, "margin": {"l": 80, "r": 60, "t": 24, "b": 110}},
    }


def _axis(name: str, trials: Sequence[Any]) -> dict[str, Any]:
    """One axis of the parallel coordinates; trials without the parameter stand below its values."""
    own = [t for t in trials if name in t.params]
    scale = _scale([t.params[name] for t in own], own[0].distributions[name])
    axis = {"label": _in_lines(name), **scale}
    if len(own) == len(trials):
        return axis
    low, high = scale.get("range") or (min(scale["values"]), max(scale["values"]))
    below = low - (_GAP * (high - low) or 1)
    ticks = scale.get("tickvals", [low, high])
    known = iter(scale["values"])
    return axis | {
        "values": [next(known) if name in t.params else below for t in trials],
        "range": [below, high],
        "tickvals": [below, *ticks],
        "ticktext": [_ABSENT, *scale.get("ticktext", [f"{tick:.4g}" for tick in ticks])],
    }


def _scale(values: list[Any], kind: Any) -> dict[str, Any]:
    """Places and ticks of values: powers of ten for log scales, words for options."""
    if hasattr(kind, "choices"):
        options = in_order(values)
        return {
            "values": [options.index(value) for value in values],
            "tickvals": list(range(len(options))),
            "ticktext": [str(option) for option in options],
        }
    if not getattr(kind, "log", False):
        whole = {"tickvals": sorted(set(values))} if _are_few_and_whole(values) else {}
        return {"values": values, **whole}
    logs = [math.log10(v) for v in values]
    ticks = _log_ticks(min(values), max(values))
    return {
        "values": logs,
        "range": [min(logs), max(logs)] if len(set(logs)) > 1 else [logs[0] - 1, logs[0] + 1],
        "tickvals": [math.log10(tick) for tick in ticks],
        "ticktext": [f"{tick:g}" for tick in ticks],
    }


def _are_few_and_whole(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int) for value in values) and len(set(values)) <= 10


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten inside a range, with their halves and fifths where it is narrow."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 2, 5)):
        ticks = [step * 10.0**power for power in powers for step in steps]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) >= 2:
            return inside
    return [low, high]


def slices(facts: RunData) -> Figure | None:
    """The value against each of the parameters that tell most, three in a row."""
    names, tried = _most_important(facts)[:_MAX_SLICES], facts.measured
    if len(tried) < 2 or not names:
        return None
    rows = -(-len(names) // _SLICE_COLUMNS)
    layout: dict[str, Any] = {
        "grid": {
            "rows": rows,
            "columns": _SLICE_COLUMNS,
            "pattern": "independent",
            "xgap": 0.18,
            "ygap": 0.35,
        },
        "height": 60 + 230 * rows,
        "showlegend": False,
    }
    traces = []
    for position, name in enumerate(names):
        axis = "" if position == 0 else str(position + 1)
        kinds = (t.distributions.get(name) for t in shown_trials(facts))
        is_log = any(getattr(kind, "log", False) for kind in kinds)
        trace = _slice_trace(facts, name, axis, tried)
        layout[f"xaxis{axis}"] = {
            "title": {"text": name, "font": {"size": 12}},
            **_slice_ticks(trace["x"], is_log=is_log),
        }
        layout[f"yaxis{axis}"] = {"title": {"text": facts.metric_word} if not position % 3 else {}}
        traces.append(trace)
    kind = kind_for(sum(len(trace["x"]) for trace in traces))
    return {"data": [{**trace, "type": kind} for trace in traces], "layout": layout}


def _slice_ticks(values: Sequence[Any], *, is_log: bool) -> dict[str, Any]:
    """How the axis of a parameter is divided."""
    if is_log:
        ticks = _log_ticks(min(values), max(values))
        return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}
    if not all(isinstance(value, int | float) for value in values):
        return CATEGORY
    is_whole = all(isinstance(value, int) and not isinstance(value, bool) for value in values)
    return whole_ticks(values) if is_whole else {}


def slices_caption(facts: RunData) -> str:
    """What the colours say, of those that are there, and which parameters are shown."""
    default, best = facts.default, facts.best
    words = []
    if best is not None:
        same = " and the default, which is the same trial" if best is default else ""
        words.append(f"blue: the winner{same}")
    if default is not None and default is not best:
        words.append("orange: the default")
    if any(t.state is TrialState.PRUNED for t in facts.searched):
        words.append(f"grey: pruned, at the {facts.metric_word} it had by then")
    caption = "; ".join(words)
    return f"{caption[:1].upper()}{caption[1:]}. {_shown_of(facts, _MAX_SLICES)}".strip()


def _in_lines(name: str) -> str:
    """A name over several lines: a line a part, and long parts broken at their middle `_`."""
    lines = []
    for part in name.split("."):
        words, line = part.split("_"), part
        if len(part) > _LONGEST_LINE and len(words) > 1:
            middle = (len(words) + 1) // 2
            line = "_".join(words[:middle]) + "_<br>" + "_".join(words[middle:])
        lines.append(line)
    return ".<br>".join(lines)


def parallel_caption(facts: RunData) -> str:
    """How to use the chart, and which parameters are shown."""
    how = "One line a trial. Drag along an axis to keep a range of it."
    names, trials = _most_important(facts)[:_MAX_AXES], shown_trials(facts)
    if any(name not in t.params for t in trials for name in names):
        how += f" Trials that a parameter was not searched in stand at `{_ABSENT}`."
    return f"{how} {_shown_of(facts, _MAX_AXES)}".strip()


def _shown_of(facts: RunData, count: int) -> str:
    """Say that not all parameters are shown; empty where they are."""
    every = len(_most_important(facts))
    if every <= count:
        return ""
    which = "those that matter most" if importances(facts)[0] else "the first ones"
    return f"{count} of {every} parameters, {which}; the table of trials has all."


def _slice_trace(
    facts: RunData, name: str, axis: str, trials: Sequence[TrialRecord]
) -> dict[str, Any]:
    full = next(key for key, short in short_names(facts).items() if short == name)
    own = [t for t in trials if full in t.params]
    default = facts.default
    colors = [
        "@accent" if t is facts.best else "@default" if t is default else STATE_COLORS[t.state]
        for t in own
    ]
    parts = ("%{text}", f"{name} = %{{x:.4g}}", f"{facts.metric_word} %{{y:.4f}}<extra></extra>")
    return points(
        "markers",
        [scalar(t.params[full]) for t in own],
        [facts.value_of(t) for t in own],
        xaxis=f"x{axis}",
        yaxis=f"y{axis}",
        text=[f"trial {t.number}, {facts.state_word(t.state)}" for t in own],
        hovertemplate="<br>".join(parts),
        marker={"color": colors, "size": [11 if t in (default, facts.best) else 8 for t in own]},
    )


def _most_important(facts: RunData) -> list[str]:
    """Parameters, the most important first, or in their order where importance is unknown."""
    shares, _, _ = importances(facts)
    short = short_names(facts)
    tried = {short[name] for trial in facts.measured for name in trial.params}
    order = list(shares) or [short[p.name] for p in facts.parameters]
    return [name for name in order if name in tried]
