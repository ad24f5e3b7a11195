"""`hpo predict`: label pictures with a run's best model."""

from __future__ import annotations

import argparse
from pathlib import Path

from hpo.cli.run_flags import add_json_argument, add_out_argument, chosen_run, print_json

HELP = "label pictures with the best model of a run"
EPILOG = """\
examples:
  hpo predict photo.jpg                by the newest run
  hpo predict retail shelf/*.jpg --topk 3

A line a picture: the classes of its nearest gallery pictures, each with its distance; the smaller
it is, the surer the label. Distances of two models do not compare.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "words",
        metavar="[RUN] IMAGE",
        nargs="+",
        help="run directory or name (default: the newest run), then pictures to label",
    )
    parser.add_argument("--topk", metavar="K", type=int, default=5, help="labels per picture")
    add_out_argument(parser)
    add_json_argument(parser)


def split_words(words: list[str]) -> tuple[str | None, list[Path]]:
    """Tell RUN and pictures apart: a first word that is a file is a picture."""
    name = None
    if not Path(words[0]).is_file():
        name, words = words[0], words[1:]
    return name, [Path(word) for word in words]


def run(args: argparse.Namespace) -> int:
    """Print the nearest labels of each picture."""
    from hpo.cli.driving import machine_output
    from hpo.core.errors import DataError, SpecError
    from hpo.results.export import predict_with_run

    if args.topk < 1:
        raise SpecError(f"--topk: must be at least 1, got {args.topk}")
    args.run_name, images = split_words(args.words)
    if not images:
        raise DataError(
            f"{args.words[0]}: no such picture; name one to label, as `hpo predict [RUN] IMAGE`"
        )
    missing = next((image for image in images if not image.is_file()), None)
    if missing is not None:
        raise DataError(
            f"{missing}: {'a folder' if missing.is_dir() else 'no such picture'}; name image files"
        )
    with machine_output():  # the trainer runs here, and its libraries may print
        rows = predict_with_run(chosen_run(args), images, args.topk)
    if args.json:
        print_json(rows)
        return 0
    for row in rows:
        nearest = ", ".join(
            f"{label} ({distance:.3f})"
            for label, distance in zip(row["labels"], row["distances"], strict=True)
        )
        print(f"{row['image']}: {nearest}")
    return 0
