"""Charts of a report as plotly figures.

Colours are names such as `@accent`; the page replaces them by those of its light or dark theme.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpo.core.budget import render_seconds
from hpo.core.selection import ranked
from hpo.core.text import count_of
from hpo.core.trial import Direction, TrialRecord, TrialState
from hpo.report.optuna_view import short_names
from hpo.report.run_data import RunData

Figure = dict[str, Any]
"""`{"data": [...], "layout": {...}}` as plotly.js takes it."""

STATE_COLORS = {
    TrialState.COMPLETE: "@complete",
    TrialState.PRUNED: "@pruned",
    TrialState.FAILED: "@failed",
    TrialState.RUNNING: "@muted",
}
MAX_LEGEND = 20
MAX_CURVES = 300
"""Trials whose curves are drawn; a browser takes long for more."""
MAX_POINTS = 3000
"""Points that a browser draws one by one; more are painted by its graphics card."""
MAX_CLASSES = 25
MAX_NAMED = 70
"""Classes that are all named beside a matrix; their names would overlap beyond."""
MAX_CONFUSED = 200
"""Classes of a matrix; its cells are their square."""
CATEGORY = {"type": "category"}
"""An axis of names; those that are numbers or dates would have their places along a line."""


def points(mode: str, x: Sequence[Any], y: Sequence[Any], **more: Any) -> dict[str, Any]:
    """A trace of plotly of points and the lines between them, as its `mode` says."""
    return {"type": "scatter", "mode": mode, "x": x, "y": y, **more}


def bars(x: Sequence[Any], y: Sequence[Any], **more: Any) -> dict[str, Any]:
    """A trace of horizontal bars."""
    return {"type": "bar", "orientation": "h", "x": x, "y": y, **more}


def titled(text: str, **more: Any) -> dict[str, Any]:
    """An axis with its title."""
    return {"title": {"text": text}, **more}


def error_bars(values: Sequence[float], bounds: Sequence[Sequence[float]]) -> dict[str, Any]:
    """What plotly draws intervals by: how far their ends lie from the values."""
    pairs = list(zip(values, bounds, strict=True))
    return {
        "symmetric": False,
        "array": [high - value for value, (_, high) in pairs],
        "arrayminus": [value - low for value, (low, _) in pairs],
    }


def history(facts: RunData) -> Figure:
    """Value of every trial in order, and the best so far."""
    kind = kind_for(len(facts.searched))
    traces: list[dict[str, Any]] = []
    for state, color in STATE_COLORS.items():
        of_state = [t for t in facts.searched if t.state is state and t.measurements]
        if of_state:
            traces.append(
                points(
                    "markers",
                    [t.number for t in of_state],
                    [facts.value_of(t) for t in of_state],
                    type=kind,
                    name=facts.state_word(state),
                    text=[hover(facts, t) for t in of_state],
                    hovertemplate=f"%{{text}}<br>{facts.metric_word} %{{y:.4f}}<extra></extra>",
                    marker={"color": color, "size": 9},
                )
            )
    line = {"color": "@accent", "width": 2, "shape": "hv"}
    best = points("lines", *_best_so_far(facts), name="best so far", line=line, hoverinfo="skip")
    traces.append(best)
    return _values_over("trial", traces, facts)


def _values_over(what: str, traces: list[dict[str, Any]], facts: RunData) -> Figure:
    ticks = whole_ticks([x for trace in traces for x in trace["x"]])
    layout = {"xaxis": titled(what, **ticks), "yaxis": titled(facts.metric_word)}
    return {"data": traces, "layout": layout}


def whole_ticks(numbers: Sequence[int]) -> dict[str, Any]:
    """Ticks of an axis of whole numbers: at whole numbers only, ten or so."""
    if not numbers:
        return {}
    low, high = min(numbers), max(numbers)
    steps = (step * 10**power for power in range(12) for step in (1, 2, 5))
    step = next(step for step in steps if 10 * step >= high - low)
    margin = max(0.5, 0.03 * (high - low))
    return {"tick0": 0, "dtick": step, "range": [low - margin, high + margin]}


def _best_so_far(facts: RunData) -> tuple[list[int], list[float]]:
    """Best value among trials that went as far as the longest, as the winner is chosen."""
    longest = max((t.epochs for t in facts.measured), default=0)
    numbers: list[int] = []
    best: list[float] = []
    for trial in facts.measured:
        value = facts.value_of(trial)
        if value is not None and trial.epochs == longest:
            best.append(Direction(facts.direction).best([*best[-1:], value]))
            numbers.append(trial.number)
    if numbers:
        numbers.append(facts.searched[-1].number)
        best.append(best[-1])
    return numbers, best


def kind_for(count: int) -> str:
    """Plotly's kind of trace for so many points."""
    return "scattergl" if count > MAX_POINTS else "scatter"


def drawn_curves(facts: RunData) -> list[TrialRecord]:
    """Trials whose curves are drawn: of many the best, and some of the others at even steps."""
    able = [t for t in facts.searched if t.measurements]
    if len(able) <= MAX_CURVES:
        return able
    leading = [t for t in (facts.best, facts.default) if t is not None]
    leading += ranked(able, facts.direction)[: MAX_CURVES // 2]
    chosen = {t.number for t in leading}
    others = [t for t in able if t.number not in chosen]
    count = MAX_CURVES - len(chosen)
    chosen |= {others[len(others) * place // count].number for place in range(count)}
    return [t for t in able if t.number in chosen]


def curves(facts: RunData) -> Figure:
    """The value after every epoch, the winner and the default in front."""
    default = facts.default
    order = sorted(drawn_curves(facts), key=lambda t: (t is facts.best, t is default))
    shown = set()
    traces = []
    for trial in order:
        name, line = _curve_style(facts, trial, default)
        traces.append(
            points(
                "lines+markers" if trial.epochs < 2 else "lines",
                [m.epoch for m in trial.measurements],
                [m.value for m in trial.measurements],
                name=name,
                legendgroup=name,
                showlegend=name not in shown,
                line=line,
                hovertemplate=f"trial {trial.number}, epoch %{{x}}: %{{y:.4f}}<extra></extra>",
            )
        )
        shown.add(name)
    return _values_over("epoch", traces, facts)


def _curve_style(
    facts: RunData, trial: TrialRecord, default: TrialRecord | None
) -> tuple[str, dict[str, Any]]:
    if trial is facts.best:
        return f"winner (trial {trial.number})", {"color": "@accent", "width": 3.5}
    if trial is default:
        line = {"color": "@default", "width": 2.5, "dash": "dash"}
        return f"default (trial {trial.number})", line
    return facts.state_word(trial.state), {"color": STATE_COLORS[trial.state], "width": 1.5}


def class_bars(
    winner: Mapping[str, float], default: Mapping[str, float] | None, counts: Mapping[str, int]
) -> Figure:
    """Precision@1 of the classes that do worst, beside the default's where it is known."""
    worst = sorted(winner, key=lambda name: (winner[name], name))[:MAX_CLASSES]
    names = list(reversed(worst))
    labels = [f"{name} ({counts[name]})" for name in names]
    shown = [("default", "@default", default), ("winner", "@accent", winner)]
    traces = [
        bars(
            [means[n] for n in names],
            labels,
            name=name,
            marker={"color": color},
            hovertemplate="%{y}: %{x:.3f}<extra>" + name + "</extra>",
        )
        for name, color, means in shown
        if means is not None
    ]
    layout = {
        "xaxis": titled("P@1", range=[0, 1.02]),
        "yaxis": {"automargin": True},
        "barmode": "group",
        "height": 110 + (34 if default is not None else 24) * len(names),
        "legend": {"traceorder": "reversed"},
    }
    return {"data": traces, "layout": layout}


def confusion_matrix(names: Sequence[str], counts: Sequence[Sequence[int]]) -> Figure:
    """Queries by own class (down) and class of the nearest picture (across)."""
    trace = {
        "type": "heatmap",
        "x": list(names),
        "y": list(names),
        "z": [list(row) for row in counts],
        "colorscale": [[0, "@panel"], [1, "@accent"]],
        "hovertemplate": "%{y} taken for %{x}: %{z}<extra></extra>",
    }
    every = {"dtick": 1, "tickfont": {"size": 10}} if len(names) <= MAX_NAMED else {}
    axis = {"automargin": True, **CATEGORY, **every}
    layout = {
        "xaxis": titled("taken for", **axis),
        "yaxis": {"autorange": "reversed", **axis},
        "height": max(380, 160 + 13 * len(names)),
        "meta": {"named_from": 150 + 11 * len(names)},
    }
    return {"data": [trace], "layout": layout}


def unknown_curves(curves: Mapping[str, Sequence[float]]) -> Figure:
    """Accuracy against coverage, and beside it false acceptances against false rejections."""
    pairs = (("coverage", "accuracy", "@accent"), ("rejected", "accepted", "@default"))
    traces = [
        points(
            "lines",
            list(curves[x]),
            list(curves[y]),
            xaxis=f"x{axis}",
            yaxis=f"y{axis}",
            text=[f"{limit:.3f}" for limit in curves["limit"]],
            hovertemplate=f"{x} %{{x:.3f}}, {y} %{{y:.3f}} at %{{text}}<extra></extra>",
            line={"color": color},
        )
        for axis, (x, y, color) in zip(("", "2"), pairs, strict=True)
    ]
    titles = {
        "xaxis": "share of known pictures that get a label",
        "yaxis": "share of those labels that are right",
        "xaxis2": "share of known pictures called unknown",
        "yaxis2": "share of unknown pictures taken for known",
    }
    layout: Figure = {
        name: {"title": {"text": text, "font": {"size": 12}}, "range": [0, 1.02]}
        for name, text in titles.items()
    }
    layout["grid"] = {"rows": 1, "columns": 2, "pattern": "independent", "xgap": 0.18}
    return {"data": traces, "layout": layout | {"showlegend": False}}


def growth_curve(
    levels: Sequence[Mapping[str, float]], ahead: Sequence[Mapping[str, Any]]
) -> Figure:
    """P@1 by gallery pictures per class: measured on parts of the gallery, then continued."""
    measured = points(
        "lines+markers",
        [row["pictures"] for row in levels],
        [row["value"] for row in levels],
        name="measured",
        line={"color": "@accent"},
        hovertemplate="%{x:.1f} a class: %{y:.4f}<extra></extra>",
    )
    rows = [{**levels[-1], "interval": [levels[-1]["value"]] * 2}, *ahead]
    values = [row["value"] for row in rows]
    continued = points(
        "lines+markers",
        [row["pictures"] for row in rows],
        values,
        name="expected",
        error_y=error_bars(values, [row["interval"] for row in rows]),
        line={"color": "@default", "dash": "dot"},
        hovertemplate="%{x:.1f} a class: %{y:.4f} expected<extra></extra>",
    )
    ticks = sorted({row["pictures"] for row in rows + list(levels)})
    layout = {
        "xaxis": titled(
            "gallery pictures of a class",
            type="log",
            tickvals=ticks,
            ticktext=[f"{tick:.3g}" for tick in ticks],
        ),
        "yaxis": titled("P@1"),
    }
    return {"data": [measured, continued], "layout": layout}


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
                color = _class_color(name, classes)
                traces.append(
                    points(
                        "markers",
                        [chart["x"][i] for i in own],
                        [chart["y"][i] for i in own],
                        type=kind_for(len(chart["x"])),
                        name=name,
                        legendgroup=name,
                        showlegend=role == "query" and len(classes) <= MAX_LEGEND,
                        text=[chart["path"][i].rsplit("/", 1)[-1] for i in own],
                        hovertemplate=f"{name} ({role})<br>%{{text}}<extra></extra>",
                        marker={"symbol": symbol, "size": 7, "color": color},
                    )
                )
    hidden = {"showticklabels": False, "showgrid": False, "zeroline": False}
    return {"data": traces, "layout": {"xaxis": hidden, "yaxis": hidden, "height": 620}}


def _class_color(name: str, classes: Sequence[str]) -> str:
    """Hues as far apart as their number allows, in two depths so that neighbours differ."""
    position = classes.index(name)
    hue = round(360 * ((position * 0.61803398875) % 1.0))
    return f"hsl({hue}, 62%, {46 if position % 2 else 58}%)"


def hover(facts: RunData, trial: TrialRecord) -> str:
    """The text that a chart shows when the mouse is over a trial."""
    lines = [f"trial {trial.number}, {trial.state}, {count_of(trial.epochs, 'epoch')}"]
    if trial.seconds:
        lines[0] += f", {render_seconds(trial.seconds)}"
    for name, value in trial.params.items():
        shown = f"{value:.4g}" if isinstance(value, float) else str(value)
        lines.append(f"{short_names(facts)[name]} = {shown}")
    return "<br>".join(lines)
