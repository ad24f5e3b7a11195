"""`hpo gallery`: list and change the classes of a run's best model, and calibrate what is none."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from hpo.cli.driving import machine_output
from hpo.cli.run_flags import (
    USED_RUN,
    add_run_argument,
    model_run,
    print_json,
    print_run,
    print_table,
)
from hpo.core.errors import SpecError
from hpo.core.text import count_of, printable

if TYPE_CHECKING:
    from hpo.run.run_dir import RunDir

HELP = "list and change the classes of a run's gallery; calibrate unknown pictures"

EPILOG = """\
examples:
  hpo gallery                          classes and pictures of the run that `hpo use` pinned, else
                                       of the newest finished one
  hpo gallery retail --add new         new/<class>/<picture>: new classes, or more of known ones
  hpo gallery retail --remove lemon    what is out of stock; twice for two classes
  hpo gallery retail --merge /mnt/shop2/best
  hpo gallery retail --undo            as it was before the last change; five are kept
  hpo gallery retail --kind 8-bit      a quarter of the bytes
  hpo gallery retail --sizes           P@1, bytes and time of every kind and length
  hpo gallery retail --calibrate-unknown
                                       trains the model's recipe twice more, with half of the
                                       classes each, for `hpo predict --unknown-at`
  hpo export retail                    makes the gallery anew, from the study's pictures; this one
                                       stays in best-1/

Pictures that are in the gallery already are not added again. Those that cannot be read, or are
there under another class, are named and left out. A class that the model's dataset.class_map
names is called by that name, and either name takes it out. A gallery belongs to one model: with
another it is refused.

A network takes pictures of classes that it was not trained on for known ones far more often than
those of a class which was only left out of its gallery. --calibrate-unknown measures how often, by
networks that never saw the classes; before it begins it says how long that takes, about as long as
the model itself took for two trainings. Heads on a frozen trunk need none of it: an export
calibrates them. Finished trainings are kept in the run: after Ctrl-C, or `hpo export`, the same
command goes on from them.

exit codes: 0 all done, 2 some pictures were not added, or what was asked for is refused
"""

TRAININGS = 2
"""The least, which take about as long as the model itself did."""
CHANGES = ("undone", "removed", "added", "merged", "set")
"""In the order in which they are made."""
KINDS = ("flat", "16-bit", "8-bit", "hnsw")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_run_argument(parser, USED_RUN)
    parser.add_argument("--add", metavar="DIR", help="folder of class folders to add")
    parser.add_argument(
        "--merge",
        metavar="GALLERY",
        help="gallery to add all pictures of: a gallery.npz, a folder that holds one, or a run; "
        "made by the same model",
    )
    parser.add_argument(
        "--remove",
        metavar="CLASS",
        action="append",
        default=[],
        help="class to take out, before anything is added; may be given several times",
    )
    parser.add_argument("--undo", action="store_true", help="undo the last change, before others")
    parser.add_argument(
        "--kind",
        choices=KINDS,
        help="how embeddings are kept and searched: all of 32, 16 or 8 bits a value, or along a "
        "graph (hnsw), which is quick among a hundred thousand",
    )
    parser.add_argument(
        "--matching",
        choices=("nearest", "prototypes"),
        help="what pictures are compared with: every picture of the gallery, or a mean per class",
    )
    parser.add_argument(
        "--sizes",
        action="store_true",
        help="measure the gallery as it is in every kind and matching, and with shorter "
        "embeddings; nothing is changed or trained",
    )
    parser.add_argument(
        "--calibrate-unknown",
        metavar="N",
        nargs="?",
        type=int,
        const=TRAININGS,
        help="bring `hpo predict --unknown-at` close to the asked rate where the whole network was "
        "trained: train N times more, each without another N-th of the classes "
        "(default: %(const)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Change what is to be changed, and print what is there; 2 where a picture was not added."""
    from hpo.results.gallery import list_gallery

    if args.sizes:
        return _measure(args)
    if args.calibrate_unknown is not None:
        return _calibrate(args)
    chosen = model_run(args)
    changes: dict[str, dict[str, Any]] = {}
    try:
        with machine_output():  # the trainer runs here, and its libraries may print
            for name, told in _change(chosen, args):
                changes[name] = told
            classes = list_gallery(chosen)
    except BaseException:  # what was made before stays so
        _print_changes(changes, sys.stderr)
        raise
    print_run(args, chosen)
    if args.json:
        print_json({"classes": classes, **dict.fromkeys(CHANGES), **changes})
    elif not changes:
        print_table(["CLASS", "PICTURES"], [[name, str(n)] for name, n in classes.items()])
        pictures = count_of(sum(classes.values()), "picture")
        print(f"\n{pictures} of {count_of(len(classes), 'class', 'classes')}")
    else:
        _print_changes(changes, sys.stdout)
        _tell_registry(chosen)
    return 2 if any(told.get("errors") for told in changes.values()) else 0


def _measure(args: argparse.Namespace) -> int:
    from hpo.results.gallery import measure_gallery

    if _is_change(args) or args.calibrate_unknown is not None:
        raise SpecError(
            "--sizes: changes nothing; ask for the change first, then for --sizes alone"
        )
    chosen = model_run(args)
    with machine_output():  # the trainer runs here, and its libraries may print
        rows = measure_gallery(chosen)
    print_run(args, chosen)
    if args.json:
        print_json(rows)
        return 0
    heads = ["KIND", "MATCHING", "LENGTH", "SHORTENED", "P@1", "SAME", "BYTES", "IN FILE", "MS"]
    print_table(heads, [_cells(row) for row in rows])
    queries = count_of(rows[0]["num_queries"], "validation query", "validation queries")
    print(
        f"\nP@1 of {queries} (of many, a random part), mean over classes; same: share of queries "
        "with the\nfirst row's answer; bytes of what a query is compared with (embeddings and "
        "graph, or a mean per class),\nand in the gallery's file, which keeps all pictures; "
        "milliseconds of one query. --kind and --matching set\na row of the whole length; a "
        "shorter one is trained with model.feat_dim."
    )
    return 0


def _is_change(args: argparse.Namespace) -> bool:
    return bool(args.undo or args.remove or args.add or args.merge or args.kind or args.matching)


def _calibrate(args: argparse.Namespace) -> int:
    from hpo.console.console import Console
    from hpo.core.budget import render_seconds
    from hpo.results.predict import price_of
    from hpo.results.unknowns import calibrate_unknowns, check_unknowns

    if _is_change(args):
        raise SpecError("--calibrate-unknown: ask for other changes in a command of their own")
    chosen, number = model_run(args), args.calibrate_unknown
    if number < TRAININGS:
        raise SpecError(f"--calibrate-unknown: must be {TRAININGS} or more, got {number}")
    console = Console(sys.stderr)
    with machine_output():  # the trainer runs here, and its libraries may print
        seconds = check_unknowns(chosen, number)
        print_run(args, chosen)
        time = f"about {render_seconds(seconds)} in all" if seconds else "of unknown length"
        console.say(
            f"training {number} times, each without another {_part(number)} of the classes: {time};"
            " Ctrl-C stops, and the same command goes on"
        )
        try:
            told = calibrate_unknowns(chosen, number, console.progress)
        finally:
            console.close()
    if args.json:
        print_json(told)
        return 0
    queries = count_of(told["queries"], "query", "queries")
    print(f"calibrated by {queries} and {count_of(told['trainings'], 'new training')}")
    unknowns = told["unknowns"]
    price = None if "why" in unknowns else price_of(unknowns["threshold"], chosen)
    print(price or f"no threshold: {unknowns['why']}")
    _tell_registry(chosen)
    return 0


def _tell_registry(chosen: RunDir) -> None:
    from hpo.tracking.listener import registry_note

    if note := registry_note(chosen):
        print(f"note    {note}", file=sys.stderr)


def _part(number: int) -> str:
    return {2: "half", 3: "third"}.get(number, f"{number}th")


def _cells(row: Mapping[str, Any]) -> list[str]:
    return [
        row["kind"],
        row["matching"],
        str(row["length"]),
        row["shortened"],
        f"{row['precision_at_1']:.4f}",
        f"{row['same']:.4f}",
        f"{row['bytes']:,}",
        f"{row['file_bytes']:,}",
        f"{row['milliseconds']:.2f}",
    ]


def _change(chosen: RunDir, args: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """Make the changes that were asked for, in order, and give what became of each."""
    from hpo.results import gallery

    if args.undo:
        yield "undone", gallery.undo_gallery(chosen)
    if args.remove:
        yield "removed", gallery.shrink_gallery(chosen, args.remove)
    if args.add is not None:
        yield "added", gallery.extend_gallery(chosen, args.add)
    if args.merge is not None:
        yield "merged", gallery.merge_gallery(chosen, Path(args.merge))
    if args.kind or args.matching:
        yield "set", gallery.set_gallery(chosen, kind=args.kind, matching=args.matching)


def _print_changes(changes: Mapping[str, Mapping[str, Any]], stream: TextIO) -> None:
    """Print what was changed; what was passed over and refused meanwhile goes to stderr."""
    for line in _lines(changes) if changes else ():
        print(printable(line), file=stream)
    for told in changes.values():
        for note in told.get("notes", ()):
            print(printable(f"note    {note}"), file=sys.stderr)
        for row in told.get("errors", ()):
            print(printable(f"{row['image']}: {row['error']}"), file=sys.stderr)


def _lines(changes: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for name, told in changes.items():
        if name == "removed":
            pictures = count_of(told["removed_pictures"], "picture")
            classes = count_of(told["removed_classes"], "class", "classes")
            yield f"removed {pictures} of {classes}"
        elif name in {"added", "merged"}:
            classes = count_of(told["new_classes"], "new class", "new classes")
            yield f"{name:<7} {count_of(told['new_pictures'], 'picture')}, {classes}"
            if told.get("known_pictures"):
                yield f"known   {count_of(told['known_pictures'], 'picture')}, there already"
        elif name == "set":
            yield f"kept    as {told['kind']} ({told['bytes']:,} bytes), by {told['matching']}"
        else:
            yield "undone  the last change"
    now = list(changes.values())[-1]
    classes = count_of(now["classes"], "class", "classes")
    yield f"now     {count_of(now['pictures'], 'picture')} of {classes}"
