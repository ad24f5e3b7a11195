"""How often the stated drop of a winner holds the true one, over simulated searches.

    python tests/benchmarks/drop_coverage.py --json drop.json
    python tests/benchmarks/drop_coverage.py --json drop.json --rows recorded far --seeds 20

Every search goes through the real engine and `auto` on a simulated clock, with the trainer's noise.
The true drop is the value that chose the winner less the noise-free value of its configuration at
the epoch that was kept: what another training of it shows then, on average over seeds. The stated
interval is one standard error to either side, so it should hold the true drop in about 68 % of the
searches; 60 to 76 % is what 200 searches may show. Searches that are done are kept beside PATH
(`.lines.jsonl`), so the command may be killed and started again; one takes one to five seconds.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hpo.algorithms.entry import Context
from hpo.core.budget import Budget
from hpo.core.seeds import derive_seed
from hpo.core.selection import best_trial
from hpo.core.spec_dicts import lookup
from hpo.core.trial import Launch, TrialRecord
from hpo.executors.simulator import SimulatedEpoch, SimulatedExecutor
from hpo.results.drop import expect
from hpo.run.ledger import Ledger
from hpo.run.trial_specs import TrialSpecs
from hpo.searching.engine import Engine
from hpo.searching.engine_parts import Plan
from tests.benchmarks.policy_runs import registered
from tests.benchmarks.surfaces import Recorded, Surface, make_far

SLOTS = 2
ASKED = (0.60, 0.76)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Searches of one kind."""

    surface: str
    epochs: int
    confirm: int = 0


ROWS = {
    "recorded": Row(surface="recorded", epochs=270),
    "far": Row(surface="far", epochs=270),
    "recorded, confirmed": Row(surface="recorded", epochs=540, confirm=3),
    "far, confirmed": Row(surface="far", epochs=540, confirm=3),
}


def search(surface: Surface, seed: int, row: Row) -> list[TrialRecord]:
    """Search once with `auto` and return all trials; repeats draw their noise by their own seeds."""
    names = [p.name for p in surface.space.parameters]
    seeds: list[int] = []

    def replay(launch: Launch) -> Iterator[SimulatedEpoch]:
        seeds.append(lookup(launch.spec, "train.seed"))
        own = seed if seeds[-1] == seeds[0] else derive_seed(seed, seeds[-1])
        return surface.epochs({name: lookup(launch.spec, name) for name in names}, own)

    executor = SimulatedExecutor(replay, SLOTS)
    ledger = Ledger.create(None, "maximize")
    engine = Engine(
        ledger=ledger,
        algorithm=registered("auto")(surface, derive_seed("drop", seed), Context(slots=SLOTS)),
        plan=Plan(
            specs=TrialSpecs(base_spec={"train": {"seed": 1}}, seed_key="train.seed"),
            budget=Budget(epochs=row.epochs),
            confirm=row.confirm,
            num_epochs=surface.num_epochs,
        ),
        emit=lambda _event: None,
        now=executor.now,
    )
    executor.run(engine)
    return ledger.trials()


def measure(noisy: Surface, clean: Surface, seed: int, row: Row) -> dict[str, Any]:
    """What a search says of its winner's drop beside the true one; `said` is None if nothing."""
    trials = search(noisy, seed, row)
    winner = best_trial(trials, "maximize")
    assert winner is not None
    best = winner.best_measurement("maximize")
    assert best is not None
    curve = [epoch.value for epoch in clean.epochs(winner.params, seed)]
    said = expect(trials, "maximize", winner.number)
    return {
        "seed": seed,
        "true": best.value - curve[best.epoch - 1],
        "said": said and {"drop": said.drop, "error": said.drop_error},
    }


def surfaces(name: str, seed: int) -> tuple[Surface, Surface]:
    """A surface with its noise, and the same without."""
    if name == "recorded":
        return Recorded(), Recorded(with_noise=False)
    return make_far(seed), make_far(seed, noise=0.0)


def run_row(name: str, seeds: range, lines: Path) -> list[dict[str, Any]]:
    """All searches of a row; those that are in the file already are read from it."""
    kept = [json.loads(text) for text in lines.read_text().splitlines()] if lines.exists() else []
    done = {line["seed"]: line for line in kept if line["row"] == name}
    row, pair = ROWS[name], None
    for seed in seeds:
        if seed in done:
            continue
        if pair is None or row.surface == "far":  # whose optimum is drawn by the seed
            pair = surfaces(row.surface, seed)
        done[seed] = {"row": name, **measure(*pair, seed, row)}
        with lines.open("a") as stream:
            stream.write(json.dumps(done[seed]) + "\n")
    return [done[seed] for seed in seeds]


def summarize(found: list[dict[str, Any]]) -> dict[str, float]:
    """Means, and the share of searches whose interval holds the true drop."""
    told = [line for line in found if line["said"]]
    true = np.array([line["true"] for line in told])
    said = np.array([line["said"]["drop"] for line in told])
    error = np.array([line["said"]["error"] for line in told])
    return {
        "searches": len(found),
        "told": len(told),
        "true": float(true.mean()),
        "said": float(said.mean()),
        "error": float(error.mean()),
        "holds": float((np.abs(true - said) <= error).mean()),
    }


def main() -> None:
    """Search, write JSON, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--json", type=Path, required=True, metavar="PATH")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first-seed", type=int, default=0)
    args = parser.parse_args()
    lines, result = args.json.with_suffix(".lines.jsonl"), {}
    print("| searches | told | true drop | stated drop | standard error | holds the true one |")
    print("|---|---|---|---|---|---|")
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    for name in args.rows:
        found = result[name] = summarize(run_row(name, seeds, lines))
        low, high = ASKED
        within = "" if low <= found["holds"] <= high else f" (asked: {low:.0%} to {high:.0%})"
        print(
            f"| {found['searches']} {name} | {found['told']} | {found['true']:.4f} | "
            f"{found['said']:.4f} | {found['error']:.4f} | {found['holds']:.1%}{within} |",
            flush=True,
        )
    args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
