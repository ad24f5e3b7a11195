"""Flags that several verbs share: which run, where runs are, output form."""

from __future__ import annotations

import argparse
import contextlib
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo.core.errors import HpoError, NoRunError, SpecError
from hpo.core.text import printable
from hpo.run.folder_of_runs import DEFAULT_OUT

if TYPE_CHECKING:
    from hpo.run.run_dir import RunDir

USED_RUN = "the run that `hpo use` pinned, else the newest finished one below --out"
"""The default of verbs that use a model."""
HOST = "127.0.0.1"
_LAST_PORT = 65535

Arguments = argparse.ArgumentParser | argparse._ArgumentGroup
"""What flags are declared on."""


def add_repeatable(parser: Arguments, flag: str, text: str) -> None:
    """A flag that may be given several times, such as `--set KEY=VALUE`, with its help."""
    name, metavar = flag.split()
    parser.add_argument(name, metavar=metavar, action="append", default=[], help=text)


def add_run_argument(
    parser: argparse.ArgumentParser, default: str = "the newest run below --out"
) -> None:
    """RUN, --out and --json."""
    parser.add_argument(
        "run_name",
        metavar="RUN",
        nargs="?",
        help=f"run directory, a study by name or folder, or a timestamp (default: {default})",
    )
    add_output_arguments(parser)


def add_trial_arguments(parser: argparse.ArgumentParser) -> None:
    """RUN, TRIAL, --out and --json."""
    parser.add_argument(
        "run_name",
        metavar="RUN",
        nargs="?",
        help="run directory or name (default: the newest run)",
    )
    parser.add_argument("trial", metavar="TRIAL", type=int, help="number of the trial")
    add_output_arguments(parser)


def add_serving_arguments(parser: argparse.ArgumentParser, port: int, exposure: str) -> None:
    """--port, --host and --yes-expose; `exposure` says what comes of the last."""
    parser.add_argument(
        "--port",
        type=int,
        metavar="N",
        help=f"port to listen on (default: {port}, or a free one when that is taken)",
    )
    parser.add_argument(
        "--host",
        default=HOST,
        metavar="ADDRESS",
        help="address to listen on (default: %(default)s, this machine alone)",
    )
    parser.add_argument(
        "--yes-expose",
        action="store_true",
        help=f"allow a --host that other machines reach{exposure}",
    )


def check_serving(args: argparse.Namespace, exposed: str) -> None:
    """Refuse a port that does not exist, and a host by which others reach what is `exposed`.

    Raises:
        SpecError: for either of them.
    """
    from hpo.tracking.server import LOCAL_HOSTS

    if args.port is not None and not 0 <= args.port <= _LAST_PORT:
        raise SpecError(f"--port: must be between 0 and {_LAST_PORT}, got {args.port}")
    if args.host not in LOCAL_HOSTS and not args.yes_expose:
        raise SpecError(
            f"--host {args.host!r}: other machines would reach {exposed}; leave --host out, or add "
            "--yes-expose if that is what you want"
        )


def add_start_arguments(parser: Arguments) -> None:
    """--yes, --in-process and --ray-address."""
    parser.add_argument("--yes", action="store_true", help="do not ask before a long search")
    parser.add_argument(
        "--in-process", action="store_true", help="one trial at a time in this process, without Ray"
    )
    add_ray_argument(parser)


def data_roots(args: argparse.Namespace) -> dict[str, str]:
    """Roots of data that are given, by what a skill's table calls them."""
    flags = {"train": "data", "eval": "eval_data", "calibration": "calibration_data"}
    given = {f"{use}_dataset_uri": getattr(args, flag, "") for use, flag in flags.items()}
    return {name: root for name, root in given.items() if root}


def add_out_argument(parser: argparse.ArgumentParser, flag: str = "--out") -> None:
    """--out, or the flag that stands for it where that is taken."""
    parser.add_argument(
        flag,
        metavar="DIR",
        dest="out",
        default=DEFAULT_OUT,
        help="folder that holds runs (default: %(default)s)",
    )


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """--out and --json."""
    add_out_argument(parser)
    add_json_argument(parser)


def add_json_argument(parser: argparse.ArgumentParser) -> None:
    """--json."""
    parser.add_argument("--json", action="store_true", help="print JSON for programs")


def add_group_argument(parser: Arguments) -> None:
    """--group-by."""
    parser.add_argument(
        "--group-by",
        metavar="GROUP",
        help="keep pictures of one object, burst or video in one split; GROUP is "
        "near-duplicates (pictures that look alike), a column of a list, or a regular expression "
        "over paths, whose part in parentheses is the same for pictures of a group "
        "('(.*)_[0-9]+'). Splits that are given are checked",
    )


def add_ray_argument(parser: Arguments) -> None:
    """--ray-address."""
    parser.add_argument(
        "--ray-address",
        metavar="A",
        default="",
        help="run trials on a Ray cluster that is up already: auto for the one of this machine, or "
        "host:port of its head",
    )


def add_sharing_argument(parser: Arguments) -> None:
    """--trials-per-gpu."""
    parser.add_argument(
        "--trials-per-gpu",
        metavar="N",
        help="trials that share a GPU, or auto: as many as fit by the memory that one was measured "
        "to take (default: 1)",
    )


def add_disk_arguments(parser: Arguments, *, default: str = "best") -> None:
    """--keep and --disk-quota."""
    parser.add_argument(
        "--keep",
        metavar="WHAT",
        help="checkpoints that stay on disk: best, those that something can still need, or all "
        f"(default: {default})",
    )
    parser.add_argument(
        "--disk-quota",
        metavar="SIZE",
        help="what the run directory may take, e.g. 20GB; a search that has reached it waits for "
        "room",
    )


def chosen_run(args: argparse.Namespace, *, looks: bool = False) -> RunDir:
    """The run that the arguments name.

    Args:
        args: with `run_name` and `out`.
        looks: whether the verb changes no run. Where no folder of runs is given and there is none
            here, it then takes the newest one that fits of those that this machine remembers.
    """
    from hpo.run.run_dir import find_run

    return _chosen(args, find_run, lambda _: True, looks=looks)


def model_run(args: argparse.Namespace, *, looks: bool = False) -> RunDir:
    """The run whose model is to be used: the one named, pinned, or finished last.

    Args:
        args: with `run_name` and `out`.
        looks: as of `chosen_run`.
    """
    from hpo.run.used_run import find_model_run, is_finished

    return _chosen(args, find_model_run, is_finished, looks=looks)


def _chosen(
    args: argparse.Namespace,
    find: Callable[[str | None, Path], RunDir],
    is_better: Callable[[RunDir], bool],
    *,
    looks: bool,
) -> RunDir:
    from hpo.run.run_dir import is_run

    # `.` is the run that one stands in, else the newest.
    name = None if args.run_name == "." and not is_run(Path()) else args.run_name
    try:
        return find(name, Path(args.out))
    except NoRunError:
        known = reversed(remembered_runs(Path(args.out)) if looks else [])
        fitting = [r for r in known if name in (None, r.study_name, r.place.name)]
        if not fitting:
            raise
    found = next(filter(is_better, fitting), fitting[0])
    print(f"run {found}", file=sys.stderr)  # to programs, too: it was not their choice
    args.run_name = str(found)
    return found


def remembered_runs(out: Path) -> list[RunDir]:
    """Runs that this machine remembers, the newest last; none where a folder of runs is named."""
    from hpo.run.run_dir import list_runs
    from hpo.run.run_index import is_on, known_runs
    from hpo.study.plan import as_user_errors, kept_folder
    from hpo.study.spec import DEFAULT_TRAINER
    from hpo.study.trainers import find_trainer

    if str(out) != DEFAULT_OUT or not is_on() or list_runs(out):
        return []
    with contextlib.suppress(HpoError), as_user_errors():
        return known_runs(kept_folder(find_trainer(DEFAULT_TRAINER)), out)[::-1]
    return []


def print_run(args: argparse.Namespace, chosen: RunDir) -> None:
    """Say on stderr which run was used, to a person who did not name its directory."""
    named = args.run_name and Path(args.run_name).resolve() == chosen.path
    if not args.json and not named:
        print(f"run {chosen}", file=sys.stderr)


def print_json(data: Any) -> None:
    """Print one JSON document."""
    from hpo.core.event_json import strict_json

    print(strict_json(data, indent=1))


def print_table(header: list[str], rows: list[list[str]]) -> None:
    """Print an aligned table; columns of numbers to the right, others to the left.

    Names may come from other people's files: what would move a terminal's cursor is spelt out, and
    they are as wide as a terminal shows them.
    """
    table = [header, *([printable(str(cell)) for cell in row] for row in rows)]
    columns = list(zip(*table, strict=True))
    widths = [max(map(_cells, column)) for column in columns]
    to_right = [all(map(_is_number, column[1:])) for column in columns]
    for row in table:
        cells = []
        for cell, width, is_right in zip(row, widths, to_right, strict=True):
            gap = " " * (width - _cells(cell))
            cells.append(gap + cell if is_right else cell + gap)
        print("  ".join(cells).rstrip())


def _cells(text: str) -> int:
    """How many cells of a terminal a text takes: an emoji two, an accent of its own none."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(sign) in "WF" for sign in text)
    return len(text) + wide - sum(unicodedata.combining(sign) > 0 for sign in text)


def _is_number(cell: str) -> bool:
    """Whether it is a number, or stands for one that is not known."""
    try:
        float(cell if cell not in ("", "-") else 0)
    except ValueError:
        return False
    return True
