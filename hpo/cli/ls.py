"""`hpo ls`: list runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from hpo.cli.run_flags import (
    add_json_argument,
    add_out_argument,
    print_json,
    print_table,
)
from hpo.core.text import metric_word

HELP = "list runs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_out_argument(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print one line per run, the newest last."""
    from hpo.cli.status import describe
    from hpo.run.run_dir import list_runs

    rows = [describe(run) for run in list_runs(Path(args.out))]
    if args.json:
        print_json(rows)
        return 0
    if not rows:
        print(f"no runs below {args.out}/; `hpo search` makes one")
        return 0
    table = []
    metrics = sorted({metric_word(row["metric"]) for row in rows})
    for row in rows:
        best = row["best"]
        ended = sum(row["counts"].values())
        value = "" if best is None or best["value"] is None else f"{best['value']:.4f}"
        cells = [row["study"], row["status"], str(ended), value, row["run_dir"]]
        if len(metrics) > 1:
            cells.insert(4, metric_word(row["metric"]))
        table.append(cells)
    head = ["STUDY", "STATUS", "TRIALS", "BEST", "OF", "RUN"]
    if len(metrics) == 1:
        head[3:5] = metrics
    print_table(head, table)
    return 0
