"""The live view at the bottom of a terminal while a search is prepared and runs."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.text import Text

from hpo.console.progress import Progress, RunningTrial
from hpo.console.progress_words import describe_left, describe_use, split_running, whose_value
from hpo.core.budget import render_seconds
from hpo.core.text import count_of
from hpo.core.ties import over_words

REFRESHES_A_SECOND = 4
MOST_ROWS = 8
"""More running trials than this are counted, not listed."""
BARS = "▁▂▃▄▅▆▇█"
SPARK_EPOCHS = 12
HINT = "Ctrl-C: finish the running epochs, save, stop.  How to go on is said then."
AT_ONCE_HINT = "Ctrl-C: stop at once; running epochs are repeated.  How to go on is said then."
PREPARING_HINT = "Ctrl-C: stop."
ENDING_HINT = "Ctrl-C twice: stop.  How to go on is said then."
WHEEL = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
COLORS = {"pruned": "yellow", "failed": "red"}


class LiveView:
    """Draws a `Progress` by rich; `NO_COLOR` and the terminal's theme are kept to.

    Args:
        stream: the terminal.
        progress: what to draw.
        stops_at_once: whether Ctrl-C does not wait for running epochs.
    """

    def __init__(self, stream: TextIO, progress: Progress, stops_at_once: bool = False) -> None:
        self._progress, self._stops_at_once = progress, stops_at_once
        self._phase, self._part, self._since = "", "", time.monotonic()
        self._console = Console(file=stream, highlight=False, soft_wrap=True)
        self._live = Live(
            console=self._console,
            get_renderable=self.render,
            refresh_per_second=REFRESHES_A_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._logs = contextlib.ExitStack()

    def show(self, phase: str, part: str = "") -> None:
        """Say what is being done when no trial runs.

        Args:
            phase: e.g. `writing the report`; empty when trials run again.
            part: how far it is, e.g. `12 of 40`.
        """
        if phase != self._phase:
            self._phase, self._since = phase, time.monotonic()
        self._part = part

    def start(self) -> None:
        """Show the view; log messages go above it from now on."""
        if not self._live.is_started:
            self._logs.enter_context(_logs_to(self))
            self._live.start(refresh=True)

    def stop(self) -> None:
        """Take the view away."""
        if self._live.is_started:
            self._live.stop()
        self._logs.close()

    def line(self, text: str, *, crop: bool = False) -> None:
        """Print a line above the view; where cropped, no more of it than fits."""
        shown = Text.from_ansi(text)
        if crop:
            shown.truncate(self._console.width, overflow="ellipsis")
        self._console.print(shown)

    def render(self) -> RenderableType:
        """Return the whole view, never wider than the terminal."""
        rows: list[Text] = []
        if self._progress.has_begun:
            rows += [self._bar(), self._best(), *self._trials()]
        if self._phase:
            rows.append(self._doing())
        hint = PREPARING_HINT
        if self._progress.has_begun:
            hint = HINT if self._progress.running or not self._phase else ENDING_HINT
            hint = AT_ONCE_HINT if self._stops_at_once else hint
        rows.append(Text(hint, style="dim"))
        for row in rows:
            row.no_wrap, row.overflow = True, "ellipsis"
        return Padding(Group(*rows), (1, 0, 0, 0))

    def _doing(self) -> Text:
        """What is being done, how far it is and since when, behind something that moves."""
        took = time.monotonic() - self._since
        text = Text(WHEEL[int(took * REFRESHES_A_SECOND) % len(WHEEL)] + " ", style="cyan")
        text.append(self._phase, style="bold")
        text.append(f": {self._part}" if self._part else " ...", style="default")
        text.append(f"  {render_seconds(took)}" if took >= 1 else "", style="dim")
        return text

    def _bar(self) -> Text:
        fraction = self._progress.fraction()
        width = max(8, min(24, self._console.width - 58))
        done = round(fraction * width)
        text = Text("━" * done, style="green")
        text.append("─" * (width - done), style="dim")
        text.append(f" {fraction:>4.0%}  {describe_use(self._progress)}", style="default")
        left = describe_left(self._progress)
        text.append(f"  {left}" if left else "", style="default")
        return text

    def _best(self) -> Text:
        progress = self._progress
        if progress.best is None:
            return Text("no result yet")
        text = Text(f"best {progress.metric_word} ")
        text.append(f"{progress.best.value:.4f}", style="bold")
        text.append(f" ({whose_value(progress.best)})")
        gain = progress.leading.gain()
        if gain is not None:
            at = progress.best.epoch
            when = f" by epoch {at}" if 0 < at < progress.epochs_per_trial else ""
            style = "green" if gain * progress.sign > 0 else ""
            words = over_words(gain, progress.leading.direction, f"the default{when}")
            text.append(f"  {words}", style=style)
        for state in ("pruned", "failed"):
            if progress.counts[state]:
                text.append("  ")
                text.append(f"{progress.counts[state]} {state}", style=COLORS[state])
        if progress.causes:
            causes = ", ".join(f"{n} {kind}" for kind, n in progress.causes.most_common())
            text.append(f" ({causes})")
        return text

    def _trials(self) -> list[Text]:
        running, earlier = split_running(self._progress)
        rows = [self._trial(number, trial) for number, trial in running[:MOST_ROWS]]
        if len(running) > MOST_ROWS:
            rows.append(Text(f"and {count_of(len(running) - MOST_ROWS, 'more trial')}"))
        return [*rows, Text(f"{earlier}, trained together")] if earlier else rows

    def _trial(self, number: int, trial: RunningTrial) -> Text:
        epochs = self._progress.epochs_per_trial
        text = Text(f"trial {number:>3}  {trial.doing or f'epoch {trial.epoch:>2}/{epochs}'}")
        best = self._progress.best_of(trial)
        if best is not None:
            text.append(f"  {self._progress.metric_word} now {trial.values[-1]:.4f}")
            text.append(f"  best {best:.4f}")
            gain = None
            if number and not trial.is_repeat:
                gain = self._progress.leading.gain_of(best, trial.epoch)
            text.append("" if gain is None else f" ({gain:+z.4f})", style="dim")
            text.append(f"  {spark(trial.values[-SPARK_EPOCHS:])}", style="cyan")
        if trial.is_repeat:
            text.append("  repeat of a finalist", style="dim")
        return text


def spark(values: Sequence[float]) -> str:
    """A learning curve in a line of characters, its own lowest to its own highest value."""
    low, high = min(values), max(values)
    if high == low:
        return BARS[3] * len(values)
    return "".join(BARS[round((v - low) / (high - low) * (len(BARS) - 1))] for v in values)


class _LineWriter:
    """A stream whose whole lines are printed above a view."""

    def __init__(self, view: LiveView) -> None:
        self._view, self._rest = view, ""

    def write(self, text: str) -> int:
        """Print what is complete."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._view.line(line)
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back but half a line."""


@contextlib.contextmanager
def _logs_to(view: LiveView) -> Iterator[None]:
    """Send what the root logger's handlers print to the terminal above the view."""
    writer: Any = _LineWriter(view)
    moved = []
    for handler in logging.getLogger().handlers:
        if not isinstance(handler, logging.StreamHandler) or handler.stream is None:
            continue  # one of a file that is not open yet, or closed again, has no stream
        if handler.stream.isatty():
            moved.append((handler, handler.setStream(writer)))
    try:
        yield
    finally:
        for handler, stream in moved:
            if stream is not None:
                handler.setStream(stream)
