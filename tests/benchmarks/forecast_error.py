"""How far forecasts are off: a program, not a test. Set-ups of the recognition trainer are searched.

    nice .venv/bin/python tests/benchmarks/forecast_error.py [--only 3 6] [--epochs 6] [--out DIR]

Each set-up is a search of one to three minutes on two cores, on the embedded product pictures at 64 px. What
the review expects is compared with the clock of the search; where a set-up is stopped and resumed, the rest is
compared with the rest. Figures are worth something only on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hpo
from hpo.core.budget import render_seconds
from hpo.core.events import Confirmed, Epoch, Finished, Review, Started, TrialFinished

SPEC = {
    "model.backbone": "timm/test_resnet",
    "model.input_width": 64,
    "model.input_height": 64,
    "dataset.workers": 0,
    "train.batch_size": 32,
}
PRETRAINED = {  # of few pixels, which grow nevertheless
    "model.input_width": 96,
    "model.input_height": 96,
    "dataset.first_size": 0.5,
    "dataset.workers": 0,
    "train.train_trunk": True,
}


@dataclass(frozen=True)
class SetUp:
    """A search, and where it is stopped and resumed."""

    name: str
    budget: str
    options: dict[str, Any] = field(default_factory=dict)
    weights: str = "none"
    stop_after: tuple[type, int] | None = None
    """(Class, n): the search is asked to stop after n events of this class."""
    more: str | None = None
    """The budget of the resumed search."""


SET_UPS = (
    SetUp("8 trials, none stopped early", "8", {"pruner": "none", "algorithm": "random"}),
    SetUp("16 trials, successive halving", "16", {"pruner": "successive_halving"}),
    SetUp("16 trials, hyperband", "16", {"algorithm": "hyperband"}),
    SetUp("100 s", "100s"),
    SetUp("60 epochs", "60epochs"),
    SetUp("8 trials, 2 confirmed", "8", {"confirm": 2}),
    SetUp("80 s, 1 confirmed", "80s", {"confirm": 1}),
    SetUp("16 trials, resumed after 6", "16", stop_after=(TrialFinished, 6)),
    SetUp("8 trials, 2 confirmed, resumed after a repeat", "8", {"confirm": 2},
          stop_after=(Confirmed, 1)),
    SetUp("6 trials, 6 more", "6", {"confirm": 1}, stop_after=(Finished, 1), more="+6"),
    SetUp("100 s, resumed in a trial", "100s", stop_after=(Epoch, 20)),
    SetUp("8 trials from pretrained weights", "8", weights="lite0"),
    SetUp("6 trials in stages", "6", {"stages": ("heads", "full")}, weights="lite0"),
    SetUp("2m in stages, 1 confirmed", "2m", {"stages": ("heads", "full"), "confirm": 1},
          weights="lite0"),
)  # fmt: skip


class Ear:
    """Hears a search, and asks it to stop where its set-up says so."""

    def __init__(self, stop_after: tuple[type, int] | None) -> None:
        self._stop_after = stop_after
        self._heard = 0
        self.rows: list[tuple[float, float, float, float]] = []
        """Expected, its interval, taken; of each start that came to its end."""

    def should_stop(self) -> bool:
        return self._stop_after is not None and self._heard >= self._stop_after[1]

    def resumed(self) -> None:
        self._stop_after = None

    def handle(self, event: Any) -> None:
        if self._stop_after and isinstance(event, self._stop_after[0]):
            self._heard += 1
        if isinstance(event, Started):
            self._before = event.spent.seconds
        elif isinstance(event, Review):
            self._expected = event.forecast
        elif isinstance(event, Finished) and self._expected:
            e, took = self._expected, event.spent.seconds - self._before
            self.rows.append((e.seconds, e.low_s, e.high_s, took))

    def close(self) -> None:
        pass


def measure(set_up: SetUp, out: Path, epochs: int) -> list[tuple[float, float, float, float]]:
    """Search once; the rows of all starts that came to their end."""
    ear = Ear(set_up.stop_after)
    settings = {"listeners": (lambda *_: ear,), "report": False, "should_stop": ear.should_stop}
    spec = {**SPEC, "train.num_epochs": epochs}
    if set_up.weights != "none":
        spec = {**PRETRAINED, "train.num_epochs": epochs}
    try:
        hpo.search(
            budget=set_up.budget, spec=spec, weights=set_up.weights, out=out,
            options={"seed": 1, **set_up.options}, **settings,
        )  # fmt: skip
    finally:
        stops = set_up.stop_after is not None
        ear.resumed()
    if stops:
        hpo.load(out=out).resume(set_up.more, **settings)
    return ear.rows[-1:]


def main() -> None:
    """Print a row a set-up, the median and the largest error."""
    os.environ["HPO_MEMORY"] = "off"  # one set-up must not change the next one's search
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", type=int, nargs="+", metavar="N", help="set-ups by number, from 1"
    )
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    out = args.out or Path(tempfile.mkdtemp(prefix="hpo-forecast-"))
    errors = []
    print(f"{'':>3} {'set-up':<48} {'expected':>9} {'interval':>20} {'taken':>9} {'error':>7}")
    for number, set_up in enumerate(SET_UPS, 1):
        if args.only and number not in args.only:
            continue
        for expected, low, high, took in measure(set_up, out / str(number), args.epochs):
            error = took / expected - 1.0
            errors.append(abs(error))
            span = f"{render_seconds(low)} to {render_seconds(high)}"
            print(
                f"{number:>3} {set_up.name:<48} {render_seconds(expected):>9} {span:>20} "
                f"{render_seconds(took):>9} {error:>+7.0%}",
                flush=True,
            )
    if not errors:
        sys.exit("no set-up has a forecast")
    print(f"median {statistics.median(errors):.0%}, largest {max(errors):.0%} of {len(errors)}")


if __name__ == "__main__":
    main()
