"""`hpo logs`: print the log and the epochs of a trial, and go on with it while it runs."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo.cli.run_flags import add_trial_arguments, print_json

if TYPE_CHECKING:
    from hpo.run.run_dir import RunDir

HELP = "print the log and the epochs of one trial"
EPILOG = """\
examples:
  hpo logs 3                trial 3 of the newest run
  hpo logs retail 3 --tail 50
  hpo logs 3 -f             go on printing until the trial ends (Ctrl-C ends the printing alone)
"""

_PAUSE_S = 0.5
_ENDS = ("trial_finished", "trial_suspended")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_trial_arguments(parser)
    parser.add_argument("--tail", metavar="N", type=int, help="only the last N lines of the log")
    parser.add_argument(
        "-f", "--follow", action="store_true", help="print what comes until the trial ends"
    )


def run(args: argparse.Namespace) -> int:
    """Print the log file and the epochs of a trial."""
    from hpo.cli.run_flags import chosen_run
    from hpo.core.errors import RunError, SpecError

    if args.tail is not None and args.tail < 1:
        raise SpecError(f"--tail: must be at least 1, got {args.tail}")
    if args.follow and args.json:
        raise SpecError("--follow: prints lines for people; for programs follow events.ndjson")
    chosen = chosen_run(args)
    log = chosen.trial_dir(args.trial) / "log.txt"
    if not log.is_file():
        raise RunError(f"{chosen}: trial {args.trial} has no log; `hpo status` lists the trials")
    content = _Growing(log)
    lines = list(content.new_lines())
    lines = lines[-args.tail :] if args.tail else lines
    events = _TrialEvents(chosen, args.trial)
    told = list(events.new())
    if args.json:
        epochs = [_facts(event) for event in told if event["event"] == "epoch"]
        print_json({"trial": args.trial, "log": str(log), "lines": lines, "epochs": epochs})
        return 0
    _print(lines, told, events)
    while args.follow and not events.has_ended and chosen.is_running():
        time.sleep(_PAUSE_S)
        _print(content.new_lines(), events.new(), events)
    return 0


def _print(lines: Any, told: Any, events: _TrialEvents) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
    for event in told:
        if event["event"] == "epoch":
            epoch = _facts(event)
            sys.stdout.write(
                f"epoch {epoch['epoch']:>3}  {events.metric} {epoch['value']:.4f}  "
                f"{epoch['seconds']:.1f} s\n"
            )
    sys.stdout.flush()


def _facts(event: dict[str, Any]) -> dict[str, Any]:
    return {
        "epoch": event["epoch"],
        "value": event["value"],
        "seconds": float(event.get("seconds") or 0.0),
    }


class _Growing:
    """A file of lines that others append to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    def new_lines(self) -> Iterator[str]:
        """Yield the whole lines since the last call; the last line too when nobody ended it."""
        with self._path.open("rb") as file:
            file.seek(self._read)
            content = file.read()
        self._read += len(content)
        yield from content.decode("utf-8", errors="replace").splitlines()


class _TrialEvents:
    """What a run has told about one trial, in order."""

    def __init__(self, run: RunDir, trial: int) -> None:
        from hpo.core.text import metric_word

        self._file = run.events_file
        self._trial = trial
        self._read = 0
        self._word = metric_word
        self.metric = metric_word("")
        self.has_ended = False

    def new(self) -> Iterator[dict[str, Any]]:
        """Yield the events since the last call; a line that is being written waits."""
        if not self._file.is_file():
            return
        with self._file.open("rb") as file:
            file.seek(self._read)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            event = json.loads(line)
            if event["event"] == "started":
                self.metric = self._word(event.get("metric", ""))
            if event.get("trial") == self._trial:
                self.has_ended = event["event"] in _ENDS
                yield event
