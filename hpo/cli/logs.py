"""`hpo logs`: print the log and the epochs of a trial, and go on with it while it runs."""

from __future__ import annotations

import argparse
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from hpo.cli.run_flags import add_trial_arguments, chosen_run, print_json
from hpo.core import events
from hpo.core.errors import RunError, SpecError
from hpo.core.event_json import from_json
from hpo.core.text import metric_word
from hpo.run.growing_file import GrowingFile

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
_MOMENTS = (
    events.TrialStarted
    | events.TrialProgress
    | events.Epoch
    | events.TrialEnded
    | events.TrialSuspended
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_trial_arguments(parser)
    parser.add_argument("--tail", metavar="N", type=int, help="only the last N lines of the log")
    parser.add_argument(
        "-f", "--follow", action="store_true", help="print what comes until the trial ends"
    )


def run(args: argparse.Namespace) -> int:
    """Print the log file and the epochs of a trial."""
    from hpo.study.checks import check_count

    check_count(args.tail, "--tail", least=1)
    if args.follow and args.json:
        raise SpecError("--follow: prints lines for people; for programs follow events.ndjson")
    chosen = chosen_run(args, looks=True)
    log = chosen.trial_dir(args.trial) / "log.txt"
    if not log.is_file():
        lists = f"`{chosen.command('status')}` lists the trials"
        raise RunError(f"{chosen}: trial {args.trial} has no log; {lists}")
    content = GrowingFile(log)
    lines = list(deque(content.new_lines(whole=False), maxlen=args.tail))
    trial = _TrialEvents(chosen, args.trial)
    told = list(trial.new())
    if args.json:
        epochs = [
            {"epoch": event.epoch, "value": event.value, "seconds": event.seconds} for event in told
        ]
        print_json({"trial": args.trial, "log": str(log), "lines": lines, "epochs": epochs})
        return 0
    _print(lines, told, trial)
    while args.follow and not trial.has_ended and chosen.is_running():
        time.sleep(_PAUSE_S)
        _print(content.new_lines(whole=False), trial.new(), trial)
        if trial.doing:
            sys.stdout.write(f"{trial.doing}\n")
            sys.stdout.flush()
    return 0


def _print(lines: Iterable[str], told: Iterable[events.Epoch], trial: _TrialEvents) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
    for event in told:
        sys.stdout.write(
            f"epoch {event.epoch:>3}  {trial.metric} {event.value:.4f}  {event.seconds:.1f} s\n"
        )
    sys.stdout.flush()


class _TrialEvents:
    """The epochs that a run has told of one trial, in order; damaged lines are passed over."""

    def __init__(self, run: RunDir, trial: int) -> None:
        self._file = GrowingFile(run.events_file)
        self._trial = trial
        self._marks = ('"started"', f'"trial": {trial},', f'"trial": {trial}}}')
        """What stands in every line that tells of it: to parse all lines of a run takes long."""
        self.metric = metric_word("")
        self.has_ended = False
        self.doing = ""
        """What it does before its first epoch ends, where that is new."""

    def new(self) -> Iterator[events.Epoch]:
        """Yield the epochs since the last call; a line that is being written waits."""
        self.doing = ""
        for line in self._file.new_lines():
            event = from_json(line) if any(mark in line for mark in self._marks) else None
            if isinstance(event, events.Started):
                self.metric = metric_word(event.metric)
            elif isinstance(event, _MOMENTS) and event.trial == self._trial:
                self.has_ended = isinstance(event, events.TrialEnded | events.TrialSuspended)
                self.doing = event.text if isinstance(event, events.TrialProgress) else ""
                if isinstance(event, events.Epoch):
                    yield event
