"""`hpo predict`: label pictures with a run's best model."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from hpo.cli.run_flags import add_json_argument, add_out_argument, model_run, print_json, print_run
from hpo.core.errors import DataError, RunError, SpecError
from hpo.core.process.streams import can_draw
from hpo.core.text import count_of, printable, shell_word

if TYPE_CHECKING:
    from hpo.results.predict import Labelling

HELP = "label pictures with the best model of a run"
EPILOG = """\
examples:
  hpo predict photo.jpg                by the newest finished run, or the one that `hpo use` pinned
  hpo predict retail shelf/*.jpg --topk 3
  hpo predict retail shelf             every picture in and below a folder, or in an archive
  hpo predict retail 'shelf/**/*.jpg' @more.txt --out labels.csv --sheet labels.html
  hpo predict retail shelf --unknown-at 0.01
  hpo predict retail shelf --trial 7

A line a picture: the nearest classes, each with its distance; the smaller it is, the surer the
label. Distances of two models do not compare. With --unknown-at a picture that no class fits, as
it is far from the nearest one or no nearer to it than to others, is `unknown`, with the nearest
class beside it: the limit is calibrated on the validation queries, so that this share of pictures
of classes outside the gallery is taken for known. The report of the search shows how many known
pictures that costs. In --json and --out `unknown` is true of such a picture, as a class may be
called so, too.
Pictures that cannot be read stop nothing: they are named, and are rows with `error` in --json and
--out. @FILE is a list: a path a line, or of a .csv or .parquet file the column `path` or `image`;
paths are relative to it. `-` in place of a file for --out or --sheet is standard output.

exit codes: 0 all labelled, 2 some not
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "words",
        metavar="[RUN] IMAGE",
        nargs="+",
        help="run directory or name (default: the newest finished run), then pictures to label, "
        "or folders, archives, patterns and lists of them",
    )
    parser.add_argument("--topk", metavar="K", type=int, help="classes per picture (default: 5)")
    parser.add_argument(
        "--unknown-at",
        metavar="RATE",
        type=float,
        help="label pictures `unknown`, so that this share of unknown classes is taken for known, "
        "e.g. 0.05",
    )
    parser.add_argument(
        "--never-unknown", action="store_true", help="give every picture a class (default)"
    )
    parser.add_argument("--trial", metavar="N", type=int, help="whose model (default: the best's)")
    parser.add_argument("--out", metavar="FILE", dest="file", help="table to write, as CSV")
    parser.add_argument("--sheet", metavar="FILE", help="page of thumbnails to write, as HTML")
    add_out_argument(parser, "--runs")
    add_json_argument(parser)


_STDOUT = "/dev/stdout"
_STDOUT_NAMES = ("-", "/dev/fd/1", "/proc/self/fd/1")
_OTHER_FORMATS = frozenset(
    {".csv", ".html", ".json", ".parquet", ".pdf", ".tsv", ".xls", ".xlsx"}
    | {".avif", ".bmp", ".gif", ".heic", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)
"""Whoever opens a file of such a name expects what it says."""


def split_words(words: list[str], out: Path) -> tuple[str | None, list[str]]:
    """Tell RUN and pictures apart: a first word that is a file, or no run's, is to label.

    So is a list or a pattern, unless a run is called so.
    """
    first = words[0]
    if os.path.isfile(first) or "://" in first:  # noqa: PTH113 - Path raises for names too long
        return None, words
    is_source = first.startswith("@") or any(sign in first for sign in "*?[")
    if (is_source or os.path.isdir(first)) and not _names_run(words, out):  # noqa: PTH112 - as above
        return None, words
    return first, words[1:]


def _names_run(words: list[str], out: Path) -> bool:
    """Whether the first of these words, which may be to label, is a run for those that follow."""
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
    from hpo.results.label_files import is_unknown, sheet, table
    from hpo.results.predict import label_with_run

    _check(args)
    writes = bool(args.file or args.sheet)
    args.run_name, sources = split_words(args.words, Path(args.out))
    _check_sources(args.words, sources)
    _check_kept(args, sources)
    chosen = model_run(args, looks=True)
    with machine_output() as stdout:  # the trainer runs here, and its libraries may print
        labelling = label_with_run(
            chosen, sources, args.topk, unknown_at=args.unknown_at, trial=args.trial
        )
        rows = _watched(labelling)
        if args.file:
            rows = table(rows, _place(args.file, stdout))
        if args.sheet:
            rows = sheet(rows, _place(args.sheet, stdout), labelling.files)
        kept, unknown = [], 0
        for row in rows:
            unknown += is_unknown(row)
            if "error" in row or args.json or not writes:
                kept.append(row)
    failed = [row for row in kept if "error" in row]
    if args.json:
        print_json(kept)
    elif failed and labelling.total == 1:
        raise DataError("{image}: {error}".format_map(failed[0]))
    else:
        print_run(args, chosen)
        _print_rows(kept, labelling, len(failed))
        if unknown and (writes or labelling.total > 1):
            print(f"{unknown} of {labelling.total} are unknown", file=sys.stderr)
        if writes:
            files = " and ".join(name for name in (args.file, args.sheet) if name)
            print(f"written {files}: {count_of(labelling.total, 'picture')}", file=sys.stderr)
    return 2 if failed else 0


def _place(name: str, stdout: TextIO) -> Path | TextIO:
    """What to write to; what has standard output's name is something else while rows come."""
    return stdout if name == _STDOUT else Path(name)


def _check_sources(words: Sequence[str], sources: Sequence[str]) -> None:
    """Demand something to label, and of a list the sign that tells it from a picture."""
    if not sources:
        raise DataError(
            f"{words[0]}: no such picture; name one to label, as `hpo predict [RUN] IMAGE`"
        )
    bare = [s for s in sources if s[:1] != "@" and s.lower().endswith((".csv", ".parquet"))]
    if found := [s for s in bare if os.path.isfile(s)]:  # noqa: PTH113 - Path raises for names too long
        listed = shell_word(f"@{found[0]}")
        raise DataError(f"{found[0]}: is a list of pictures; name it as {listed}")


def _check_kept(args: argparse.Namespace, sources: Sequence[str]) -> None:
    """Refuse to write over what is read, and two files into one."""
    for flag, name in (("--out", args.file), ("--sheet", args.sheet)):
        for source in sources if name and Path(name).is_file() else ():
            read = source.removeprefix("@")
            if os.path.isfile(read) and os.path.samefile(read, name):  # noqa: PTH113, PTH121
                raise SpecError(
                    f"{flag}: must not be what is to be labelled, got {name}; name another file"
                )
    if args.file and args.sheet and Path(args.file).resolve() == Path(args.sheet).resolve():
        raise SpecError(f"--sheet: must be another file than --out, got {args.sheet} for both")


def _check(args: argparse.Namespace) -> None:
    from hpo.core.target_file import demand_target
    from hpo.results.label_files import SHEET_SIGNS, TABLE_SIGNS
    from hpo.study.checks import check_count

    check_count(args.topk, "--topk", least=1)
    args.file, args.sheet = (
        _STDOUT if name in _STDOUT_NAMES else name for name in (args.file, args.sheet)
    )
    if args.json and _STDOUT in (args.file, args.sheet):
        raise SpecError("--json: is printed on standard output, too; name a file, or leave it out")
    if args.unknown_at is not None and args.never_unknown:
        raise SpecError("--never-unknown: leaves no room for --unknown-at; give one of the two")
    if args.unknown_at is not None and not 0 < args.unknown_at < 1:
        raise SpecError(f"--unknown-at: must be above 0 and below 1, got {args.unknown_at:g}")
    for flag, name, written, signs in (
        ("--out", args.file, "csv", TABLE_SIGNS), ("--sheet", args.sheet, "html", SHEET_SIGNS),
    ):  # fmt: skip
        other = Path(name or "").suffix.lower()
        if other in _OTHER_FORMATS - {f".{written}"}:
            raise SpecError(
                f"{flag}: is written as {written.upper()}, got {name}; end it in .{written}"
            )
        if name and name != _STDOUT:
            hint = "; the folder of runs is --runs" if flag == "--out" else ""
            demand_target(
                Path(name), f".{written}", flag, signs=signs, takes_streams=True, hint=hint
            )


def _watched(labelling: Labelling) -> Iterator[dict[str, Any]]:
    """Pass rows on, and show how far they are where somebody looks on."""
    import time

    is_shown = can_draw(sys.stderr) and labelling.total > 100
    began = told = time.monotonic()
    for number, row in enumerate(labelling.rows, 1):
        yield row
        now = time.monotonic()
        if is_shown and (now - told > 0.5 or number == labelling.total):
            told, rate = now, number / (now - began)
            end = "\n" if number == labelling.total else ""
            print(f"\r{number} of {labelling.total}, {rate:.0f}/s ", end=end, file=sys.stderr)


def _print_rows(rows: Sequence[dict[str, Any]], labelling: Labelling, failed: int) -> None:
    """Print labels on stdout; what has none, and what was skipped, on stderr."""
    for row in rows:
        if "error" in row:
            print(printable(f"{row['image']}: {row['error']}"), file=sys.stderr)
        else:
            print(printable(f"{row['image']}: {_words(row)}"))
    for note in labelling.notes:
        print(note, file=sys.stderr)
    if failed:
        print(f"{failed} of {labelling.total} could not be labelled", file=sys.stderr)


def _words(row: dict[str, Any]) -> str:
    from hpo.results.label_files import is_unknown

    nearest = ", ".join(
        f"{label} ({distance:.3f})"
        for label, distance in zip(row["labels"], row["distances"], strict=True)
    )
    return f"unknown, nearest {nearest}" if is_unknown(row) else nearest
