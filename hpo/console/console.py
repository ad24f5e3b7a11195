"""Prints a search's progress to stderr: one line per finished trial."""

from __future__ import annotations

import shutil
import textwrap
import time
from collections.abc import Callable
from functools import singledispatchmethod
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from hpo.console.last_page import Seen, linked, render_end
from hpo.console.progress import Progress
from hpo.console.progress_words import describe_left, describe_use, split_running, whose_value
from hpo.console.review_lines import render_review
from hpo.core import events
from hpo.core.budget import render_seconds
from hpo.core.process.streams import can_color, can_draw
from hpo.core.trial_counts import state_word

if TYPE_CHECKING:
    from hpo.console.live import LiveView

PREPARATIONS = {
    "workers": "starting the workers",
    "baseline": "measuring the baseline",
    "images": "looking at the pictures",
    "probe": "measuring an epoch",
    "comparison": "comparing the repeats",
    "average": "averaging the best trials",
    "export": "exporting the best model",
    "held_out": "evaluating it on the test pictures",
    "report": "writing the report",
}
STATUS_INTERVAL_S = 15.0
"""Without a terminal a status line is printed at most this often."""


class Console:
    """Prints events as lines; on a terminal a view at the bottom is kept up to date.

    Args:
        stream: where to print.
        now: a clock in seconds that never goes back.
        stops_at_once: whether Ctrl-C does not wait for running epochs.
    """

    def __init__(
        self,
        stream: TextIO,
        now: Callable[[], float] = time.monotonic,
        *,
        stops_at_once: bool = False,
    ) -> None:
        self._stream, self._now, self._stops_at_once = stream, now, stops_at_once
        self._live, self._color = can_draw(stream), can_color(stream)
        self._last_status = now()
        self._progress = Progress(now)
        self._view: LiveView | None = None
        self._seen = Seen()
        self._run_dir = Path()
        self._farewell: list[str] = []

    def handle(self, event: events.Event) -> None:
        """Print what an event means to a person."""
        self._progress.handle(event)
        self._print(event)

    def begin(self, phase: str) -> None:
        """Show on a terminal that something is done, from before the first event on."""
        if view := self._open_view():
            view.show(phase)

    def close(self) -> None:
        """Leave the cursor on a fresh line, and say last how to go on."""
        self._drop_view()
        for line in self._farewell:
            self.say(line)
        self._farewell = []

    def progress(self, what: str, done: int, total: int) -> None:
        """Show the progress of a preparation, e.g. decoding pictures; a total of 0 is not known."""
        if view := self._open_view():
            view.show(what, f"{done} of {total}" if total else "")
        elif done == total > 0:
            self.say(f"{what}: {total}")

    def say(self, text: str, *, crop: bool = False) -> None:
        """Print a line; where cropped, no more of it than fits beside a view."""
        if self._view is not None:
            self._view.line(text, crop=crop)
            return
        print(text, file=self._stream, flush=True)

    @staticmethod
    def wrapped(text: str, stream: TextIO) -> str:
        """Break a line between words and below its second column, where a terminal would cut."""
        if not stream.isatty():
            return text
        return textwrap.fill(
            text,
            shutil.get_terminal_size().columns,
            subsequent_indent=" " * 10,
            break_long_words=False,
            break_on_hyphens=False,
        )

    def ask(self, question: str) -> bool:
        """Ask yes or no; empty means yes."""
        self._drop_view()
        print(f"{question} [Y/n] ", end="", file=self._stream, flush=True)
        try:
            return input().strip().lower() in ("", "y", "yes")
        except EOFError:
            return False

    @property
    def has_begun(self) -> bool:
        """Whether a trial has started."""
        return self._progress.has_begun

    @property
    def trains(self) -> bool:
        """Whether a trial is running."""
        return bool(self._progress.running)

    def interrupted_hard(self) -> None:
        """Say how to go on after the search was stopped at once."""
        self._drop_view()
        if not self._seen.resume:
            self.say("stopped; no run has begun")
        elif not self.has_begun:
            self.say("stopped before a trial started. Go on with:")
        else:
            from hpo.jobs.job import running_commands

            commands = running_commands(self._run_dir / "trials")
            for name, group in commands.items():
                trial = name.lstrip("0") or "0"
                self.say(f"trial {trial}: its command goes on; `kill -- -{group}` ends it")
            what = "a resumed search takes over what goes on"
            what = what if commands else "epochs that were running will be repeated"
            self.say(self.wrapped(f"stopped at once; {what}. Go on with:", self._stream))
        if self._seen.resume:
            self.say(self._seen.resume)

    # One method per event -----------------------------------------------------------------------

    @singledispatchmethod
    def _print(self, event: events.Event) -> None:
        """Other events have no line."""

    @_print.register
    def _on_started(self, event: events.Started) -> None:
        self._seen.resume = event.resume
        self._run_dir = Path(event.run_dir)
        self._seen.metric, self._seen.before_s = event.metric, event.spent.seconds
        self._seen.is_resumed = bool(event.trials)
        self.say(f"run       {event.run_dir}")

    @_print.register
    def _on_review(self, event: events.Review) -> None:
        for line in render_review(event):
            self.say(self.wrapped(line, self._stream))
        self._seen.expected = event.forecast
        if not self._live:
            self.say("")

    @_print.register
    def _on_preparing(self, event: events.Preparing) -> None:
        words = PREPARATIONS.get(event.what, str(event.what))
        if view := self._open_view():
            view.show(words)
        else:
            self.say(f"{words} ...")

    @_print.register
    def _on_trial_started(self, _event: events.TrialStarted) -> None:
        if view := self._open_view():
            view.show("")
        self._refresh()

    @_print.register
    def _on_trial_progress(self, _event: events.Epoch | events.TrialProgress) -> None:
        self._refresh()

    @_print.register
    def _on_trial_finished(self, event: events.TrialFinished) -> None:
        if event.stage and event.stage.left and not event.error:
            return  # there are many: one line at the end of their stage stands for them
        state = state_word(event)
        value = "      " if event.value is None else f"{event.value:.4f}"
        note = event.error["message"] if event.error else event.reason
        if event.trial == 0 and not note:
            note = "the default configuration"
        paint = {"complete": "32", "pruned": "33", "failed": "31"}.get(state, "0")
        took, epochs = render_seconds(event.seconds), self._progress.epochs_per_trial
        value = f"{self._progress.metric_word} {value}"
        self.say(
            f"trial {event.trial:>3}  {self._paint(state.ljust(8), paint)}  {value}  "
            f"epoch {event.epoch:>2}/{epochs}  {took:>6}  {note}".rstrip(),
            crop=True,
        )
        self._refresh()

    @_print.register
    def _on_algorithm_step(self, event: events.AlgorithmStep) -> None:
        if event.algorithm == "staged":
            self.say(self.wrapped(f"stage     {event.text}", self._stream))

    @_print.register
    def _on_trial_suspended(self, event: events.TrialSuspended) -> None:
        why = "" if event.reason in ("", "interrupted") else f"; {event.reason}"
        self.say(f"trial {event.trial:>3}  paused after epoch {event.epoch}{why}", crop=True)

    @_print.register
    def _on_disk_low(self, event: events.DiskLow) -> None:
        self.say(self.wrapped(f"disk      {event.text}", self._stream))

    @_print.register
    def _on_paused(self, event: events.Paused) -> None:
        if self._view is not None:
            self._view.show("waiting for room on the disk")
        self.say(self.wrapped(f"paused    {event.text}", self._stream))

    @_print.register
    def _on_continued(self, event: events.Continued) -> None:
        if self._view is not None:
            self._view.show("")
        self.say(self.wrapped(f"goes on   {event.text}", self._stream))

    @_print.register
    def _on_checkpoints_removed(self, event: events.CheckpointsRemoved) -> None:
        self._seen.removed_bytes += event.bytes

    @_print.register
    def _on_confirmed(self, event: events.Confirmed) -> None:
        value = (
            "failed" if event.value is None else f"{self._progress.metric_word} {event.value:.4f}"
        )
        self.say(f"trial {event.trial:>3}  {event.reason}, another seed: {value}")

    @_print.register
    def _on_exported(self, event: events.Exported) -> None:
        self._seen.export = event.result

    @_print.register
    def _on_evaluated(self, event: events.Evaluated) -> None:
        if event.metric_value is not None:
            words = event.words or f"{self._progress.metric_word} {event.metric_value:.4f}"
            label = "held out" if event.split in events.HELD_OUT else "evaluated"
            where = ", on the validation queries" if event.split == "validation" else ""
            self._seen.evaluated = f"{label:<10}{words}{where}"

    @_print.register
    def _on_interrupted(self, event: events.Interrupted) -> None:
        best = self._progress.best
        found = ""
        if best is not None:
            found = f", best {self._progress.metric_word} {best.value:.4f} ({whose_value(best)})"
        used = f"paused    after {describe_use(self._progress)}{found}"
        told = self.wrapped(f"{used}; everything is saved. Go on with:", self._stream)
        self._farewell = [told, event.resume]  # a command is copied, so it is not broken

    @_print.register
    def _on_finished(self, event: events.Finished) -> None:
        self._drop_view()
        self.say("")
        for line in render_end(event, self._seen):
            shown = self.wrapped(line, self._stream)
            if line.startswith("best "):
                shown = self._paint(shown, "1;32" if event.best else "1;31")
            elif event.report and line.startswith("report ") and self._color:
                shown = shown.replace(event.report, linked(event.report))
            self.say(shown)

    # Lines --------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        """Without a terminal: a line now and then. The view looks at the progress by itself."""
        now = self._now()
        if self._live or now - self._last_status < STATUS_INTERVAL_S:
            return
        self._last_status = now
        self.say(render_status(self._progress))

    def _open_view(self) -> LiveView | None:
        """The view, shown from now on; None where there is no terminal."""
        if self._live and self._view is None:
            from hpo.console.live import LiveView

            self._view = LiveView(self._stream, self._progress, self._stops_at_once)
            self._view.start()
        return self._view

    def _drop_view(self) -> None:
        if self._view is not None:
            self._view.stop()
            self._view = None

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._color else text


def render_status(progress: Progress) -> str:
    """How the search stands, in a line."""
    best = progress.best
    last, earlier = split_running(progress)
    running = " ".join(
        [f"#{number} {trial.at(progress.epochs_per_trial)}" for number, trial in last]
        + ([earlier] if earlier else [])
    )
    parts = [
        f"{describe_use(progress)} done",
        f"best {best.value:.4f} (#{best.trial})" if best else "no result yet",
        f"running {running}" if running else "",
        describe_left(progress),
    ]
    return "  ".join(part for part in parts if part)
