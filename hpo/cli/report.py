"""`hpo report`: write the HTML report of a search."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hpo.cli.driving import machine_output
from hpo.cli.run_flags import add_run_argument, chosen_run, print_json, print_table
from hpo.core.errors import RunError, SpecError
from hpo.core.text import count_of
from hpo.core.ties import may_be_chance

if TYPE_CHECKING:
    from hpo.report.run_data import RunData
    from hpo.results.pair_runs import Pairing

HELP = "write one page about a search, with what its winner gets wrong; or compare two"

EPILOG = """\
examples:
  hpo report                      report.html and report.md in the newest run's directory
  hpo report retail --to /tmp     of the newest run of the study `retail`, into a folder
  hpo report --no-pictures        at once: without looking at the winner's mistakes
  hpo report first second         which of two searches found the better model, class by class

With pictures, mistakes.csv, suspect_labels.csv and confusion.csv lie beside the page.

The page is one file that opens anywhere, also without a network. A search writes it at its end;
while a search goes on it shows how things stand.

Two runs are compared on the terminal (--json for all classes): the best trials on the held-out
queries that both searches have, else on the validation queries, which chose them. Only queries that
both have count (the same file under the same class), and differences are taken query by query. P@1
is the mean over classes.
"""
_TITLE = b"hpo report</title>"
"""In every page of ours."""
CLASSES = 12
"""Rows of classes that are printed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_run_argument(parser)
    parser.add_argument(
        "other", metavar="OTHER", nargs="?", help="a second run, to compare the first with"
    )
    parser.add_argument("--to", metavar="DIR", help="folder to write to (default: the run)")
    parser.add_argument(
        "--no-pictures",
        action="store_true",
        help="leave out what needs the model: mistakes, classes, map of embeddings",
    )


def run(args: argparse.Namespace) -> int:
    """Write the page and say where it is."""
    from hpo.executors.inprocess import InProcessExecutor
    from hpo.report.page import write_report
    from hpo.report.run_data import load_run_data

    facts = load_run_data(chosen_run(args, looks=True))
    if args.other:
        return _compare(args, facts)
    executor = None if args.no_pictures else InProcessExecutor(facts.study.trainer)
    folder = Path(args.to).resolve() if args.to else None
    if folder is not None and folder.exists() and not folder.is_dir():
        raise SpecError(f"--to: must be a folder to write into, and {args.to} is a file")
    if folder is not None:
        _refuse_others(folder)
    with machine_output():  # the trainer runs here, and its libraries may print
        if executor is not None and not args.json:
            print("looking at the winner's queries ...", file=sys.stderr)
        page = write_report(facts, executor, folder)
    if args.json:
        print_json({"report": str(page), "markdown": str(page.with_suffix(".md"))})
    else:
        print(page)
    return 0


def _refuse_others(folder: Path) -> None:
    """Refuse a folder in which a report would replace files that are of none."""
    from hpo.report.tables import CONFUSION, MISTAKES, SUSPECTS

    page = folder / "report.html"
    if page.is_file() and _TITLE in page.read_bytes()[:2000]:
        return
    names = (page.name, "report.md", MISTAKES, SUSPECTS, CONFUSION)
    if there := [name for name in names if (folder / name).exists()]:
        raise SpecError(
            f"--to: must not replace what is there, and {folder / there[0]} is of no report; "
            "name another folder"
        )


def _compare(args: argparse.Namespace, first: RunData) -> int:
    """Print how the winners of two runs do on the queries that both have."""
    from dataclasses import asdict

    from hpo.report.run_data import load_run_data
    from hpo.results.pair_runs import shared_splits
    from hpo.run.run_dir import find_run

    if args.to or args.no_pictures:
        flag = "--to" if args.to else "--no-pictures"
        raise SpecError(f"{flag}: is for the page about one run; leave it out to compare two")
    second = load_run_data(find_run(args.other, Path(args.out)))
    if second.run.path == first.run.path:
        raise SpecError(f"two runs must be given to compare, got {first.run} twice")
    both = (first, second)
    with machine_output():  # the trainer runs here, and its libraries may print
        splits = shared_splits(first.trainer, first.plan.sources, second.plan.sources)
        if not args.json:
            print("looking at the queries of both winners ...", file=sys.stderr)
        pairing, split = _paired(both, *splits)
    if args.json:
        runs = [{"run": str(f.run), "trial": f.best.number if f.best else None} for f in both]
        print_json({"runs": runs, "split": split, **asdict(pairing)})
        return 0
    for line in _lines(both, pairing, split):
        print(line)
    rows = [
        [
            p.name,
            str(p.num_queries),
            f"{p.first:.3f}",
            f"{p.second:.3f}",
            f"{p.second - p.first:+z.3f}",
        ]
        for p in pairing.classes[:CLASSES]
        if p.first != p.second
    ]
    if rows:
        print()
        print_table(["CLASS", "QUERIES", "FIRST", "SECOND", "CHANGE"], rows)
    return 0


def _paired(both: tuple[RunData, RunData], split: str, *others: str) -> tuple[Pairing, str]:
    """Compare two winners on a split, or on the next where no query of it is of both."""
    from hpo.report.mistakes import looked_up_by_both
    from hpo.results.pair_runs import pair_queries

    looked = looked_up_by_both(both, split)
    try:
        pairing = pair_queries(*(found["queries"] for found in looked))
    except RunError:
        if not others:
            raise
        return _paired(both, *others)
    return pairing, "held-out" if split == "test_query" else "validation"


def _lines(both: tuple[RunData, RunData], pairing: Pairing, split: str) -> Iterator[str]:
    for name, facts, value, interval in zip(
        ("first", "second"), both, pairing.values, pairing.intervals, strict=True
    ):
        number = facts.best.number if facts.best else "-"
        low, high = interval
        yield f"{name:<8}P@1 {value:.4f} ({low:.4f} to {high:.4f})  trial {number} of {facts.run}"
    low, high = pairing.gain_interval
    chance = ", which may be chance" if may_be_chance(pairing.gain_interval) else ""
    yield f"{'gain':<8}{pairing.gain:+z.4f} ({low:+z.4f} to {high:+z.4f}){chance}"
    queries = count_of(pairing.num_queries, "query", "queries")
    alone = sum(pairing.num_unpaired)
    left_out = f"; {alone} that only one has are left out" if alone else ""
    why = "" if split == "held-out" else ", which chose both winners"
    yield f"{'on':<8}{queries} of the {split} pictures{why}{left_out}"
