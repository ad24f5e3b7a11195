"""`hpo report`: write the HTML report of a search."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hpo.cli.run_flags import add_run_argument, chosen_run, print_json

HELP = "write one page about a search, with what its winner gets wrong"

EPILOG = """\
examples:
  hpo report                      report.html and report.md in the newest run's directory
  hpo report retail --to /tmp     of the newest run of the study `retail`, into a folder
  hpo report --no-pictures        at once: without looking at the winner's mistakes

With pictures, mistakes.csv, suspect_labels.csv and confusion.csv lie beside the page.

The page is one file that opens anywhere, also without a network. A search writes it at its end;
while a search goes on it shows how things stand.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_run_argument(parser)
    parser.add_argument("--to", metavar="DIR", help="folder to write to (default: the run)")
    parser.add_argument(
        "--no-pictures",
        action="store_true",
        help="leave out what needs the model: mistakes, classes, map of embeddings",
    )


def run(args: argparse.Namespace) -> int:
    """Write the page and say where it is."""
    from hpo.cli.driving import machine_output
    from hpo.core.errors import SpecError
    from hpo.executors.inprocess import InProcessExecutor
    from hpo.report.page import write_report
    from hpo.report.run_data import load_run_data

    facts = load_run_data(chosen_run(args))
    executor = None if args.no_pictures else InProcessExecutor(facts.study.trainer)
    folder = Path(args.to).resolve() if args.to else None
    if folder is not None and folder.exists() and not folder.is_dir():
        raise SpecError(f"--to: must be a folder to write into, and {args.to} is a file")
    with machine_output():  # the trainer runs here, and its libraries may print
        if executor is not None and not args.json:
            print("looking at the winner's queries ...", file=sys.stderr)
        page = write_report(facts, executor, folder)
    if args.json:
        print_json({"report": str(page), "markdown": str(page.with_suffix(".md"))})
    else:
        print(page)
    return 0
