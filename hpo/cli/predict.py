"""`hpo predict`: label pictures with a run's best model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hpo.cli.run_flags import add_json_argument, add_out_argument, chosen_run, print_json
from hpo.core.text import printable

if TYPE_CHECKING:
    from hpo.results.export import Labelled

HELP = "label pictures with the best model of a run"
EPILOG = """\
examples:
  hpo predict photo.jpg                by the newest run
  hpo predict retail shelf/*.jpg --topk 3
  hpo predict retail shelf             every picture in and below a folder, or in an archive

A line a picture: the classes of its nearest gallery pictures, each with its distance; the smaller
it is, the surer the label. Distances of two models do not compare. Pictures that cannot be read
stop nothing: they are named, with --json as rows with `error`.

exit codes: 0 all labelled, 2 some not
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "words",
        metavar="[RUN] IMAGE",
        nargs="+",
        help="run directory or name (default: the newest run), then pictures to label, or folders "
        "of them",
    )
    parser.add_argument("--topk", metavar="K", type=int, default=5, help="labels per picture")
    add_out_argument(parser)
    add_json_argument(parser)


def split_words(words: list[str], out: Path) -> tuple[str | None, list[str]]:
    """Tell RUN and pictures apart: a file, an address, or a folder that is no run is to label."""
    first = Path(words[0])
    if first.is_file() or "://" in words[0]:
        return None, words
    if first.is_dir() and not _names_run(words, out):
        return None, words
    return words[0], words[1:]


def _names_run(words: list[str], out: Path) -> bool:
    """Whether the first of these words, which is a folder, is a run for those that follow."""
    from hpo.core.errors import RunError
    from hpo.run.run_dir import find_run

    if words[0] == "." and len(words) > 1:
        return True
    try:
        found = find_run(words[0], out)
    except RunError:
        return False
    # A folder of pictures that is called as a study is asks for no run when it stands alone.
    return len(words) > 1 or found.path.resolve().is_relative_to(Path(words[0]).resolve())


def run(args: argparse.Namespace) -> int:
    """Print the nearest labels of each picture; 2 where one could not be labelled."""
    from hpo.cli.driving import machine_output
    from hpo.core.errors import DataError, SpecError
    from hpo.results.export import predict_with_run

    if args.topk < 1:
        raise SpecError(f"--topk: must be at least 1, got {args.topk}")
    args.run_name, sources = split_words(args.words, Path(args.out))
    if not sources:
        raise DataError(
            f"{args.words[0]}: no such picture; name one to label, as `hpo predict [RUN] IMAGE`"
        )
    with machine_output():  # the trainer runs here, and its libraries may print
        labelled = predict_with_run(chosen_run(args), sources, args.topk)
    if args.json:
        print_json(labelled.rows)
    elif labelled.errors and len(labelled.rows) == 1:
        raise DataError("{image}: {error}".format_map(labelled.rows[0]))
    else:
        _print_rows(labelled)
    return 2 if labelled.errors else 0


def _print_rows(labelled: Labelled) -> None:
    """Print labels on stdout; what has none, and what was skipped, on stderr."""
    for row in labelled.rows:
        if "error" in row:
            print(f"{row['image']}: {row['error']}", file=sys.stderr)
            continue
        nearest = ", ".join(
            f"{label} ({distance:.3f})"
            for label, distance in zip(row["labels"], row["distances"], strict=True)
        )
        print(f"{printable(row['image'])}: {nearest}")
    for note in labelled.notes:
        print(note, file=sys.stderr)
    if labelled.errors:
        print(
            f"{len(labelled.errors)} of {len(labelled.rows)} could not be labelled",
            file=sys.stderr,
        )
