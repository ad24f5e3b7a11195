"""`hpo logs`: print the log of a trial."""

from __future__ import annotations

import argparse
import sys

from hpo.cli.run_flags import add_json_argument, add_out_argument, print_json

HELP = "print the log of one trial"
EPILOG = """\
examples:
  hpo logs 3                trial 3 of the newest run
  hpo logs retail 3 --tail 50
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "run_name",
        metavar="RUN",
        nargs="?",
        help="run directory or name (default: the newest run)",
    )
    parser.add_argument("trial", metavar="TRIAL", type=int, help="number of the trial")
    parser.add_argument("--tail", metavar="N", type=int, help="only the last N lines")
    add_out_argument(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print the log file and the epochs of a trial."""
    from hpo.cli.run_flags import chosen_run
    from hpo.core.errors import RunError, SpecError

    if args.tail is not None and args.tail < 1:
        raise SpecError(f"--tail: must be at least 1, got {args.tail}")
    chosen = chosen_run(args)
    folder = chosen.trial_dir(args.trial)
    log = folder / "log.txt"
    if not log.is_file():
        raise RunError(f"{chosen}: trial {args.trial} has no log; `hpo status` lists the trials")
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    lines = lines[-args.tail :] if args.tail else lines
    if args.json:
        print_json({"trial": args.trial, "log": str(log), "lines": lines})
    else:
        sys.stdout.write("\n".join(lines) + "\n")
    return 0
