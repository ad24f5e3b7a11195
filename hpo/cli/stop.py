"""`hpo stop`: ask a running search to finish its epochs and save."""

from __future__ import annotations

import argparse

from hpo.cli.run_flags import add_run_argument, chosen_run, print_json

HELP = "ask a running search to finish its epochs and save"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_run_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Leave the wish in the run directory; the search sees it after its next epoch."""
    from hpo.core.errors import RunError
    from hpo.run.next_commands import resume_command
    from hpo.run.run_dir import Holder

    chosen = chosen_run(args)
    holder = chosen.holder()
    if holder is None:
        raise RunError(f"{chosen}: is not running, so there is nothing to stop")
    if holder is not Holder.SEARCH:
        raise RunError(f"{chosen.held_by()} (`hpo stop` is heard by searches alone)")
    chosen.stop_file.touch()
    if args.json:
        print_json({"run_dir": str(chosen), "stopping": True})
    else:
        later = f"go on later with: {resume_command(chosen)}"
        print(f"{chosen} will stop after the running epochs; {later}")
    return 0
