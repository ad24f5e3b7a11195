"""Renders what screening found as one self-contained HTML file: a chart and the table below it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpo.core.bytes import render_bytes
from hpo.core.durable_files import write_atomically
from hpo.core.text import storable
from hpo.report.charts import Figure, error_bars, points, titled
from hpo.report.templates import load_template

_WAYS = ("nearest", "prototypes")
"""How queries are matched, each with Precision@1 as the mean over classes."""
COLUMNS = (
    *("weights", "trunk", "pixels", "P@1 nearest", "P@1 prototypes", "ms a picture"),
    *("parameters", "export"),
)

Row = Mapping[str, Any]


def cells(row: Row) -> list[str]:
    """A screened candidate as cells of a table, in the order of `COLUMNS`."""
    return [
        "random" if row["random_weights"] else row["weights"],
        row["trunk"],
        f"{row['height']}x{row['width']}",
        *(_with_interval(row[way]) for way in _WAYS),
        f"{row['latency_ms']:.1f}",
        f"{row['params'] / 1e6:.1f}M",
        render_bytes(row["export_bytes"]),
    ]


def _with_interval(found: Mapping[str, Any]) -> str:
    low, high = found["class_mean_interval"]
    return f"{_share(found['class_mean'])} ({_share(low)} to {_share(high)})"


def _share(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def figure(rows: Sequence[Row]) -> Figure:
    """P@1 with its interval against the time of a picture, a line for the sizes of one network."""
    by_network: dict[tuple[str, str], list[Row]] = {}
    for row in sorted(rows, key=lambda r: r["latency_ms"]):
        by_network.setdefault((cells(row)[0], row["trunk"]), []).append(row)
    traces = []
    for (weights, trunk), own in by_network.items():
        for way in _WAYS:
            values = [row[way]["class_mean"] for row in own]
            bounds = [row[way]["class_mean_interval"] for row in own]
            traces.append(
                points(
                    "lines+markers",
                    [row["latency_ms"] for row in own],
                    values,
                    name=f"{weights} {trunk}, {way}",
                    error_y={"type": "data", "thickness": 1, **error_bars(values, bounds)},
                    text=[f"{row['height']}x{row['width']} px" for row in own],
                    hovertemplate="%{text}<br>P@1 %{y:.3f}, %{x:.1f} ms<extra></extra>",
                    marker={"size": 9, "symbol": "circle" if way == _WAYS[0] else "diamond"},
                    line={"dash": "solid" if way == _WAYS[0] else "dot"},
                )
            )
    return {
        "data": traces,
        "layout": {
            "height": 460,
            "xaxis": titled("ms a picture", rangemode="tozero"),
            "yaxis": titled("P@1, mean over classes, untrained"),
        },
    }


def write_page(rows: Sequence[Row], pictures: str, path: Path) -> None:
    """Write the page.

    Args:
        rows: that were screened, the best first.
        pictures: on what, in words.
        path: of the file.
    """
    from plotly.offline import get_plotlyjs

    page = load_template("screen.html").render(
        columns=COLUMNS,
        rows=[cells(row) for row in rows],
        pictures=pictures,
        figure=json.dumps(figure(rows)).replace("<", "\\u003c"),
        plotly=get_plotlyjs(),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, storable(page))
