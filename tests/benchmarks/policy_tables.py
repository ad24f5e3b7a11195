"""Summaries and tables of simulated searches: medians, and what others are ahead of `auto`.

The lead of a policy is the mean over seeds of its value less that of `auto` with the same seed; its
upper bound holds with 95 % (one-sided, Student's t over the seeds), for each budget on its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tests.benchmarks.policy_runs import Outcome

Runs = Mapping[tuple[str, str, int, int | None], Outcome]
"""(surface, policy, seed, budget of trials or None) -> what a search had found."""

EPOCHS = (90, 180, 270, 540, 1080)
TRIALS = (5, 10, 20, 40)
OURS, FULL = "auto", "random, full training"
SURE = 0.95
SHARES = (0.95, 0.99)
"""Shares of the best known value; a table gives the epochs after which each is reached."""


def summarize(
    surface: str,
    runs: Runs,
    names: Sequence[str],
    *,
    seeds: Sequence[int],
    epochs: Sequence[int],
    best_known: float,
) -> dict[str, Any]:
    """What the policies had found on a surface, and their leads over ours.

    Args:
        surface: its name.
        runs: all of them.
        names: of the policies.
        seeds: that count; a policy is left out where one is missing.
        epochs: the budgets at which long searches are read.
        best_known: the value that shares are of.
    """
    rows = {}
    for name in names:
        long = [runs.get((surface, name, seed, None)) for seed in seeds]
        short = [[runs.get((surface, name, seed, n)) for n in TRIALS] for seed in seeds]
        values = {}
        if None not in long:
            values["epochs"] = [[run.at(budget) for budget in epochs] for run in long]
        if all(None not in row for row in short):
            values["trials"] = [[run.at(run.epochs) for run in row] for row in short]
        if values:
            rows[name] = {"values": values, **(_long(long, best_known) if None not in long else {})}
    leads = {name: _leads(row, rows[OURS]) for name, row in rows.items()} if OURS in rows else {}
    return {
        "seeds": list(seeds),
        "epochs": list(epochs),
        "best_known": round(best_known, 4),
        "policies": rows,
        "leads": {name: lead for name, lead in leads.items() if name != OURS},
    }


def _long(runs: Sequence[Outcome], best_known: float) -> dict[str, Any]:
    return {
        "epochs_to": {f"{share:.0%}": middle(runs, share * best_known) for share in SHARES},
        "trials": float(np.median([run.trials for run in runs])),
        "busy": float(np.median([run.busy for run in runs])),
    }


def _leads(row: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, list[dict[str, float]]]:
    both = [kind for kind in row["values"] if kind in ours["values"]]
    return {
        kind: [
            lead(gains)
            for gains in (np.array(row["values"][kind]) - np.array(ours["values"][kind])).T
        ]
        for kind in both
    }


def middle(runs: Sequence[Outcome], value: float) -> float | None:
    """Median epochs until the best is as good; None where half of the searches never get there."""
    found = [run.reaches(value) for run in runs]
    median = float(np.median([np.inf if epochs is None else epochs for epochs in found]))
    return median if np.isfinite(median) else None


def lead(gains: np.ndarray) -> dict[str, float]:
    """Mean of paired differences, its standard error, and its upper bound."""
    from scipy.stats import t

    mean, error = float(gains.mean()), float(gains.std(ddof=1)) / len(gains) ** 0.5
    upper = mean + float(t.ppf(SURE, len(gains) - 1)) * error
    return {"mean": round(mean, 4), "error": round(error, 4), "upper": round(upper, 4)}


def tables(surface: str, summary: Mapping[str, Any]) -> str:
    """One surface as Markdown tables: after epochs, after trials, and the leads."""
    rows, seeds = summary["policies"], summary["seeds"]
    heads = [f"{n} epochs" for n in summary["epochs"]]
    epochs = _table(
        [*heads, "to 95 %", "to 99 %", "trials"],
        {
            name: [
                *_quartiles(row["values"]["epochs"]),
                *("-" if n is None else f"{n:.0f}" for n in row["epochs_to"].values()),
                f"{row['trials']:.0f}",
            ]
            for name, row in rows.items()
            if "epochs" in row["values"]
        },
    )
    trials = _table(
        [f"{n} trials" for n in TRIALS],
        {
            name: _quartiles(row["values"]["trials"])
            for name, row in rows.items()
            if "trials" in row["values"]
        },
    )
    parts = [
        f"### {surface}: best known {summary['best_known']:.4f}, seeds {seeds[0]} to {seeds[-1]}",
        epochs,
        f"Lead over {OURS}: mean and upper {SURE:.0%} bound",
        _table(heads, _lead_cells(summary, "epochs")),
    ]
    if any("trials" in row["values"] for row in rows.values()):
        heads = [f"{n} trials" for n in TRIALS]
        parts += [trials, _table(heads, _lead_cells(summary, "trials"))]
    return "\n\n".join(parts)


def _lead_cells(summary: Mapping[str, Any], kind: str) -> dict[str, list[str]]:
    return {
        name: [f"{one['mean']:+.3f} (at most {one['upper']:+.3f})" for one in leads[kind]]
        for name, leads in summary["leads"].items()
        if kind in leads
    }


def _quartiles(values: Sequence[Sequence[float]]) -> list[str]:
    """Median and quartiles of each column."""
    found = np.quantile(np.array(values), [0.25, 0.5, 0.75], axis=0).T
    return [f"{mid:.3f} ({low:.3f} to {high:.3f})" for low, mid, high in found]


def _table(heads: Sequence[str], rows: Mapping[str, Sequence[str]]) -> str:
    lines = [f"| policy | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    return "\n".join([*lines, *(f"| {name} | {' | '.join(row)} |" for name, row in rows.items())])
