"""Runs `search` and `resume` at a terminal: listeners, Ctrl-C, output, exit codes."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from hpo.console.console import Console
from hpo.core.process.signals import handling
from hpo.core.process.streams import NAMES, open_output

if TYPE_CHECKING:
    from types import FrameType

    from hpo.core.events import Review
    from hpo.searching.settings import SearchResult, SearchSettings

_REFUSED = 2
_GRACE_S = 12.0
"""How long running epochs may take to end after SIGTERM; schedulers give half a minute in all."""
_AGAIN_S = 2.0
"""Where a preparation goes on after Ctrl-C, it is interrupted again after so many seconds."""
_ASK_ABOVE_S = 600
"""A search that is expected to take longer, or nobody knows how long, asks before it starts, where
somebody can answer."""


def drive(args: argparse.Namespace, start: Callable[[SearchSettings], SearchResult]) -> int:
    """Run a search with the terminal attached and return the exit code."""
    console = Console(sys.stderr)
    with machine_output() as stream, interrupts(console) as requests:
        console.begin("starting")
        try:
            return _drive(args, start, console, requests, stream)
        except KeyboardInterrupt:
            console.interrupted_hard()
            return 130
        finally:
            console.close()


def _drive(
    args: argparse.Namespace,
    start: Callable[[SearchSettings], SearchResult],
    console: Console,
    requests: StopRequests,
    stream: TextIO,
) -> int:
    from hpo.core.event_bus import EventPrinter
    from hpo.results.handoff import HandoffError
    from hpo.searching.settings import SearchSettings
    from hpo.tracking.listener import mlflow_listener

    printer = EventPrinter(stream) if args.json else None

    # The console closes last: how to go on stands below anything that others have to say.
    listeners: list[Callable[..., Any]] = [mlflow_listener, lambda *_: console]
    if printer is not None:
        listeners.append(lambda *_: printer)
    settings = SearchSettings(
        executor="inprocess" if getattr(args, "in_process", False) else "ray",
        ray_address=getattr(args, "ray_address", ""),
        listeners=tuple(listeners),
        should_stop=lambda: requests.count > 0,
        confirm_start=lambda review: _ask(review, args, console),
        progress=console.progress,
        report=not getattr(args, "no_report", False),
    )
    try:
        result = start(settings)
    except Exception as error:
        if printer is not None:
            printer.print_error(error)
            args.has_ended_events = True
        if not isinstance(error, HandoffError):
            raise
        print(f"hpo: {error}", file=sys.stderr)
        return 1
    code = _told(result, args.verb)
    if printer is not None and code == _REFUSED:
        printer.print_error(result.declined)
    return code


def _told(result: SearchResult, verb: str) -> int:
    """The exit code; why a review ended the search is said."""
    from hpo.automl.review import NOT_CONFIRMED, REVIEW_ONLY

    if result.declined == REVIEW_ONLY:
        return 0
    if result.declined:
        print(f"hpo {verb}: {result.declined}", file=sys.stderr)
    if result.declined not in ("", NOT_CONFIRMED):
        return _REFUSED
    return 130 if result.finished is None else 0


def _ask(review: Review, args: argparse.Namespace, console: Console) -> bool:
    """Ask before a search that may be long, or always; only where a person is at the terminal."""
    is_known = review.estimate_s is not None and review.estimate_s < _ASK_ABOVE_S
    is_quick = is_known and not getattr(args, "ask_always", False)
    if args.yes or is_quick or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return True
    return console.ask("Start this search?")


@contextlib.contextmanager
def machine_output() -> Iterator[TextIO]:
    """Keep stdout for results alone: what anything else prints, in C too, goes to stderr."""
    sys.stdout.flush()
    private = os.dup(1)
    os.dup2(2, 1)
    try:
        with (
            open_output(private, by_line=False, called=NAMES[1]) as stream,
            contextlib.redirect_stdout(sys.stderr),
        ):
            yield stream
    finally:
        sys.stdout.flush()
        os.dup2(private, 1)
        os.close(private)


@dataclass(slots=True)
class StopRequests:
    """How often the user has asked to stop."""

    count: int = 0


@contextlib.contextmanager
def interrupts(console: Console) -> Iterator[StopRequests]:
    """Count Ctrl-C, SIGTERM and SIGHUP: the first lets the epochs end, the second stops at once.

    Before the first trial there is nothing to wait for: the first stops at once, too.

    Who sends SIGTERM, as a scheduler does that wants the machine back, kills soon after: epochs
    that last longer than `_GRACE_S` are given up, and repeated when the search is resumed. So it is
    when the terminal closes.

    Args:
        console: says what happens, and knows whether trials are running.
    """
    requests = StopRequests()

    def handle(number: int, _frame: FrameType | None) -> None:
        requests.count += 1
        if not console.has_begun:
            # Code that is interrupted in a finalizer swallows what is raised: it is raised again.
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_S, _AGAIN_S)
        if requests.count > 1 or not console.has_begun:
            raise KeyboardInterrupt
        if number in (signal.SIGTERM, signal.SIGHUP):
            signal.setitimer(signal.ITIMER_REAL, _GRACE_S)
            console.say(f"hpo: asked to end; running epochs have {_GRACE_S:.0f} s to finish.")
        elif console.trains:
            console.say(
                "hpo: finishing the running epochs, then saving. Ctrl-C again stops at once."
            )
        else:
            console.say(
                "hpo: the trials have ended; writing the results. Ctrl-C again stops at once."
            )

    with handling(handle, signal.SIGINT, signal.SIGALRM):
        try:
            yield requests
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
