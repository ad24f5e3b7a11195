"""Draws a search space: a self-contained HTML page, or a PNG by matplotlib."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo.cli.space_panels import Panel, make_panels
from hpo.core.errors import SpecError

if TYPE_CHECKING:
    from search_spaces import SearchSpace

_STYLE = """\
:root { color-scheme: light dark; --ink: #1d2733; --soft: #6b7785; --bar: #7aa6d8;
  --mark: #c2452d; --page: #ffffff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6ebf1; --soft: #9aa6b3; --bar: #4c7fb8;
  --mark: #ff8a6b; --page: #14191f; } }
body { font: 14px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--page);
  margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(21rem, 1fr)); gap: 1rem; }
figure { margin: 0; } figcaption { font-weight: 600; overflow-wrap: anywhere; }
p, small { color: var(--soft); } svg { width: 100%; height: auto; }
svg text { fill: var(--soft); font-size: 11px; } .bar { fill: var(--bar); }
.default { stroke: var(--mark); stroke-width: 2; } .axis { stroke: var(--soft); }
"""
_WIDTH, _HEIGHT, _PAD = 340, 110, 22


def write_plot(space: SearchSpace, path: Path) -> None:
    """Write a picture of every distribution with its default.

    Raises:
        SpecError: for another file type, or a PNG without matplotlib.
    """
    if path.suffix not in _WRITERS:
        raise SpecError(f"--plot: must end in {' or '.join(_WRITERS)}, got {path}")
    panels = make_panels(space)
    if not panels:
        raise SpecError("--plot: nothing varies in this space, so there is nothing to draw")
    path.parent.mkdir(parents=True, exist_ok=True)
    _WRITERS[path.suffix](panels, path)


def _write_html(panels: Sequence[Panel], path: Path) -> None:
    figures = "\n".join(map(_figure, panels))
    path.write_text(
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'><title>Search space</title>"
        f"<style>{_STYLE}</style></head><body><h1>Search space</h1>"
        "<p>Share of draws along each parameter's own scale; the line marks the default, with "
        f"which the search begins.</p><main>{figures}</main></body></html>\n",
        encoding="utf-8",
    )


def _figure(panel: Panel) -> str:
    title = html.escape(panel.title)
    height, parts = _option_bars(panel) if panel.labels else _number_bars(panel)
    return (
        f"<figure><figcaption>{title}</figcaption><small>{html.escape(panel.subtitle)}</small>"
        f"<svg viewBox='0 0 {_WIDTH} {height}' role='img' aria-label='{title}'>"
        f"{''.join(parts)}</svg></figure>"
    )


def _number_bars(panel: Panel) -> tuple[int, list[str]]:
    """Return height and marks of a chart with one bar per stretch of the scale."""
    top = max(panel.shares) or 1.0
    inner, floor = _WIDTH - 2 * _PAD, _HEIGHT - _PAD
    step = inner / len(panel.shares)
    parts = [f"<line class='axis' x1='{_PAD}' y1='{floor}' x2='{_WIDTH - _PAD}' y2='{floor}'/>"]
    for index, share in enumerate(panel.shares):
        height = (floor - 8) * share / top
        x = _PAD + index * step + 0.5
        parts.append(_bar(x, floor - height, max(step - 1, 0.5), height, share))
    if panel.default is not None:
        x = _PAD + panel.default * inner
        parts.append(f"<line class='default' x1='{x:.1f}' y1='4' x2='{x:.1f}' y2='{floor}'/>")
    for position, label in panel.marks:
        x = _PAD + position * inner
        text = html.escape(label)
        parts.append(f"<text x='{x:.1f}' y='{floor + 15}' text-anchor='middle'>{text}</text>")
    return _HEIGHT, parts


def _option_bars(panel: Panel) -> tuple[int, list[str]]:
    """Return height and marks of a chart with one row per option."""
    top = max(panel.shares) or 1.0
    left, row = _WIDTH * 0.45, 18
    parts: list[str] = []
    for index, (label, share) in enumerate(zip(panel.labels, panel.shares, strict=True)):
        y = 4 + index * row
        width = (_WIDTH - left - _PAD) * share / top
        parts.append(_bar(left, y + 2, width, row - 5, share))
        text = html.escape(label if len(label) <= 24 else f"{label[:23]}…")
        parts.append(f"<text x='{left - 8:.1f}' y='{y + 12}' text-anchor='end'>{text}</text>")
        if index == panel.default:
            x = left - 3
            line = f"x1='{x:.1f}' y1='{y + 1}' x2='{x:.1f}' y2='{y + row - 2}'"
            parts.append(f"<line class='default' {line}/>")
    return max(8 + row * len(panel.labels), _HEIGHT), parts


def _bar(x: float, y: float, width: float, height: float, share: float) -> str:
    return (
        f"<rect class='bar' x='{x:.1f}' y='{y:.1f}' width='{width:.1f}' height='{height:.1f}'>"
        f"<title>{share:.1%}</title></rect>"
    )


def _write_png(panels: Sequence[Panel], path: Path) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise SpecError(
            f"--plot {path}: a PNG needs matplotlib; install it, or write FILE.html"
        ) from error
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(4.4 * columns, 2.1 * rows), layout="constrained")
    for index, panel in enumerate(panels):
        axes = figure.add_subplot(rows, columns, index + 1)
        axes.set_title(f"{panel.title}\n{panel.subtitle}", fontsize=7)
        (_draw_options if panel.labels else _draw_numbers)(axes, panel)
    figure.savefig(path, dpi=130)


def _draw_numbers(axes: Any, panel: Panel) -> None:
    step = 1 / len(panel.shares)
    starts = [step * k for k in range(len(panel.shares))]
    axes.bar(starts, panel.shares, width=step, align="edge", color=_BLUE)
    if panel.default is not None:
        axes.axvline(panel.default, color=_RED)
    axes.set_xticks([u for u, _ in panel.marks], [text for _, text in panel.marks], fontsize=6)
    axes.set_yticks([])
    axes.set_xlim(0, 1)


def _draw_options(axes: Any, panel: Panel) -> None:
    colors = [_RED if k == panel.default else _BLUE for k in range(len(panel.shares))]
    axes.barh(range(len(panel.shares)), panel.shares, color=colors)
    axes.set_yticks(range(len(panel.labels)), panel.labels, fontsize=6)
    axes.set_xticks([])
    axes.invert_yaxis()


_BLUE, _RED = "#7aa6d8", "#c2452d"
_WRITERS: dict[str, Callable[[Sequence[Panel], Path], None]] = {
    ".html": _write_html,
    ".png": _write_png,
}
