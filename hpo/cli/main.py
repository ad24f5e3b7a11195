"""Entry point of `hpo`: dispatches to a verb, turns errors into one line and an exit code.

Exit codes: 0 done, 2 something the user can mend (one line), 1 a bug (traceback), 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import io
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from hpo.cli.arguments import Parser, WrongWords

VERBS = (
    "init", "screen", "plan", "search", "automl", "resume", "ls", "status", "best", "logs",
    "why", "stop", "report", "export", "predict", "gallery", "use", "serve", "job", "doctor",
    "space", "algorithms", "cache", "ui", "completion",
)  # fmt: skip
"""In the order of `--help`; each is a module of this package with HELP, add_arguments and run."""

EPILOG = """\
examples:
  hpo search --budget 12                     12 trials on the embedded product pictures
  hpo search --budget 2h --train shots/train --reference shots/gallery --query shots/val
  hpo search studies/defects.yaml --budget 50trials,6h --set train.num_epochs=30
  hpo status                                 how the newest run stands
  hpo resume                                 go on where it was stopped
  hpo predict photo.jpg                      label a picture with the best model

exit codes: 0 done, 2 wrong input (one line), 1 nothing was handed on, or a bug, 130 interrupted
(resumable) or declined
"""


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Leaves room for the longest verb beside its help."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=2 * 2 + 2 + max(map(len, VERBS)))

    def add_argument(self, action: argparse.Action) -> None:
        """Count the indentation of verbs, which argparse forgets."""
        super().add_argument(action)
        self._action_max_length = max(self._action_max_length, 2 * 2 + max(map(len, VERBS)))


@functools.cache
def build_parser(verb: str | None) -> Parser:
    """The parser; only the named verb's arguments are added, so that `--help` is quick.

    To make one takes longer than most verbs do, and programs may call `main` many times.
    """
    parser = Parser(
        prog="hpo",
        description="Find the best hyperparameters of a metric-learning recognition trainer.",
        epilog=EPILOG,
        formatter_class=_Formatter,
    )
    parser.add_argument("--version", action="store_true", help="print the versions and exit")
    parser.add_argument("--debug", action="store_true", help="show tracebacks and debug messages")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    for name in VERBS:
        module = importlib.import_module(f"hpo.cli.{name}")
        sub = verbs.add_parser(
            name,
            help=module.HELP,
            description=module.HELP[0].upper() + module.HELP[1:] + ".",
            epilog=getattr(module, "EPILOG", None),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if verb in (name, None):
            module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    _take_any_text(sys.stdout, sys.stderr)
    words = list(sys.argv[1:] if argv is None else argv)
    verb = next((word for word in words if word in VERBS), "")
    parser = build_parser(verb)
    try:
        args = parser.parse_whole(words)
    except WrongWords as error:
        _end_events(verb, words, error.line)
        raise
    if args.version:
        return _print_versions()
    if args.verb is None:
        parser.print_help()
        return 0
    _configure_logging(debug=args.debug)
    from hpo.core.errors import HpoError
    from hpo.core.process.signals import handling
    from hpo.core.text import one_line
    from hpo.study.plan import as_user_errors

    try:
        # Asked to end by a signal, a verb cleans up as at Ctrl-C; some handle these themselves.
        with (
            handling(signal.default_int_handler),
            _ending_events(args, words),
            as_user_errors(folders=_written_by(args)),
        ):
            return _run(args)
    except SystemExit as end:
        what = f"sys.exit({end.code!r}) was called, as by a trainer that is to return or raise"
        if args.debug:
            raise RuntimeError(what) from end
        print(f"hpo {args.verb}: {what}; --debug shows where", file=sys.stderr)
        return 2
    except HpoError as error:
        if args.debug:
            raise
        print(f"hpo {args.verb}: {one_line(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader has gone, as in `hpo ls | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


@contextlib.contextmanager
def _ending_events(args: argparse.Namespace, words: Sequence[str]) -> Iterator[None]:
    """Tell programs of an error, where a search that has begun to print has not."""
    try:
        yield
    except Exception as error:
        if not getattr(args, "has_ended_events", False):
            _end_events(args.verb, words, error)
        raise


def _end_events(verb: str, words: Sequence[str], error: object) -> None:
    """Make an `error` event the last line of a verb that prints events; a list is none."""
    if verb in ("search", "resume", "automl") and "--json" in words and "list" not in words:
        from hpo.core.event_bus import EventPrinter

        with contextlib.suppress(OSError):  # stdout may be what the error is about
            EventPrinter(sys.stdout).print_error(error)


def _take_any_text(*streams: TextIO) -> None:
    """Have streams spell out what their encoding lacks, such as a name in another one."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _written_by(args: argparse.Namespace) -> list[Path]:
    """The folders that a verb can write to, those that were named first."""
    named = [getattr(args, name, None) for name in ("file", "workspace", "root", "out")]
    from hpo.core.machine_faults import temporary_folder

    temporary = temporary_folder()
    return [Path(name) for name in (*named, temporary, os.curdir) if name]


def _run(args: argparse.Namespace) -> int:
    code = int(args.run(args))
    sys.stdout.flush()  # a reader that has gone is noticed here and not at the very end
    return code


def _print_versions() -> int:
    from importlib.metadata import PackageNotFoundError, version

    import hpo

    print(f"hpo {hpo.__version__}")
    for name in ("optuna", "ray", "mlflow", "torch", "pytorch-lightning", "timm"):
        try:
            print(f"{name} {version(name)}")
        except PackageNotFoundError:
            print(f"{name} is not installed")
    return 0


def _configure_logging(*, debug: bool) -> None:
    import logging

    from hpo.core.text import one_line

    class OneLine(logging.Formatter):
        def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
            return one_line(super().formatMessage(record))

    form = "hpo: %(message)s" if not debug else "%(asctime)s %(name)s: %(message)s"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(form) if debug else OneLine(form))
    logging.basicConfig(  # noqa: TID251 - the one place where logging is set up
        level=logging.DEBUG if debug else logging.WARNING,
        handlers=[handler],
    )


if __name__ == "__main__":
    from hpo.core.process import start

    sys.exit(start.hpo())
