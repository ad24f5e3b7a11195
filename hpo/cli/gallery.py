"""`hpo gallery`: list the classes of a run's best model; add new ones without training."""

from __future__ import annotations

import argparse
from pathlib import Path

from hpo.cli.run_flags import add_run_argument, chosen_run, print_json, print_table

HELP = "list the classes of a run's gallery, or add some without training"

EPILOG = """\
examples:
  hpo gallery                          classes and pictures of the newest run's gallery
  hpo gallery retail --add new         new/<class>/<picture>: new classes, or more of known ones
  hpo export retail                    makes the gallery as it was
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_run_argument(parser)
    parser.add_argument("--add", metavar="DIR", help="folder of class folders to add")


def run(args: argparse.Namespace) -> int:
    """Add what is to be added, and tell what is there."""
    from hpo.cli.driving import machine_output
    from hpo.results.export import extend_gallery, list_gallery

    chosen = chosen_run(args)
    added = None
    with machine_output():  # the trainer runs here, and its libraries may print
        if args.add is not None:
            added = extend_gallery(chosen, Path(args.add))
        classes = list_gallery(chosen)
    if args.json:
        print_json({"classes": classes, "added": added})
        return 0
    if added is None:
        print_table(["CLASS", "PICTURES"], [[name, str(n)] for name, n in classes.items()])
    else:
        print(f"added   {added['new_pictures']} pictures, {added['new_classes']} new classes")
        print(f"now     {added['pictures']} pictures of {added['classes']} classes")
    return 0
