"""`hpo doctor`: check the machine and the pictures before a search."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo.cli.run_flags import add_group_argument, add_output_arguments, print_json
from hpo.core.process.streams import can_color, can_draw
from hpo.core.text import count_of, printable
from hpo.study.sections import SPLITS

if TYPE_CHECKING:
    from hpo.core.protocols import Trainer
    from hpo.study.spec import StudySpec

HELP = "look for faults of this machine and of pictures before a search"

EPILOG = """\
examples:
  hpo doctor                                          this machine
  hpo doctor --train shots/train --reference shots/gallery --query shots/val
  hpo doctor --data photos                            one folder of classes
  hpo doctor --data photos.csv                        one list: columns path, label
  hpo doctor --data photos --class-disjoint           to be split by class
  hpo doctor --train T --reference R --query Q --group-by near-duplicates
                                                      bursts that are in two splits
  hpo doctor studies/defects.yaml                     the pictures of a study

Of the machine it looks at packages and files with their names, GPUs, memory, the folders that are
written to, limits and MLflow. Of pictures it finds unreadable, empty, tiny, huge, blank and odd
ones, duplicates and near duplicates (a million pairs at most) within and across splits and
classes, classes that a split lacks or that have too few pictures (also to split --data), file names
that speak of another class. Nothing is changed.

exit codes: 0 nothing that stops a search, 2 something that does
"""

MARKS = {
    "ok": ("ok", "32"),
    "info": ("note", "36"),
    "warning": ("warn", "33"),
    "error": ("BAD", "31"),
}
_SHOWN = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("study", metavar="STUDY", nargs="?", help="study whose pictures to see")
    for name in SPLITS:
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, metavar="DIR", help=f"{name.replace('_', ' ')} pictures")
    parser.add_argument("--data", metavar="DIR", help="one folder of classes, or one list")
    parser.add_argument(
        "--class-disjoint", action="store_true", help="--data is to be split by class"
    )
    add_group_argument(parser)
    parser.add_argument(
        "--trainer", metavar="NAME", help="trainer (default: the study's, else ml_recog)"
    )
    parser.add_argument("--all", action="store_true", help="name every file, not the first few")
    add_output_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Look, tell, and say by the exit code whether a search can be started."""
    from hpo.doctor.machine import examine_machine
    from hpo.study.trainers import find_trainer

    study, trainer = study_from(args), None
    with contextlib.suppress(ModuleNotFoundError):  # the check of packages says what to install
        trainer = find_trainer(study.trainer)  # looking at the machine takes seconds
    screen = _Screen(quiet=args.json)
    screen.line("machine")
    checks = []
    for check in examine_machine(Path(args.out), trainer):
        checks.append(check)
        screen.mark(check.status, check.name, check.text, check.advice)
    diagnosis = None
    if trainer and (study.data.splits or study.data.folder):
        diagnosis = _look_at(args, study, trainer, screen)
    states = [check.status for check in checks]
    states += [found["severity"] for found in (diagnosis or {}).get("findings", [])]
    if args.json:
        print_json({"machine": [asdict(check) for check in checks], "data": diagnosis})
    else:
        _conclude(screen, states)
    return 2 if "error" in states else 0


def study_from(args: argparse.Namespace) -> StudySpec:
    """The study whose trainer and pictures are looked at; single splits will do."""
    from hpo.cli.study_flags import data_from, flag_of
    from hpo.study.laid_over import laid_over
    from hpo.study.packaged import given_study
    from hpo.study.spec import StudySpec

    study = given_study(args.study) if args.study else StudySpec()
    given = {"trainer": args.trainer or study.trainer, "data": data_from(args)}
    return laid_over(study, given, needed=(), spell=flag_of)


def _look_at(
    args: argparse.Namespace, study: StudySpec, trainer: Trainer, screen: _Screen
) -> dict[str, Any] | None:
    """Tell what is found of the pictures; None where the trainer cannot look at them."""
    from hpo.core.trainer_extras import DataDoctor, SourceSettler
    from hpo.study.plan import as_user_errors
    from hpo.study.trainers import demand

    data = study.data
    sources = data.splits | ({"images": data.folder} if data.folder else {})
    seed = study.search.used_seed if data.folder else 0
    asked: dict[str, Any] = {"group_by": data.group_by, "class_disjoint": data.class_disjoint}
    asked = {name: value for name, value in (asked | {"seed": seed}).items() if value}
    began = time.monotonic()
    screen.line("\npictures")
    if not isinstance(trainer, DataDoctor):
        screen.mark("info", "not looked at", f"trainer {trainer.name} has no diagnose_data")
        return None
    if data.group_by:
        demand(trainer, SourceSettler)
    with as_user_errors():
        diagnosis = dict(trainer.diagnose_data(sources, screen.progress, **asked))
    screen.clear()
    for name, split in diagnosis["splits"].items():
        low, high = split["per_class_min"], split["per_class_max"]
        per_class = f"{low}" if low == high else f"{low} to {high}"
        pictures = count_of(split["images"], "picture")
        classes = count_of(split["classes"], "class", "classes")
        screen.mark("ok", name, f"{pictures} of {classes}, {per_class} each")
    for found in diagnosis["findings"]:
        screen.found(found["severity"], found["message"])
        for line in _files_of(found, every=args.all):
            screen.line(f"        {line}")
    screen.line(f"        looked at in {time.monotonic() - began:.1f} s")
    return diagnosis


def _files_of(found: Mapping[str, Any], *, every: bool) -> Iterator[str]:
    """Name the files of a finding, a pair of pictures in one line; the first few, or every one."""
    if found["kind"] == "unreadable" and found["count"] == 1:
        return  # its message names it
    rows, count, noun = [[path] for path in found["paths"]], found["count"], "more"
    if pairs := found.get("pairs"):
        rows, count, noun = pairs, count // 2, "more pairs"
    shown = rows if every else rows[:_SHOWN]
    for row in shown:
        yield "  =  ".join(printable(_relative(path)) for path in row)
    if count > len(shown):
        yield f"and {count - len(shown)} {noun}" + ("" if every else " (--all)")


def _conclude(screen: _Screen, states: Sequence[str]) -> None:
    errors, warnings = states.count("error"), states.count("warning")
    screen.line("")
    if errors:
        screen.line(
            f"{count_of(errors, 'fault')} to mend before a search, {count_of(warnings, 'warning')}"
        )
    elif warnings:
        screen.line(f"a search can be started, with {count_of(warnings, 'warning')}")
    else:
        screen.line("all is well")


def _relative(path: str) -> str:
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path


class _Screen:
    """Lines on stdout, with a little colour on a terminal."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._live = can_draw(sys.stderr) and not quiet
        self._color = can_color(sys.stdout)

    def line(self, text: str) -> None:
        """Print a line."""
        if not self._quiet:
            print(text, flush=True)

    def found(self, status: str, text: str) -> None:
        """Print a finding of the pictures."""
        self.line(f"  {self._word(status)}  {printable(text)}")

    def mark(self, status: str, name: str, text: str, advice: str = "") -> None:
        """Print one finding."""
        self.line(f"  {self._word(status)}  {name:<14}  {text}")
        if advice:
            self.line(f"        {'':<14}  {advice}")

    def _word(self, status: str) -> str:
        word, color = MARKS[status]
        return f"\x1b[{color}m{word:<4}\x1b[0m" if self._color else f"{word:<4}"

    def progress(self, what: str, done: int, total: int) -> None:
        """Show how far it is, on a terminal."""
        if self._live:
            print(f"\r\x1b[K  {what}: {done} of {total}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Take the progress away."""
        if self._live:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
