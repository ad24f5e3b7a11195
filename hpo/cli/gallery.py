"""`hpo gallery`: list the classes of a run's best model; add new ones without training."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from hpo.cli.run_flags import add_run_argument, chosen_run, print_json, print_table
from hpo.core.text import count_of

HELP = "list the classes of a run's gallery, add or remove some without training"

EPILOG = """\
examples:
  hpo gallery                          classes and pictures of the newest run's gallery
  hpo gallery retail --add new         new/<class>/<picture>: new classes, or more of known ones
  hpo gallery retail --remove lemon    what is out of stock; twice for two classes
  hpo export retail                    makes the gallery as it was

Pictures that are in the gallery already are not added again. Those that cannot be read, or are
there under another class, are named and left out.

exit codes: 0 all done, 2 some pictures were not added, or nothing was changed
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_run_argument(parser)
    parser.add_argument("--add", metavar="DIR", help="folder of class folders to add")
    parser.add_argument(
        "--remove",
        metavar="CLASS",
        action="append",
        default=[],
        help="class to take out, before anything is added; may be given several times",
    )


def run(args: argparse.Namespace) -> int:
    """Change what is to be changed, and tell what is there; 2 where a picture was not added."""
    from hpo.cli.driving import machine_output
    from hpo.results.export import extend_gallery, list_gallery, shrink_gallery

    chosen = chosen_run(args)
    added = removed = None
    with machine_output():  # the trainer runs here, and its libraries may print
        if args.remove:
            removed = shrink_gallery(chosen, args.remove)
        if args.add is not None:
            added = extend_gallery(chosen, args.add)
        classes = list_gallery(chosen)
    errors = (added or {}).get("errors", [])
    if args.json:
        print_json({"classes": classes, "added": added, "removed": removed})
    elif added is None and removed is None:
        print_table(["CLASS", "PICTURES"], [[name, str(n)] for name, n in classes.items()])
    else:
        for line in _changes(removed, added):
            print(line)
        for note in (added or {}).get("notes", []):
            print(f"note    {note}", file=sys.stderr)
        for row in errors:
            print(f"{row['image']}: {row['error']}", file=sys.stderr)
    return 2 if errors else 0


def _changes(removed: Mapping[str, Any] | None, added: Mapping[str, Any] | None) -> Iterator[str]:
    if removed is not None:
        pictures = count_of(removed["removed_pictures"], "picture")
        yield f"removed {pictures} of {count_of(removed['removed_classes'], 'class', 'classes')}"
    if added is not None:
        classes = count_of(added["new_classes"], "new class", "new classes")
        yield f"added   {count_of(added['new_pictures'], 'picture')}, {classes}"
        if added.get("known_pictures"):
            yield f"known   {count_of(added['known_pictures'], 'picture')}, there already"
    now = added or removed or {}
    classes = count_of(now["classes"], "class", "classes")
    yield f"now     {count_of(now['pictures'], 'picture')} of {classes}"
