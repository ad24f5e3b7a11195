"""Terminal output of the AutoML route beyond that of every search."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from hpo.console.last_page import render_value
from hpo.core.budget import render_seconds
from hpo.core.event_json import to_json
from hpo.core.events import Error, Event
from hpo.core.route_events import Baseline, Compared, JobFinished, Routed

if TYPE_CHECKING:
    from hpo.automl.review import RouteReview
    from hpo.jobs.job import Job

_MOST_CHANGES = 8
"""A configuration of the first batch is shown by so many values."""


class RouteConsole:
    """Prints route, baseline, first batch, time and comparison as lines.

    Args:
        stream: where to print.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def handle(self, event: Event) -> None:
        """Print what an event means to a person."""
        for line in _render_event(event):
            print(line, file=self._stream, flush=True)

    def close(self) -> None:
        """The stream belongs to the caller."""


def _render_event(event: Event) -> list[str]:
    """What an event of the route means to a person; nothing where every search has it."""
    from hpo.automl.outcome import render_comparison
    from hpo.automl.review import RouteReview

    match event:
        case Routed():
            return [f"route     {event.message}"]
        case Baseline():
            return [_render_baseline(event)]
        case RouteReview():
            return _render_route_review(event)
        case Compared():
            return ["", *render_comparison(list(event.rows), event.metric), ""]
        case _:
            return []


def _render_baseline(event: Baseline) -> str:
    if event.metric_value is not None:
        held = (event.held_out or {}).get("metric_value")
        more = "" if held is None else f"; {_number(held)} on held-out data"
        return f"baseline  {_number(event.metric_value)} ({event.label}){more}"
    return f"baseline  {event.status} ({event.label}): {event.reason}"


def _render_route_review(review: RouteReview) -> list[str]:
    """What the review of the route says beyond that of a plain search."""
    lines = [
        f"network   {review.network} from {review.skill_dir}, on {review.platform}",
        f"metric    {review.metric}, {review.direction}",
    ]
    lines += [f"data      {key} = {value}" for key, value in review.data_keys.items()]
    for change in review.adjustments:
        lines.append(
            f"adjusted  {change['param']} {change['from']} -> {change['to']}: {change['reason']}"
        )
    lines += [_render_parameter(parameter) for parameter in review.parameters]
    lines += _render_batch(review.first_batch)
    lines += [_render_time(review.expected), f"then      {review.final_evaluation}"]
    return lines


def _render_parameter(parameter: Mapping[str, Any]) -> str:
    shape = parameter.get("distribution") or {}
    if "low" in shape:
        low, high = render_value(shape["low"]), render_value(shape["high"])
        span = f"[{low}, {high}] {shape.get('scale', '')}"
    else:
        span = ", ".join(str(option) for option in shape.get("options") or shape.get("choices", []))
    return f"range     {parameter['name']}  {span}  default {render_value(parameter['default'])}"


def _render_batch(batch: Sequence[Mapping[str, Any]] | None) -> list[str]:
    if batch is None:
        return ["first     proposed by the model at the endpoint, when the search starts"]
    lines = []
    for entry in batch:
        if entry["rec_id"] == 0:
            lines.append("first     trial 0: the default configuration")
            continue
        shown = list(entry["specs"].items())
        words = ", ".join(f"{name}={render_value(value)}" for name, value in shown[:_MOST_CHANGES])
        more = f", and {len(shown) - _MOST_CHANGES} more" if len(shown) > _MOST_CHANGES else ""
        lines.append(f"first     trial {entry['rec_id']}: {words}{more}")
    return lines


def _render_time(guess: Mapping[str, Any]) -> str:
    if guess["total_s"] is None:
        return f"time      unknown: {guess['assumptions']}"
    low, high = guess["interval_s"]
    each, total = render_seconds(guess["time_per_trial_s"]), render_seconds(guess["total_s"])
    span = f"{render_seconds(low)} to {render_seconds(high)}"
    return f"time      {each} a trial, {total} in all ({span}); {guess['assumptions']}"


def print_route(routed: Routed, stream: TextIO | None) -> None:
    """Print the way of a request that is no search."""
    if stream is None:
        print(f"route     {routed.message}", file=sys.stderr, flush=True)
    else:
        _emit(stream, routed)


def print_job(job: Job, stream: TextIO | None) -> None:
    """Print how a plain run ended."""
    if stream is not None:
        _emit(stream, JobFinished(job=job.to_dict(), status=job.status))
        if job.status == "failure":
            _emit(stream, Error(message=job.message))
        return
    print(f"{job.id}: {job.status}{': ' + job.message if job.message else ''}", file=sys.stderr)
    for name, value in job.result.items():
        print(f"{name:<10} {value}", file=sys.stderr)
    print(f"folder     {job.folder}", file=sys.stderr)


def _emit(stream: TextIO, event: Event) -> None:
    stream.write(to_json(event) + "\n")
    stream.flush()


def _number(value: Any) -> str:
    return "unknown" if value is None else f"{value:.4f}"
