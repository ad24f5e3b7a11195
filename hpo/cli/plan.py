"""`hpo plan`: show what a search would do and how long it would take, without starting it."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo.cli import search as search_verb
from hpo.cli.run_flags import print_json
from hpo.console.console import Console
from hpo.console.last_page import render_value
from hpo.console.review_lines import render_review
from hpo.core.budget import Budget, render_seconds
from hpo.core.event_json import data_of
from hpo.core.events import Event, Preparing
from hpo.core.forecast import Forecast
from hpo.core.text import count_of

if TYPE_CHECKING:
    from hpo.searching.dry_run import DryRun

HELP = "say what a search would do and how long it would take, without starting it"

EPILOG = """\
examples:
  hpo plan --budget 40                                the embedded pictures
  hpo plan --data photos --budget 2h                  how many trials fit into two hours here
  hpo plan study.yaml --price-per-gpu-hour 2.5        with its cost
  hpo plan --data photos --budget 40 --json           for programs

It takes the flags of `hpo search`. An epoch is measured, so it takes some seconds; what is decoded
on the way stays in the cache for the search itself.
"""

SHOWN = 6
"""Parameters of a configuration that are shown."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments: those of `hpo search`, and the price."""
    search_verb.add_arguments(parser)
    parser.add_argument(
        "--price-per-gpu-hour", metavar="P", type=float, help="to say what the search would cost"
    )


def run(args: argparse.Namespace) -> int:
    """Prepare, measure, tell."""
    from hpo.cli.driving import machine_output
    from hpo.cli.study_flags import study_from_args
    from hpo.core.errors import SpecError
    from hpo.searching.dry_run import cost_of, plan_search
    from hpo.searching.settings import SearchSettings

    price = args.price_per_gpu_hour
    if price is not None and not 0 < price < float("inf"):
        raise SpecError(f"--price-per-gpu-hour: must be above 0, got {price:g}")
    study = study_from_args(args)
    with machine_output():
        console = Console(sys.stderr)
        settings = SearchSettings(
            executor="inprocess" if args.in_process else "ray",
            ray_address=args.ray_address,
            listeners=() if args.json else (lambda *_: _Preparing(console),),
            progress=console.progress,
            runs=Path(args.out),
        )
        with contextlib.closing(console):
            found = plan_search(study, settings)
    if args.json:
        cost = {} if price is None else {"cost": cost_of(found, price, study.budget)}
        print_json({**data_of(found), **cost})
        return 0
    for line in [*render_review(found), *render_more(found, price)]:
        print(console.wrapped(line, sys.stdout))
    return 0


class _Preparing:
    """Shows what is being prepared, and nothing else of a search."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def handle(self, event: Event) -> None:
        """Pass on what takes time."""
        if isinstance(event, Preparing):
            self._console.handle(event)

    def close(self) -> None:
        """Take the status line away."""
        self._console.close()


def render_more(found: DryRun, price: float | None) -> list[str]:
    """What the plan says beyond the review."""
    from hpo.searching.dry_run import cost_of

    lines = [_first(entry) for entry in found.first_batch]
    what = "GPUs" if found.gpus_per_trial else "cores"
    gain = _gain(found.forecast, found.with_twice_the_slots, found.budget)
    if gain:
        lines.append(f"hardware  with twice as many {what} {gain}")
    if found.batch_in_memory:
        lines.append(f"memory    a batch of about {found.batch_in_memory} would fill the GPU")
    total = found.probe.get("total_memory_mib")
    if total and total < 16 * 1024:
        lines.append(
            f"warning   the GPU has {total:.0f} MiB; below 16 GB large backbones do not fit"
        )
    if price is not None:
        cost = cost_of(found, price, found.budget)
        told = "nothing, as no GPU is used"
        if cost is not None:
            told = f"about {cost:.2f} at {price:g} a GPU hour"
        lines.append(f"cost      {told}")
    lines.append("start     the same flags with `hpo search`")
    return lines


def _first(entry: Mapping[str, Any]) -> str:
    if entry["trial"] == 0:
        return "first     trial 0: the default configuration"
    params = list(entry["params"].items())
    words = ", ".join(f"{name} {render_value(value)}" for name, value in params[:SHOWN])
    more = f" and {len(params) - SHOWN} more" if len(params) > SHOWN else ""
    return f"first     trial {entry['trial']}: {words}{more}"


def _gain(now: Forecast | None, more: Forecast | None, budget: Budget) -> str:
    """A budget of time buys trials, any other buys time; empty where nothing is gained."""
    if not now or not more:
        return ""
    is_of_time = budget.seconds is not None or budget.gpu_seconds is not None
    if budget.trials is None and is_of_time and more.trials > now.trials:
        trials = count_of(more.trials, "trial")
        return f"the same budget would be enough for {trials} in place of {now.trials}"
    if more.seconds < now.seconds * 0.95:
        less, full = render_seconds(more.seconds), render_seconds(now.seconds)
        return f"the search would take {less} in place of {full}"
    return ""
