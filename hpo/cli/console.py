"""What a person sees during a search: calm lines, one per finished trial, on stderr."""

from __future__ import annotations

import os
import shutil
import time
from typing import Any, TextIO

from hpo.core.budget import render_seconds
from hpo.core.events import Event

STATUS_INTERVAL_S = 15.0
"""Without a terminal a status line is printed at most this often."""


class Console:
    """Prints events as lines; on a terminal a status line at the bottom is kept up to date.

    Args:
        stream: where to print.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._color = self._live and "NO_COLOR" not in os.environ
        self._status = ""
        self._began = time.monotonic()
        self._last_status = time.monotonic()
        self._running: dict[int, tuple[int, float | None]] = {}
        self._best: tuple[float, int] | None = None
        self._default: float | None = None
        self._done = 0
        self._budget = ""
        self._planned: int | None = None
        self._epochs = 0
        self._resume = ""
        self._farewell: list[str] = []
        self._seconds: list[float] = []
        self._word = "P@1"
        self._slots = 1
        self._done_here = 0

    def hear(self, event: Event) -> None:
        """Print what an event means to a person."""
        handler = getattr(self, f"_on_{event['event']}", None)
        if handler is not None:
            handler(event)

    def close(self) -> None:
        """Leave the cursor on a fresh line, and say last how to go on."""
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
        self._clear()
        if self._resume:
            self._line("stopped at once; epochs that were running will be repeated. Go on with:")
            self._line(self._resume)

    # One method per event -----------------------------------------------------------------------

    def _on_started(self, event: Event) -> None:
        self._resume = f"hpo resume {event['run_dir']}"
        self._budget = event["budget"]
        self._done = event["trials_so_far"]
        self._line(f"run       {event['run_dir']}")

    def _on_review(self, event: Event) -> None:
        for line in render_review(event):
            self._line(line)
        if "precision" not in (metric := event.get("metric", "precision")).lower():
            self._word = metric
        self._slots = event["concurrent"]
        self._epochs = event["epochs_per_trial"]
        self._began = time.monotonic()
        number = self._budget.split(" ")[0]
        self._planned = int(number) if "trial" in self._budget and number.isdigit() else None
        self._line("")

    def _on_trial_started(self, event: Event) -> None:
        self._running[event["trial"]] = (event.get("resumed_from_epoch") or 0, None)
        self._refresh()

    def _on_epoch(self, event: Event) -> None:
        number, value = event["trial"], event["value"]
        best = self._running.get(number, (0, None))[1]
        self._running[number] = (event["epoch"], value if best is None else max(best, value))
        if number == 0:
            self._default = max(self._default or 0.0, value)
        if self._best is None or value > self._best[0]:
            self._best = (value, number)
        self._refresh()

    def _on_trial_finished(self, event: Event) -> None:
        self._running.pop(event["trial"], None)
        self._done += 1
        self._done_here += 1
        state = event["state"]
        value = "      " if event["value"] is None else f"{event['value']:.4f}"
        note = event["error"]["message"] if event["error"] else event.get("reason", "")
        if event["trial"] == 0 and not note:
            note = "the default configuration"
        paint = {"complete": "32", "pruned": "33", "failed": "31"}.get(state, "0")
        took = render_seconds(event["seconds"])
        value = f"{self._word} {value}"
        self._line(
            f"trial {event['trial']:>3}  {self._paint(state.ljust(8), paint)}  {value}  "
            f"epoch {event['epoch']:>2}/{self._epochs}  {took:>6}  {note}".rstrip()
        )
        self._refresh()

    def _on_trial_suspended(self, event: Event) -> None:
        self._running.pop(event["trial"], None)
        self._line(f"trial {event['trial']:>3}  paused after epoch {event['epoch']}")

    def _on_confirmed(self, event: Event) -> None:
        self._running.pop(event["trial"], None)
        value = "failed" if event["value"] is None else f"{self._word} {event['value']:.4f}"
        self._line(f"trial {event['trial']:>3}  a finalist again with another seed: {value}")

    def _on_exported(self, event: Event) -> None:
        checked = event.get("num_images_checked")
        note = f"checked on {checked} images" if checked else "checked"
        self._line(f"exported  trial {event['trial']} as ONNX, {note}: {event['onnx']}")

    def _on_evaluated(self, event: Event) -> None:
        value = event["metrics"].get("val_precision_at_1", event["metrics"].get("precision_at_1"))
        if value is not None:
            self._line(f"held out  P@1 {value:.4f} on the {event['split']} split")

    def _on_interrupted(self, event: Event) -> None:
        self._farewell = ["paused; everything is saved. Go on with:", event["resume"]]

    def _on_finished(self, event: Event) -> None:
        counts = event["trials"]
        words = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
        self._line(
            f"finished  {words or 'no trials'} in {render_seconds(event['spent']['seconds'])}"
        )
        best = event["best"]
        if best is None:
            self._line("no trial has a result")
            return
        gain = ""
        if best.get("default_value") is not None and best["trial"] != 0:
            gain = f" ({best['value'] - best['default_value']:+.4f} over the default)"
        self._line(f"best      trial {best['trial']}: {self._word} {best['value']:.4f}{gain}")
        for name, value in best["params"].items():
            self._line(f"          {name} = {render_value(value)}")
        if not best["onnx"]:
            self._line(f"spec      {best['spec']}")
            return
        self._line(f"onnx      {best['onnx']}")
        if event.get("report"):
            self._line(f"report    {event['report']}")
        self._line(f"next      hpo predict {event['run_dir']} IMAGE...")
        self._line(f"          hpo ui {event['run_dir']}")

    # Lines --------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        now = time.monotonic()
        if not self._live and now - self._last_status < STATUS_INTERVAL_S:
            return
        self._last_status = now
        running = " ".join(
            f"#{number} {epoch}/{self._epochs}"
            for number, (epoch, _) in sorted(self._running.items())
        )
        best = f"best {self._best[0]:.4f} (#{self._best[1]})" if self._best else "no result yet"
        done = f"{self._done} done" + (f" of {self._planned}" if self._planned else "")
        parts = [done, best, f"running {running}" if running else "", self._eta()]
        text = "  ".join(part for part in parts if part)
        if self._live:
            self._show(text)
        else:
            self._line(text)

    def _eta(self) -> str:
        """Time left by the trials that are done; unknown before the first."""
        if not self._planned or not self._done_here:
            return ""
        elapsed = time.monotonic() - self._began
        left = max(0, self._planned - self._done)
        return f"ETA {render_seconds(elapsed / self._done_here * left)}" if left else ""

    def _line(self, text: str) -> None:
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


def render_review(review: dict[str, Any]) -> list[str]:
    """The launch review as lines."""
    lines = []
    for name, split in (review["data"].get("splits") or {}).items():
        lines.append(f"{name:<9} {split['images']} images of {split['classes']} classes")
    lines += [f"warning   {finding['message']}" for finding in review["data"].get("findings", [])]
    lines += [f"warning   {text}" for text in review["warnings"]]
    searched = ", ".join(name.removeprefix("train.optim.") for name in review["searched"])
    lines.append(f"searched  {len(review['searched'])} parameters: {searched}")
    if review["pinned"]:
        pinned = ", ".join(name.removeprefix("train.optim.") for name in review["pinned"])
        lines.append(f"pinned    {pinned}  (hpo space says why)")
    pruner = "" if review["pruner"] == "none" else f" + {review['pruner']}"
    reason = f"; {review['reason']}" if review["reason"] else ""
    lines.append(f"method    {review['algorithm']}{pruner}{reason}")
    probe = review["probe"]
    if probe.get("random_weights"):
        lines.append(
            "WEIGHTS   training starts from RANDOM weights; --weights FILE starts from yours"
        )
    if probe:
        speed, memory = probe.get("images_per_s", 0), probe.get("peak_memory_mib", 0)
        lines.append(
            f"measured  {probe['seconds_per_epoch']:.1f} s an epoch, {speed:.0f} images/s, "
            f"{memory:.0f} MiB on {probe.get('device', 'cpu')}"
        )
    slots = review["concurrent"]
    at_once = "one at a time" if slots == 1 else f"{slots} at a time"
    estimate = review["estimate_s"]
    at_most = f", at most {render_seconds(estimate)}" if estimate else ""
    epochs = review["epochs_per_trial"]
    lines.append(f"budget    {review['budget']}, {epochs} epochs each, {at_once}{at_most}")
    return lines


def render_value(value: Any) -> str:
    """A parameter's value for people."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
