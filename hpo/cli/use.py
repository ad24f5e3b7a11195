"""`hpo use`: pin the run whose model is used where none is named."""

from __future__ import annotations

import argparse
from pathlib import Path

from hpo.cli.run_flags import add_output_arguments, print_json

HELP = "pin the run that predict, gallery and serve use where none is named"
EPILOG = """\
examples:
  hpo use                    which run is used now
  hpo use retail             the newest finished run of the study `retail`, until told otherwise
  hpo use --none             the newest finished run again, whichever that is
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("run_name", metavar="RUN", nargs="?", help="run directory or name to pin")
    parser.add_argument("--none", action="store_true", help="pin none")
    add_output_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Pin, and say which run is used."""
    from hpo.core.errors import SpecError
    from hpo.run.folder_of_runs import command_below
    from hpo.run.next_commands import no_model_error
    from hpo.run.run_dir import list_runs
    from hpo.run.used_run import find_model_run, is_finished, pin_run, pinned_run, unpin_run

    out = Path(args.out)
    if args.none and args.run_name:
        raise SpecError(f"--none: pins no run, and {args.run_name} was named; give one of the two")
    if args.none:
        unpin_run(out)
    elif args.run_name:
        chosen = find_model_run(args.run_name, out)
        if not is_finished(chosen):
            raise no_model_error(chosen)
        pin_run(chosen, out)
    pinned = pinned_run(out)
    is_pinned = pinned is not None
    used = find_model_run(None, out) if is_pinned or list_runs(out) else None
    if used is not None and not is_pinned and not is_finished(used):
        used = None
    if args.json:
        print_json({"run": None if used is None else str(used), "pinned": is_pinned})
    elif pinned is not None and not is_finished(pinned):
        unpin = command_below(out, "use", "--none")
        print(f"{pinned} is pinned and has no exported model; pin another, or `{unpin}`")
    elif used is None:
        print(f"no run below {out}/ is finished yet, so there is no model to use")
    else:
        print(f"{used} ({'pinned' if is_pinned else 'the newest finished; none is pinned'})")
    return 0
