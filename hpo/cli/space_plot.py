"""Draws a search space as one HTML page: for each parameter the share of draws, and the default."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from hpo.core.errors import SpecError
from search_spaces.rule import Scale

if TYPE_CHECKING:
    from search_spaces import Parameter, SearchSpace

_NUM_SAMPLES = 2400
_BINS, _COLUMNS, _ROW_HEIGHT = 24, 3, 190
_BAR, _DEFAULT = "#7aa6d8", "#c2452d"
_SCALES = {"log": "log", "linear": "linear", "reflected_log": "log of the distance to the end"}

_Draw = Callable[[go.Figure, int, int], None]
"""Draws one chart at a row and column."""


def write_plot(space: SearchSpace, path: Path) -> None:
    """Write a page with a chart of every distribution; its camera button saves a PNG.

    Raises:
        SpecError: for another file type, or a space in which nothing varies.
    """
    if path.suffix != ".html":
        raise SpecError(f"--plot: must end in .html, got {path}; the page saves pictures itself")
    charts = _charts(space)
    if not charts:
        raise SpecError("--plot: nothing varies in this space, so there is nothing to draw")
    rows = math.ceil(len(charts) / _COLUMNS)
    figure = make_subplots(
        rows,
        _COLUMNS,
        subplot_titles=[title for title, _ in charts],
        vertical_spacing=0.4 / rows,
        horizontal_spacing=0.1,
    )
    for index, (_, draw) in enumerate(charts):
        draw(figure, index // _COLUMNS + 1, index % _COLUMNS + 1)
    figure.update_layout(
        title="Share of draws; red: the default, with which the search begins",
        template="plotly_white",
        showlegend=False,
        height=120 + _ROW_HEIGHT * rows,
    )
    figure.update_annotations(font_size=11)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.write_html(path)


def _charts(space: SearchSpace) -> list[tuple[str, _Draw]]:
    """Draw from the space; one (title, chart) per parameter, or per element of a list."""
    rng = random.Random(0)
    samples = [space.decode(latents) for latents in space.design(_NUM_SAMPLES, rng)]
    first = space.default()
    charts = []
    for parameter in space.parameters:
        drawn = [sample[parameter.name] for sample in samples if parameter.name in sample]
        share = len(drawn) / _NUM_SAMPLES
        note = "" if share == 1 else f", active in {share:.0%} of draws"
        default = first.get(parameter.name, parameter.default)
        for title, how, draw in _charts_of(parameter, drawn, default):
            charts.append((f"<b>{title}</b><br>{how}{note}", draw))
    return charts


def _charts_of(
    parameter: Parameter, drawn: Sequence[Any], default: Any
) -> Iterator[tuple[str, str, _Draw]]:
    """Yield (title, scale, chart) of each number or choice that a parameter is made of."""
    name, distribution = parameter.name, parameter.distribution
    kind = distribution["type"]
    parts = distribution.get("elements") or distribution.get("ends")
    if parts:  # consecutive whole numbers are shown as first and last
        picks = (0, -1) if kind == "run" else range(len(parts))
        for label, pick in enumerate(picks):
            values = [value[pick] for value in drawn]
            yield f"{name}[{label}]", *_numbers(parts[label], values, default[pick])
    elif kind == "equal_list":
        values = [value[0] for value in drawn]
        yield name, *_numbers(distribution["element"], values, default[0])
    elif kind == "derived":
        ends = {"low": min(drawn), "high": max(drawn), "scale": "linear"}
        _, draw = _numbers(ends, drawn, default)
        yield name, distribution["formula"], draw
    elif kind in ("int", "float"):
        yield name, *_numbers(distribution, drawn, default)
    elif kind == "all_or_none":
        words = ["none" if value is None else "all" for value in (*drawn, default)]
        yield name, *_options(["none", "all"], [[word] for word in words[:-1]], words[-1:])
    else:
        options = [str(option) for option in distribution["options"]]
        chosen = [value if kind == "subset" else [value] for value in (*drawn, default)]
        told = [[str(option) for option in some or ()] for some in chosen]
        yield name, *_options(options, told[:-1], told[-1])


def _options(
    options: Sequence[str], drawn: Sequence[Sequence[str]], default: Sequence[str]
) -> tuple[str, _Draw]:
    shares = [sum(option in some for some in drawn) / len(drawn) for option in options]
    colors = [_DEFAULT if option in default else _BAR for option in options]
    bars = go.Bar(
        y=options,
        x=shares,
        orientation="h",
        marker_color=colors,
        hovertemplate="%{y}: %{x:.1%}<extra></extra>",
    )

    def draw(figure: go.Figure, row: int, column: int) -> None:
        figure.add_trace(bars, row, column)
        figure.update_xaxes(showticklabels=False, row=row, col=column)
        # Names such as "18" are categories, and not places along an axis of numbers.
        figure.update_yaxes(type="category", autorange="reversed", row=row, col=column)

    return f"{len(options)} options", draw


def _numbers(
    distribution: Mapping[str, Any], drawn: Sequence[float], default: Any
) -> tuple[str, _Draw]:
    scale, pivot = Scale(distribution["scale"]), distribution.get("pivot", 0.0)
    forward, inverse = partial(scale.forward, pivot=pivot), partial(scale.inverse, pivot=pivot)
    low, high = distribution["low"], distribution["high"]
    # A whole number owns half a step to both sides, and is spread over it for an honest picture.
    is_whole = all(isinstance(value, int) for value in drawn)
    half = distribution.get("step", 1) / 2 if is_whole else 0.0
    start, stop = forward(low - half), forward(high + half)
    width = (stop - start) or 1.0
    shares = [0.0] * _BINS
    for rank, value in enumerate(drawn):
        left, right = forward(value - half), forward(value + half)
        place = (left + (right - left) * ((rank * 0.618034) % 1) - start) / width
        shares[min(max(int(place * _BINS), 0), _BINS - 1)] += 1 / len(drawn)
    places = [(k + 0.5) / _BINS for k in range(_BINS)]
    bars = go.Bar(
        x=places, y=shares, marker_color=_BAR, hovertemplate="%{y:.1%}<extra></extra>", width=0.04
    )
    marks = (0.0, 0.5, 1.0)
    texts = [f"{min(max(inverse(start + u * width), low), high):.3g}" for u in marks]

    def draw(figure: go.Figure, row: int, column: int) -> None:
        figure.add_trace(bars, row, column)
        figure.update_xaxes(tickvals=marks, ticktext=texts, range=(0, 1), row=row, col=column)
        figure.update_yaxes(showticklabels=False, row=row, col=column)
        if isinstance(default, int | float):
            at = min(max((forward(default) - start) / width, 0.0), 1.0)
            figure.add_vline(at, line_color=_DEFAULT, row=row, col=column)

    return _SCALES[distribution["scale"]], draw
