"""`hpo cache`: list and remove decoded pictures, features and unpacked archives on disk."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpo.cli.run_flags import add_json_argument, print_json, print_table
from hpo.core.bytes import render_bytes
from hpo.core.errors import SpecError

HELP = "list or remove decoded pictures, features and unpacked archives that searches share"

EPILOG = """\
examples:
  hpo cache                                  what is kept, the last used first
  hpo cache clear --older-than 30d           what was not used for a month
  hpo cache clear 3f9a01 shots/train --yes   by name or by source

Pictures are decoded once, a frozen trunk's features of them computed once, archives unpacked and
addresses fetched once; all are kept for later searches in HPO_CACHE_DIR (default
~/.cache/hpo-recognition), together up to HPO_CACHE_GB (default 20); beyond it the longest unused
go first, and are made again when they are needed. What a running program uses is never removed.
"""

_SECONDS: Mapping[str, int] = {"m": 60, "h": 3600, "d": 86400}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "action", nargs="?", choices=("ls", "clear"), default="ls", help="default: %(default)s"
    )
    parser.add_argument(
        "names", metavar="NAME", nargs="*", help="with clear: names or sources (default: all)"
    )
    parser.add_argument(
        "--older-than", metavar="AGE", help="with clear: only what was not used for 30m, 12h or 7d"
    )
    parser.add_argument("--yes", action="store_true", help="with clear: do not ask")
    parser.add_argument(
        "--trainer", metavar="NAME", default="ml_recog", help="trainer (default: %(default)s)"
    )
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """List or remove."""
    from hpo.core.trainer_extras import CacheKeeper
    from hpo.study.trainers import find_trainer

    trainer = find_trainer(args.trainer)
    if not isinstance(trainer, CacheKeeper):
        raise SpecError(f"trainer: {args.trainer} keeps nothing of pictures")
    if args.action == "clear":
        return _clear(trainer, args)
    if args.names or args.older_than or args.yes:
        raise SpecError(
            "ls: takes no NAME, --older-than or --yes; they belong to `hpo cache clear`"
        )
    found = trainer.list_caches()
    if args.json:
        print_json(found)
    else:
        _show(found)
    return 0


def parse_age(text: str) -> float:
    """Return the seconds of an age such as `30m`, `12h` or `7d`.

    Raises:
        SpecError: it is none.
    """
    number, unit = text[:-1], text[-1:]
    try:
        seconds = float(number) * _SECONDS[unit]
    except (ValueError, KeyError):
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise SpecError(f"--older-than: must be a number with m, h or d, as 7d, got {text!r}")
    return seconds


def _clear(trainer: Any, args: argparse.Namespace) -> int:
    names = [_absolute(name) for name in args.names]
    age_s = parse_age(args.older_than) if args.older_than else 0.0
    if not args.yes:
        if args.json or not sys.stdin.isatty():
            raise SpecError("clear: asks first, and nobody is at the terminal; give --yes")
        if not _is_confirmed(trainer.list_caches()["caches"], args):
            print("nothing removed")
            return 0
    removed = trainer.clear_caches(names, age_s)
    left = [row for row in trainer.list_caches()["caches"] if row["in_use"]]
    if args.json:
        print_json({"removed": removed, "left_in_use": left})
        return 0
    freed = sum(row["bytes"] for row in removed)
    print(f"removed {_counted(len(removed))}, {render_bytes(freed)}")
    if left and not names:
        print(f"left {_counted(len(left))} that a running program uses")
    return 0


def _is_confirmed(rows: Sequence[Mapping[str, Any]], args: argparse.Namespace) -> bool:
    total = sum(row["bytes"] for row in rows)
    what = ", ".join(args.names) or f"all {_counted(len(rows))} ({render_bytes(total)})"
    age = f", where unused for {args.older_than}" if args.older_than else ""
    print(f"remove {what}{age}? [y/N] ", end="", file=sys.stderr, flush=True)
    try:
        return input().strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _absolute(name: str) -> str:
    """A folder or archive that exists as the caches know it; anything else as it is."""
    return str(Path(name).absolute()) if Path(name).exists() else name


def _show(found: Mapping[str, Any]) -> None:
    rows = found["caches"]
    limit = render_bytes(found["limit_bytes"])
    if not rows:
        print(f"nothing is kept in {found['folder']} (room for {limit})")
        return
    table = [
        [
            row["name"],
            render_bytes(row["bytes"]),
            str(row["images"]),
            f"{row['height']}x{row['width']}" if "height" in row else "-",
            _what(row),
            "in use" if row["in_use"] else _ago(time.time() - row["last_used"]),
            row.get("images_of", row["source"]),
        ]
        for row in rows
    ]
    print_table(["NAME", "SIZE", "IMAGES", "PIXELS", "WHAT", "LAST USED", "IMAGES OF"], table)
    total = render_bytes(sum(row["bytes"] for row in rows))
    print(f"\n{total} of {limit} (HPO_CACHE_GB) in {found['folder']}")


def _what(row: Mapping[str, Any]) -> str:
    """Views, length and trunk of a set of features; of others what they are."""
    if row.get("kind") != "features":
        return "unpacked" if row.get("kind") == "staged" else "pictures"
    return f"{row['views']} x {row['features']} of {row['trunk']}"


def _ago(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return "just now"


def _counted(number: int) -> str:
    return f"{number} set" if number == 1 else f"{number} sets"
