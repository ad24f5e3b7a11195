"""Renders the end of a search: the result first, then what the search says about itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpo.console.review_lines import render_front, render_outcome
from hpo.core.budget import CONVERGED, early_end, gave_up, render_seconds, was_foreseen
from hpo.core.bytes import render_bytes
from hpo.core.events import Finished
from hpo.core.expected import expected_words
from hpo.core.forecast import Forecast
from hpo.core.held_out import held_out_words
from hpo.core.text import count_of, metric_word, shell_word
from hpo.core.ties import FOUND, over_words
from hpo.core.trial import Direction

BESIDE = " " * 10
"""Stands under a line's label."""


@dataclass(slots=True, kw_only=True)
class Seen:
    """What earlier events of a search have told that belongs on its last page."""

    expected: Forecast | None = None
    before_s: float = 0.0
    """What earlier starts, or the choice of the network, had used of the clock."""
    resume: str = ""
    """What goes on with the search."""
    is_resumed: bool = False
    """Whether trials of earlier starts are there."""
    metric: str = ""
    evaluated: str = ""
    """The line of the last evaluation, held out or not; empty where there was none."""
    export: Mapping[str, Any] = field(default_factory=dict)
    removed_bytes: int = 0
    """Of checkpoints that lost."""


_CHANGES_KEPT = "its changes are kept"
_CHANGES_ASIDE = "is of another model, without the changes of the one before, which is now {}"


def render_end(event: Finished, seen: Seen) -> list[str]:
    """Return the last page of a search, a line each."""
    return [*_result(event, seen), *_search(event, seen)]


def render_value(value: Any) -> str:
    """A parameter's value for people."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def linked(file: str) -> str:
    """A file's path that a click opens, where the terminal knows links (OSC 8)."""
    return f"\x1b]8;;{Path(file).absolute().as_uri()}\x1b\\{file}\x1b]8;;\x1b\\"


def _result(event: Finished, seen: Seen) -> Iterator[str]:
    best = event.best
    if best is None:
        yield "best      no trial has a result"
        return
    metric = best.get("metric") or seen.metric
    word = metric_word(metric)
    yield f"best      trial {best['trial']}: {word} {best['value']:.4f}{_gain(best)}"
    yield from _confirmed(best)
    for number, sentence in enumerate(expected_words(best.get("expected"), metric)):
        yield f"{BESIDE if number else 'estimate  '}{sentence}"
    if average := best.get("average"):
        yield f"handed on {average['words']}"
    # `hpo resume` of a finished search sends no event of its evaluation, only the result.
    held_out = held_out_words(best.get("test"), metric)
    if evaluated := seen.evaluated or (f"held out  {held_out}" if held_out else ""):
        yield evaluated
    if best["params"]:
        shown = (f"{name} = {render_value(value)}" for name, value in best["params"].items())
        yield f"with      {', '.join(shown)}"
    yield from render_front(best.get("pareto") or [], word)
    if best["onnx"]:
        yield f"onnx      {best['onnx']}{_checked(best)}"
    else:
        yield f"spec      {best['spec']}"
    if changed := seen.export.get("changed_gallery"):
        is_kept = Path(changed).parent == Path(best["onnx"]).parent
        yield f"gallery   {_CHANGES_KEPT if is_kept else _CHANGES_ASIDE.format(changed)}"
    if event.report:
        yield f"report    {event.report}"
    if best["onnx"]:
        yield f"next      hpo predict {shell_word(event.run_dir)} IMAGE..."
        yield f"{BESIDE}hpo ui {shell_word(event.run_dir)}"


def _confirmed(best: Mapping[str, Any]) -> Iterator[str]:
    """How the finalists came out, or why none were compared where that was asked for."""
    for number, sentence in enumerate((best.get("confirmation") or {}).get("words", ())):
        yield f"{BESIDE if number else 'confirmed '}{sentence}"
    if best.get("unconfirmed"):
        yield f"{BESIDE}{best['unconfirmed']}"


def _gain(best: Mapping[str, Any]) -> str:
    """The gain on the validation queries; repeats, where there are any, say it better."""
    if best.get("confirmation"):
        return FOUND
    default = best.get("default_value")
    if default is None:
        return ""
    if best.get("is_default", best["trial"] == 0):  # earlier releases told of the trial alone
        return ", the default configuration"
    words = over_words(best["value"] - default, best.get("direction", Direction.MAXIMIZE))
    return f", {words}" if words.endswith(")") else f" ({words})"


def _checked(best: Mapping[str, Any]) -> str:
    number = best.get("num_images_checked")
    return f" (checked on {count_of(number, 'picture')})" if number else ""


def _search(event: Finished, seen: Seen) -> Iterator[str]:
    states = dict(event.trials) | {"paused": event.suspended}
    counts = ", ".join(f"{number} {state}" for state, number in states.items() if number)
    repeats = f", {count_of(event.confirmations, 'repeat')}" if event.confirmations else ""
    whole, took = event.spent.seconds, event.spent.seconds - seen.before_s
    rest = ""
    if seen.before_s and took > 0:
        since = "since the resume" if seen.is_resumed else "without the choice of the network"
        rest = f"; {since} {render_seconds(took)}"
    yield (
        f"finished  {counts or 'no trials'}{repeats} in {render_seconds(whole)}{rest}"
        f"{render_outcome(seen.expected, took) if was_foreseen(event.ended_because) else ''}"
    )
    if event.ended_because.startswith(CONVERGED):
        yield f"converged {event.ended_because.removeprefix(CONVERGED)}"
    elif cause := gave_up(event.ended_because):
        yield f"gave up   {cause}"
        yield f"{BESIDE}go on, once that is mended: {seen.resume or _resume_of(event.run_dir)}"
    elif why := early_end(event.ended_because):
        yield f"ended     {why}"
    if seen.removed_bytes:
        freed = render_bytes(seen.removed_bytes)
        yield f"disk      {freed} of checkpoints that nothing needs were removed (keep: best)"
    for stage in event.stages:
        yield f"stage     {stage}"
    for rung in event.rungs:
        if rung.correlation is not None:  # else there is nothing to say of its order
            yield f"rung      {rung}"
    for edge in event.edges:
        yield f"range     {edge}"


def _resume_of(run_dir: str) -> str:
    """What goes on, where a start only tells of the end: it begins with no `started`."""
    from hpo.run.next_commands import resume_command
    from hpo.run.run_dir import RunDir

    return resume_command(RunDir(Path(run_dir)))
