"""Curves of simulated searches: the true value of the best against epochs, trials and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tests.benchmarks.policy_runs import Outcome

AXES = {"epochs": 0, "trials": 1, "simulated time (s)": 2}
SHOWN = ("auto", "random, full training", "Ray ASHA + OptunaSearch", "random, raw schema ranges")
"""Drawn with their quartiles; all others as thin lines."""
POINTS = 200


def draw(
    path: Path,
    runs: Mapping[tuple[str, str, int], Outcome],
    surfaces: Sequence[str],
    policies: Sequence[str],
) -> None:
    """Write one picture: a row per surface, a column per axis."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    size = (5.2 * len(AXES), 3.6 * len(surfaces) + 0.6)
    figure, grid = plt.subplots(len(surfaces), len(AXES), figsize=size, squeeze=False)
    colors = dict(zip(policies, mpl.colormaps["tab20"].colors, strict=False))
    for row, surface in zip(grid, surfaces, strict=True):
        for plot, (axis, column) in zip(row, AXES.items(), strict=True):
            for name in policies:
                mine = [run for (s, p, _), run in runs.items() if (s, p) == (surface, name)]
                if mine:
                    _curve(plot, mine, column, name, colors[name])
            plot.set_xlabel(axis)
            plot.set_xscale("log")
            plot.grid(alpha=0.25)
        row[0].set_ylabel("end value of the best, noise aside")
        row[0].set_title(surface, loc="left", fontweight="bold")
        _zoom(row, [run for (s, _, _), run in runs.items() if s == surface])
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", ncol=5, fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.75 / size[1]))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _curve(plot, mine, column, name, color):
    ends = [_last(run, column) for run in mine]
    last = float(np.median(ends))
    at = np.geomspace(last / 100, last, POINTS)
    values = np.array([_steps(run, column, at) for run in mine])
    low, middle, high = np.nanquantile(values, [0.25, 0.5, 0.75], axis=0)
    is_shown = name in SHOWN
    width, order = (2.2, 3) if is_shown else (1.0, 2)
    plot.plot(at, middle, label=name, color=color, lw=width, zorder=order)
    if is_shown:
        plot.fill_between(at, low, high, color=color, alpha=0.15, lw=0)


def _last(run: Outcome, column: int) -> float:
    """Where a run ends on an axis."""
    per_epoch = run.trace[-1][2] / max(1, run.trace[-1][0])
    return (run.epochs, run.trials, run.epochs * per_epoch)[column]


def _steps(run: Outcome, column: int, at: np.ndarray) -> np.ndarray:
    """The value at places along an axis; nothing before the first epoch."""
    places = np.array([point[column] for point in run.trace])
    values = np.array([point[3] for point in run.trace])
    index = np.searchsorted(places, at, side="right") - 1
    return np.where(index >= 0, values[np.maximum(index, 0)], np.nan)


def _zoom(row, runs) -> None:
    """Leave out the lowest values, which would press all others together."""
    ends = [run.trace[-1][3] for run in runs]
    top = max(ends)
    low = max(min(ends) - 0.02, top - 0.35)
    for plot in row:
        plot.set_ylim(low, top + 0.02)
