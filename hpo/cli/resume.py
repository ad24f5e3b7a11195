"""`hpo resume`: continue a stopped search, or extend a finished one."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from hpo.cli.run_flags import add_disk_arguments, add_run_argument, add_start_arguments, chosen_run
from hpo.core.budget import extend_budget
from hpo.core.text import absolute_path
from hpo.study.sections import SPLITS

if TYPE_CHECKING:
    from hpo.searching.settings import SearchResult, SearchSettings


HELP = "go on with a stopped search, or extend a finished one"
_PLACES = ("data", *SPLITS)
EPILOG = """\
examples:
  hpo resume                      the newest run, to the end of its budget
  hpo resume runs/retail/20260102-101500
  hpo resume --budget +20         20 trials more than before
  hpo resume --budget +20,+2h     20 trials and two hours more, of a budget that limits both
  hpo resume --keep best          remove the checkpoints that nothing can need any more
  hpo resume --train /new/train   the training pictures have moved there
  hpo resume --moved /old/w.ckpt=/new/w.ckpt    so have the weights
  hpo resume --force              go on although what it was searched with has changed
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_run_argument(parser)
    parser.add_argument("--budget", metavar="B", help="new budget, or +B to add to the old one")
    add_disk_arguments(parser, default="as the search began")
    for name in _PLACES:
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            metavar="PLACE",
            help=f"where the {name.replace('_', ' ')} pictures lie now, if they have moved",
        )
    parser.add_argument(
        "--moved",
        metavar="OLD=NEW",
        action="append",
        default=[],
        help="another file or folder that has moved: weights, a skill folder (repeatable)",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="go on although the search space, the data or the code have changed",
    )
    add_start_arguments(parser)
    parser.add_argument("--no-report", action="store_true", help="write no report.html at the end")


def run(args: argparse.Namespace) -> int:
    """Resume, with the same events and last line as a search."""
    from hpo.cli.driving import drive
    from hpo.core.bytes import parse_size
    from hpo.run.checkpoint_retention import check_keep
    from hpo.study.spec import load_study

    def start(settings: SearchSettings) -> SearchResult:
        from hpo.automl.workspace import demand_started_here, is_workspace
        from hpo.searching.session import resume_search

        chosen, budget = chosen_run(args), None
        if args.keep is not None:
            check_keep(args.keep, "--keep")
        parse_size(args.disk_quota or "", "--disk-quota")
        if args.budget is not None:
            budget = extend_budget(load_study(chosen.study_file).budget, args.budget)
        if is_workspace(chosen.path):
            from hpo.automl.session import AutoMLSession

            demand_started_here(chosen.path)
            settings = replace(settings, make_session=AutoMLSession)
        places = {name: getattr(args, name) for name in _PLACES if getattr(args, name)}
        moved = read_moved_places(args.moved)
        settings = replace(settings, force=args.force, places=places, moved=moved)
        return resume_search(
            chosen,
            settings,
            budget=budget,
            keep=args.keep,
            disk_quota=args.disk_quota,
        )

    return drive(args, start)


def read_moved_places(pairs: Iterable[str]) -> dict[str, str]:
    """New places of files by their old ones."""
    from hpo.core.spec_dicts import refuse_two

    places: dict[str, str] = {}
    for old, new in map(read_moved, pairs):
        refuse_two(f"--moved {old}", places.setdefault(old, new), new)
    return places


def read_moved(pair: str) -> tuple[str, str]:
    """The old and the new place of a file; the new one from wherever it is seen.

    Both may hold `=`: it is split where something lies at the new place, else before a path.
    """
    from hpo.core.errors import SpecError

    words = pair.split("=")
    splits = [("=".join(words[:i]), "=".join(words[i:])) for i in range(1, len(words))]
    given = [(old, new) for old, new in splits if old and new]
    if not given:
        raise SpecError(f"--moved {pair}: must be OLD=NEW, the old and the new place of a file")
    old, new = max(
        given,
        key=lambda it: (os.path.exists(os.path.expanduser(it[1])), it[1].startswith(("/", "~"))),  # noqa: PTH110, PTH111 - Path raises for names too long
    )
    return old, str(absolute_path(new))
