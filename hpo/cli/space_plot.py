"""Draws a search space: a self-contained HTML page, or a PNG by matplotlib."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

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
        "<p>Share of draws along each parameter's own scale; the line is the default, with which "
        f"the search begins.</p><main>{figures}</main></body></html>\n",
        encoding="utf-8",
    )


def _figure(panel: Panel) -> str:
    top = max(panel.shares) or 1.0
    inner, floor = _WIDTH - 2 * _PAD, _HEIGHT - _PAD
    step = inner / len(panel.shares)
    parts = [f"<line class='axis' x1='{_PAD}' y1='{floor}' x2='{_WIDTH - _PAD}' y2='{floor}'/>"]
    for index, share in enumerate(panel.shares):
        height = (floor - 8) * share / top
        parts.append(
            f"<rect class='bar' x='{_PAD + index * step + 0.5:.1f}' y='{floor - height:.1f}' "
            f"width='{max(step - 1, 0.5):.1f}' height='{height:.1f}'>"
            f"<title>{share:.1%}</title></rect>"
        )
    if panel.default is not None:
        x = _PAD + panel.default * inner
        parts.append(f"<line class='default' x1='{x:.1f}' y1='4' x2='{x:.1f}' y2='{floor}'/>")
    for position, label in panel.marks:
        x = _PAD + position * inner
        text = html.escape(label if len(label) <= 16 else f"{label[:15]}…")
        parts.append(f"<text x='{x:.1f}' y='{floor + 15}' text-anchor='middle'>{text}</text>")
    title = html.escape(panel.title)
    return (
        f"<figure><figcaption>{title}</figcaption><small>{html.escape(panel.subtitle)}</small>"
        f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' role='img' aria-label='{title}'>"
        f"{''.join(parts)}</svg></figure>"
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
        step = 1 / len(panel.shares)
        starts = [step * k for k in range(len(panel.shares))]
        axes.bar(starts, panel.shares, width=step, align="edge", color="#7aa6d8")
        if panel.default is not None:
            axes.axvline(panel.default, color="#c2452d")
        axes.set_title(f"{panel.title}\n{panel.subtitle}", fontsize=7)
        axes.set_xticks([u for u, _ in panel.marks], [t for _, t in panel.marks], fontsize=6)
        axes.set_yticks([])
        axes.set_xlim(0, 1)
    figure.savefig(path, dpi=130)


_WRITERS: dict[str, Callable[[Sequence[Panel], Path], None]] = {
    ".html": _write_html,
    ".png": _write_png,
}
