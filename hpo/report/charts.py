"""The charts of a report as plotly figures, in plain data.

Colours are names such as `@accent`; the page replaces them by those of its light or dark theme.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from typing import Any

from hpo.core.budget import render_seconds
from hpo.core.trial import TrialRecord, TrialState
from hpo.report.facts import Facts
from hpo.report.shown_study import importances, short_name, shown_study

Figure = dict[str, Any]
"""`{"data": [...], "layout": {...}}` as plotly.js takes it."""

STATE_COLORS = {
    TrialState.COMPLETE: "@complete",
    TrialState.PRUNED: "@pruned",
    TrialState.FAILED: "@failed",
    TrialState.RUNNING: "@muted",
}
MAX_AXES = 8
MAX_SLICES = 6
SLICE_COLUMNS = 3
MAX_LEGEND = 20
MAX_CLASSES = 25


def history(facts: Facts) -> Figure:
    """Value of every trial in order, and the best so far."""
    traces: list[dict[str, Any]] = []
    for state, color in STATE_COLORS.items():
        of_state = [t for t in facts.searched if t.state is state and t.measurements]
        if of_state:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": str(state),
                    "x": [t.number for t in of_state],
                    "y": [facts.value_of(t) for t in of_state],
                    "text": [_hover(t) for t in of_state],
                    "hovertemplate": "%{text}<br>P@1 %{y:.4f}<extra></extra>",
                    "marker": {"color": color, "size": 9},
                }
            )
    numbers, best = _best_so_far(facts)
    traces.append(
        {
            "type": "scatter",
            "mode": "lines",
            "name": "best complete so far",
            "x": numbers,
            "y": best,
            "line": {"color": "@accent", "width": 2, "shape": "hv"},
            "hoverinfo": "skip",
        }
    )
    return {
        "data": traces,
        "layout": {"xaxis": {"title": {"text": "trial"}}, "yaxis": {"title": {"text": "P@1"}}},
    }


def _best_so_far(facts: Facts) -> tuple[list[int], list[float]]:
    """Best value among trials that went as far as the longest, as the winner is chosen."""
    longest = max((t.epochs for t in facts.searched), default=0)
    better = max if facts.direction == "maximize" else min
    numbers: list[int] = []
    best: list[float] = []
    for trial in facts.searched:
        value = facts.value_of(trial)
        if value is not None and not trial.error and trial.epochs == longest:
            best.append(better(best[-1], value) if best else value)
            numbers.append(trial.number)
    if numbers:
        numbers.append(facts.searched[-1].number)
        best.append(best[-1])
    return numbers, best


def curves(facts: Facts) -> Figure:
    """P@1 after every epoch, the winner and the default in front."""
    winner = facts.best.number if facts.best else None
    order = sorted(
        (t for t in facts.searched if t.measurements),
        key=lambda t: (t.number == winner, t.number == 0),
    )
    shown = set()
    traces = []
    for trial in order:
        name, line = _curve_style(trial, winner)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers" if trial.epochs < 2 else "lines",
                "name": name,
                "legendgroup": name,
                "showlegend": name not in shown,
                "x": [m.epoch for m in trial.measurements],
                "y": [m.value for m in trial.measurements],
                "line": line,
                "hovertemplate": f"trial {trial.number}, epoch %{{x}}: %{{y:.4f}}<extra></extra>",
            }
        )
        shown.add(name)
    return {
        "data": traces,
        "layout": {"xaxis": {"title": {"text": "epoch"}}, "yaxis": {"title": {"text": "P@1"}}},
    }


def _curve_style(trial: TrialRecord, winner: int | None) -> tuple[str, dict[str, Any]]:
    if trial.number == winner:
        return f"winner (trial {winner})", {"color": "@accent", "width": 3.5}
    if trial.number == 0:
        return "default (trial 0)", {"color": "@default", "width": 2.5, "dash": "dash"}
    return str(trial.state), {"color": STATE_COLORS[trial.state], "width": 1.5}


def importance_bars(facts: Facts) -> tuple[Figure | None, str]:
    """Share of the variance that each parameter explains, with how that was found."""
    shares, epoch, count = importances(facts)
    if not shares:
        return None, f"{count} trials are too few to tell which parameters matter."
    names = list(reversed(shares))
    trace = {
        "type": "bar",
        "orientation": "h",
        "y": names,
        "x": [shares[name] for name in names],
        "marker": {"color": "@accent"},
        "hovertemplate": "%{y}: %{x:.1%}<extra></extra>",
    }
    layout = {
        "xaxis": {"title": {"text": "share of what the parameters explain"}, "tickformat": ".0%"},
        "yaxis": {"automargin": True},
        "height": 90 + 26 * len(names),
    }
    text = f"PED-ANOVA on the P@1 of {count} trials after epoch {epoch}, which they all reached."
    if count < 30:
        text += f" With {count} trials this is a hint, not a finding."
    return {"data": [trace], "layout": layout}, text


def parallel(facts: Facts) -> Figure | None:
    """One line a trial through its parameters and its P@1; ranges can be picked on every axis.

    Optuna's own plot of this kind cannot be filtered.
    """
    names = _most_telling(facts, MAX_AXES)
    trials = [t for t in shown_study(facts).trials if all(name in t.params for name in names)]
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
        "labelangle": -20,
        "labelside": "bottom",
        "labelfont": {"size": 12},
        "tickfont": {"size": 11},
        "rangefont": {"size": 1, "color": "rgba(0,0,0,0)"},
        "dimensions": [
            *(_axis(name, [t.params[name] for t in trials], trials) for name in names),
            {"label": "P@1", "values": values},
        ],
    }
    return {
        "data": [trace],
        "layout": {"height": 430, "margin": {"l": 80, "r": 60, "t": 24, "b": 110}},
    }


def _axis(name: str, values: list[Any], trials: Sequence[Any]) -> dict[str, Any]:
    """One axis of the parallel coordinates: powers of ten for log scales, words for options."""
    kind = trials[0].distributions[name]
    if hasattr(kind, "choices"):
        words = sorted({str(v) for v in values})
        return {
            "label": name,
            "values": [words.index(str(v)) for v in values],
            "tickvals": list(range(len(words))),
            "ticktext": words,
        }
    if not getattr(kind, "log", False):
        return {"label": name, "values": values}
    logs = [math.log10(v) for v in values]
    ticks = _log_ticks(min(values), max(values))
    return {
        "label": name,
        "values": logs,
        "range": [min(logs), max(logs)] if len(set(logs)) > 1 else [logs[0] - 1, logs[0] + 1],
        "tickvals": [math.log10(tick) for tick in ticks],
        "ticktext": [f"{tick:g}" for tick in ticks],
    }


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten inside a range, with their halves and fifths where it is narrow."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 2, 5)):
        ticks = [step * 10.0**power for power in powers for step in steps]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) >= 2:
            return inside
    return [low, high]


def slices(facts: Facts) -> Figure | None:
    """P@1 against each of the parameters that tell most, three in a row."""
    names = _most_telling(facts, MAX_SLICES)
    tried = [t for t in facts.searched if t.measurements and not t.error]
    if len(tried) < 2 or not names:
        return None
    study = shown_study(facts)
    rows = -(-len(names) // SLICE_COLUMNS)
    layout: dict[str, Any] = {
        "grid": {
            "rows": rows,
            "columns": SLICE_COLUMNS,
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
        is_log = any(getattr(t.distributions.get(name), "log", False) for t in study.trials)
        layout[f"xaxis{axis}"] = {
            "title": {"text": name, "font": {"size": 12}},
            "type": "log" if is_log else "-",
            "exponentformat": "power",
            "dtick": 1 if is_log else None,
        }
        layout[f"yaxis{axis}"] = {"title": {"text": "P@1"} if not position % 3 else {}}
        traces.append(_slice_trace(facts, name, axis, tried))
    return {"data": traces, "layout": layout}


def _slice_trace(
    facts: Facts, name: str, axis: str, trials: Sequence[TrialRecord]
) -> dict[str, Any]:
    full = {short_name(key): key for trial in trials for key in trial.params}[name]
    own = [t for t in trials if full in t.params]
    winner = facts.best.number if facts.best else None
    colors = [
        "@accent" if t.number == winner else "@default" if t.number == 0 else STATE_COLORS[t.state]
        for t in own
    ]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [t.params[full] for t in own],
        "y": [facts.value_of(t) for t in own],
        "xaxis": f"x{axis}",
        "yaxis": f"y{axis}",
        "text": [f"trial {t.number}, {t.state}" for t in own],
        "hovertemplate": "%{text}<br>" + name + " = %{x:.4g}<br>P@1 %{y:.4f}<extra></extra>",
        "marker": {"color": colors, "size": [11 if t.number in (0, winner) else 8 for t in own]},
    }


def slots(facts: Facts) -> Figure | None:
    """Which slot was busy with which trial, when: a gap is time that nobody used."""
    trials = sorted(
        (t for t in facts.trials if t.started and (t.ended or t.measurements)),
        key=lambda t: t.started,
    )
    if not trials:
        return None
    origin = trials[0].started
    lanes = _lanes([(t.started, t.ended or t.started + t.seconds) for t in trials])
    traces = []
    for state, color in STATE_COLORS.items():
        own = [(t, lane) for t, lane in zip(trials, lanes, strict=True) if t.state is state]
        if own:
            traces.append(
                {
                    "type": "bar",
                    "orientation": "h",
                    "name": str(state),
                    "y": [f"slot {lane + 1}" for _, lane in own],
                    "base": [(t.started - origin) / 60 for t, _ in own],
                    "x": [((t.ended or t.started + t.seconds) - t.started) / 60 for t, _ in own],
                    "text": [str(t.number) for t, _ in own],
                    "hovertext": [_hover(t) for t, _ in own],
                    "hovertemplate": "%{hovertext}<extra></extra>",
                    "textposition": "inside",
                    "insidetextanchor": "middle",
                    "marker": {"color": color, "line": {"color": "@page", "width": 1}},
                }
            )
    layout = {
        "barmode": "overlay",
        "xaxis": {"title": {"text": "minutes"}},
        "yaxis": {"autorange": "reversed"},
        "height": 120 + 44 * (max(lanes) + 1),
    }
    return {"data": traces, "layout": layout}


def _lanes(spans: Sequence[tuple[float, float]]) -> list[int]:
    """Give each span (by start) the lowest lane that is free by then."""
    busy: list[tuple[float, int]] = []
    free: list[int] = []
    lanes = []
    for start, end in spans:
        while busy and busy[0][0] <= start:
            heapq.heappush(free, heapq.heappop(busy)[1])
        lane = heapq.heappop(free) if free else len(busy)
        heapq.heappush(busy, (end, lane))
        lanes.append(lane)
    return lanes


def class_bars(
    winner: Mapping[str, float], default: Mapping[str, float] | None, counts: Mapping[str, int]
) -> Figure:
    """Precision@1 of the classes that do worst, beside the default's where it is known."""
    worst = sorted(winner, key=lambda name: (winner[name], name))[:MAX_CLASSES]
    names = list(reversed(worst))
    labels = [f"{name} ({counts[name]})" for name in names]
    traces = []
    if default is not None:
        traces.append(_class_trace("default", "@default", labels, [default[n] for n in names]))
    traces.append(_class_trace("winner", "@accent", labels, [winner[n] for n in names]))
    layout = {
        "xaxis": {"title": {"text": "P@1"}, "range": [0, 1.02]},
        "yaxis": {"automargin": True},
        "barmode": "group",
        "height": 110 + (34 if default is not None else 24) * len(names),
        "legend": {"traceorder": "reversed"},
    }
    return {"data": traces, "layout": layout}


def _class_trace(
    name: str, color: str, labels: Sequence[str], values: Sequence[float]
) -> dict[str, Any]:
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "y": list(labels),
        "x": list(values),
        "marker": {"color": color},
        "hovertemplate": "%{y}: %{x:.3f}<extra>" + name + "</extra>",
    }


def embedding_map(chart: Mapping[str, Any]) -> Figure:
    """Gallery and queries in two dimensions, a colour per class."""
    classes = sorted(set(chart["class"]))
    traces = []
    for name in classes:
        for role, symbol in (("gallery", "circle-open"), ("query", "circle")):
            own = [
                i
                for i, (c, r) in enumerate(zip(chart["class"], chart["role"], strict=True))
                if c == name and r == role
            ]
            if own:
                traces.append(
                    {
                        "type": "scattergl" if len(chart["x"]) > 3000 else "scatter",
                        "mode": "markers",
                        "name": name,
                        "legendgroup": name,
                        "showlegend": role == "query" and len(classes) <= MAX_LEGEND,
                        "x": [chart["x"][i] for i in own],
                        "y": [chart["y"][i] for i in own],
                        "hovertemplate": f"{name} ({role})<extra></extra>",
                        "marker": {
                            "symbol": symbol,
                            "size": 7,
                            "color": _class_color(name, classes),
                        },
                    }
                )
    hidden = {"showticklabels": False, "showgrid": False, "zeroline": False}
    return {"data": traces, "layout": {"xaxis": hidden, "yaxis": hidden, "height": 620}}


def _class_color(name: str, classes: Sequence[str]) -> str:
    """Hues as far apart as their number allows, in two depths so that neighbours differ."""
    position = classes.index(name)
    hue = round(360 * ((position * 0.61803398875) % 1.0))
    return f"hsl({hue}, 62%, {46 if position % 2 else 58}%)"


def _most_telling(facts: Facts, count: int) -> list[str]:
    """The most important parameters, or the first ones where importance is unknown."""
    shares, _, _ = importances(facts)
    tried = {short_name(name) for trial in facts.searched for name in trial.params}
    order = list(shares) or [short_name(p.name) for p in facts.space.parameters]
    return [name for name in order if name in tried][:count]


def _hover(trial: TrialRecord) -> str:
    lines = [f"trial {trial.number}, {trial.state}, {trial.epochs} epochs"]
    if trial.seconds:
        lines[0] += f", {render_seconds(trial.seconds)}"
    for name, value in trial.params.items():
        shown = f"{value:.4g}" if isinstance(value, float) else str(value)
        lines.append(f"{short_name(name)} = {shown}")
    return "<br>".join(lines)
