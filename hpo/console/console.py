"""Prints a search's progress to stderr: one line per finished trial."""

from __future__ import annotations

import os
import shutil
import textwrap
import time
from collections.abc import Callable
from functools import singledispatchmethod
from typing import TYPE_CHECKING, Any, TextIO

from hpo.console.progress import Progress, describe_left, describe_use
from hpo.console.review_lines import render_front, render_outcome, render_review
from hpo.core.budget import render_seconds
from hpo.core.bytes import render_bytes
from hpo.core.events import (
    CheckpointsRemoved,
    Confirmed,
    Continued,
    DiskLow,
    Epoch,
    Evaluated,
    Event,
    Exported,
    Finished,
    Forecast,
    Interrupted,
    Paused,
    Preparing,
    Review,
    Started,
    TrialFinished,
    TrialStarted,
    TrialSuspended,
)
from hpo.core.text import count_of, shell_word

if TYPE_CHECKING:
    from hpo.console.live import LiveView

STATUS_INTERVAL_S = 15.0
"""Without a terminal a status line is printed at most this often."""


class Console:
    """Prints events as lines; on a terminal a view at the bottom is kept up to date.

    Args:
        stream: where to print.
        now: a clock in seconds that never goes back.
    """

    def __init__(self, stream: TextIO, now: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._now = stream, now
        self._live = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._color = self._live and "NO_COLOR" not in os.environ
        self._status = ""
        self._last_status = now()
        self._progress = Progress(now)
        self._view: LiveView | None = None
        self._expected: Forecast | None = None
        self._resume = ""
        self._farewell: list[str] = []
        self._removed = 0

    def handle(self, event: Event) -> None:
        """Print what an event means to a person."""
        self._progress.handle(event)
        self._print(event)

    def close(self) -> None:
        """Leave the cursor on a fresh line, and say last how to go on."""
        self._drop_view()
        self._clear()
        for line in self._farewell:
            self._line(line)
        self._farewell = []

    def progress(self, what: str, done: int, total: int) -> None:
        """Show the progress of a preparation, e.g. decoding images."""
        if self._live:
            self._show(f"{what}: {done} of {total}")
        elif done == total:
            self._line(f"{what}: {total}")

    def say(self, text: str) -> None:
        """Print a line in between."""
        self._line(text)

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
        self._clear()
        print(f"{question} [Y/n] ", end="", file=self._stream, flush=True)
        try:
            return input().strip().lower() in ("", "y", "yes")
        except EOFError:
            return False

    def interrupted_hard(self) -> None:
        """Say how to go on after a second Ctrl-C."""
        self._drop_view()
        self._clear()
        if self._resume:
            self._line("stopped at once; epochs that were running will be repeated. Go on with:")
            self._line(self._resume)

    # One method per event -----------------------------------------------------------------------

    @singledispatchmethod
    def _print(self, event: Event) -> None:
        """Other events have no line."""

    @_print.register
    def _on_started(self, event: Started) -> None:
        self._resume = f"hpo resume {shell_word(event.run_dir)}"
        self._line(f"run       {event.run_dir}")

    @_print.register
    def _on_review(self, event: Review) -> None:
        for line in render_review(event):
            self._line(self.wrapped(line, self._stream))
        self._expected = event.forecast
        if not self._live:
            self._line("")

    @_print.register
    def _on_preparing(self, event: Preparing) -> None:
        what: str = {
            "images": "looking at the pictures",
            "probe": "measuring an epoch",
            "report": "writing the report",
        }.get(event.what, str(event.what))
        if self._view is not None:
            self._view.phase = what
        elif self._live:
            self._show(f"{what} ...")

    @_print.register
    def _on_trial_started(self, _event: TrialStarted) -> None:
        if self._live and self._view is None:
            from hpo.console.live import LiveView

            self._clear()
            self._view = LiveView(self._stream, self._progress)
            self._view.start()
        self._refresh()

    @_print.register
    def _on_epoch(self, _event: Epoch) -> None:
        self._refresh()

    @_print.register
    def _on_trial_finished(self, event: TrialFinished) -> None:
        state = "refused" if event.is_refused else str(event.state)
        value = "      " if event.value is None else f"{event.value:.4f}"
        note = event.error["message"] if event.error else event.reason
        if event.trial == 0 and not note:
            note = "the default configuration"
        paint = {"complete": "32", "pruned": "33", "failed": "31"}.get(state, "0")
        took, epochs = render_seconds(event.seconds), self._progress.epochs_per_trial
        value = f"{self._progress.metric_word} {value}"
        self._line(
            f"trial {event.trial:>3}  {self._paint(state.ljust(8), paint)}  {value}  "
            f"epoch {event.epoch:>2}/{epochs}  {took:>6}  {note}".rstrip(),
            crop=True,
        )
        self._refresh()

    @_print.register
    def _on_trial_suspended(self, event: TrialSuspended) -> None:
        self._line(f"trial {event.trial:>3}  paused after epoch {event.epoch}")

    @_print.register
    def _on_disk_low(self, event: DiskLow) -> None:
        self._line(self.wrapped(f"disk      {event.text}", self._stream))

    @_print.register
    def _on_paused(self, event: Paused) -> None:
        if self._view is not None:
            self._view.phase = "waiting for room on the disk"
        self._line(self.wrapped(f"paused    {event.text}", self._stream))

    @_print.register
    def _on_continued(self, event: Continued) -> None:
        if self._view is not None:
            self._view.phase = ""
        self._line(self.wrapped(f"goes on   {event.text}", self._stream))

    @_print.register
    def _on_checkpoints_removed(self, event: CheckpointsRemoved) -> None:
        self._removed += event.bytes

    @_print.register
    def _on_confirmed(self, event: Confirmed) -> None:
        value = (
            "failed" if event.value is None else f"{self._progress.metric_word} {event.value:.4f}"
        )
        self._line(f"trial {event.trial:>3}  {event.reason}, another seed: {value}")

    @_print.register
    def _on_exported(self, event: Exported) -> None:
        checked = event.result.get("num_images_checked")
        note = f"checked on {count_of(checked, 'picture')}" if checked else "checked"
        self._line(f"exported  trial {event.trial} as ONNX, {note}: {event.result['onnx']}")

    @_print.register
    def _on_evaluated(self, event: Evaluated) -> None:
        if event.metric_value is not None:
            words = event.words or f"{self._progress.metric_word} {event.metric_value:.4f}"
            text = f"held out  {words}, on the {event.split} split"
            self._line(self.wrapped(text, self._stream))

    def _drop_view(self) -> None:
        if self._view is not None:
            self._view.stop()
            self._view = None

    @_print.register
    def _on_interrupted(self, event: Interrupted) -> None:
        self._farewell = ["paused; everything is saved. Go on with:", event.resume]

    @_print.register
    def _on_finished(self, event: Finished) -> None:
        self._drop_view()
        counts = event.trials
        words = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
        self._line(
            f"finished  {words or 'no trials'} in {render_seconds(event.spent.seconds)}"
            f"{render_outcome(self._expected, event.spent.seconds)}"
        )
        word, _, rule = event.ended_because.partition(": ")
        if word == "converged":
            self._line(f"converged {rule}")
        self._tell_findings(event)
        best = event.best
        if best is None:
            self._line("no trial has a result")
            return
        gain, confirmation = "", best.get("confirmation")
        if best.get("default_value") is not None and best["trial"] != 0 and not confirmation:
            gain = f" ({best['value'] - best['default_value']:+.4f} over the default)"
        value = f"{self._progress.metric_word} {best['value']:.4f}"
        self._line(f"best      trial {best['trial']}: {value}{gain}")
        for number, words in enumerate(confirmation["words"] if confirmation else []):
            self._line(f"{'confirmed ' if number == 0 else ' ' * 10}{words}")
        for name, value in best["params"].items():
            self._line(f"          {name} = {render_value(value)}")
        for line in render_front(best.get("pareto") or [], self._progress.metric_word):
            self._line(line)
        if not best["onnx"]:
            self._line(f"spec      {best['spec']}")
            return
        self._line(f"onnx      {best['onnx']}")
        if event.report:
            self._line(f"report    {event.report}")
        self._line(f"next      hpo predict {shell_word(event.run_dir)} IMAGE...")
        self._line(f"          hpo ui {shell_word(event.run_dir)}")

    def _tell_findings(self, event: Finished) -> None:
        if self._removed:
            freed = render_bytes(self._removed)
            self._line(f"disk      {freed} of checkpoints that lost were removed (keep: best)")
        for rung in event.rungs:
            self._line(f"rung      {rung}")
        for edge in event.edges:
            self._line(f"range     {edge}")

    # Lines --------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        """Without a terminal: a line now and then. The view looks at the progress by itself."""
        now = self._now()
        if self._live or now - self._last_status < STATUS_INTERVAL_S:
            return
        self._last_status = now
        self._line(render_status(self._progress))

    def _line(self, text: str, *, crop: bool = False) -> None:
        if self._view is not None:
            self._view.line(text, crop=crop)
            return
        self._clear()
        print(text, file=self._stream, flush=True)

    def _show(self, text: str) -> None:
        self._clear()
        width = shutil.get_terminal_size().columns - 1
        self._status = text[:width]
        print(self._status, end="", file=self._stream, flush=True)

    def _clear(self) -> None:
        if self._status:
            print("\r\x1b[K", end="", file=self._stream, flush=True)
            self._status = ""

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._color else text


def render_status(progress: Progress) -> str:
    """How the search stands, in a line."""
    best = progress.best
    running = " ".join(
        f"#{number} {trial.epoch}/{progress.epochs_per_trial}"
        for number, trial in sorted(progress.running.items())
    )
    parts = [
        f"{describe_use(progress)} done",
        f"best {best.value:.4f} (#{best.trial})" if best else "no result yet",
        f"running {running}" if running else "",
        describe_left(progress),
    ]
    return "  ".join(part for part in parts if part)


def render_value(value: Any) -> str:
    """A parameter's value for people."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
