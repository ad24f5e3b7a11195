"""`hpo ls`: list runs, and how good their forecasts were."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpo.cli.run_flags import add_output_arguments, print_json, print_table, remembered_runs
from hpo.core.budget import render_seconds
from hpo.core.text import count_of, metric_word
from hpo.core.trial_counts import ENDS

HELP = "list runs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_output_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print one line per run, the newest last."""
    from hpo.cli.status import describe
    from hpo.run.folder_of_runs import command_below
    from hpo.run.run_dir import list_runs

    out = Path(args.out)
    rows = [describe(run) for run in list_runs(out) or remembered_runs(out)]
    if args.json:
        print_json(rows)
        return 0
    if not rows:
        print(f"no runs below {args.out}/; `{command_below(out, 'search')}` makes one")
        return 0
    table = []
    metrics = sorted({metric_word(row["metric"]) for row in rows})
    for row in rows:
        best = row["best"]
        ended = sum(row["counts"].get(state, 0) for state in ENDS)
        value = "" if best is None or best["value"] is None else f"{best['value']:.4f}"
        spent = (row["spent"] or {}).get("seconds")
        time = "" if spent is None else render_seconds(spent)
        told = row["forecasts"][-1:]
        cells = [row["study"], row["status"], str(ended), value, time]
        cells += [f"{_error(told[0]):+z.0%}" if told else "", row["run_dir"]]
        if len(metrics) > 1:
            cells.insert(4, metric_word(row["metric"]))
        table.append(cells)
    head = ["STUDY", "STATUS", "TRIALS", "BEST", "OF", "TIME", "FORECAST", "RUN"]
    if len(metrics) == 1:
        head[3:5] = metrics
    print_table(head, table)
    if line := render_forecasts([told for row in rows for told in row["forecasts"]]):
        print(f"\n{line}")
    return 0


def render_forecasts(told: Sequence[Mapping[str, Any]]) -> str:
    """How far the forecasts of all starts were off, in a line; empty where there was none."""
    if not told:
        return ""
    errors = [abs(_error(one)) for one in told]
    return (
        f"FORECAST: how much longer a run took than its review expected; over "
        f"{count_of(len(told), 'start')} {statistics.median(errors):.0%} off in the median, "
        f"{max(errors):.0%} at most"
    )


def _error(told: Mapping[str, Any]) -> float:
    return float(told["took_s"] / told["expected_s"] - 1.0)
