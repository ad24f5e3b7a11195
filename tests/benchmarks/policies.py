"""Compare search policies on simulated searches: what they have found after so many epochs or trials.

    python tests/benchmarks/policies.py --json policies.json --plot policies.png
    python tests/benchmarks/policies.py --json far.json --surfaces far --policies auto tpe --seeds 5

Every search goes through the real engine, ledger and algorithm on a simulated clock; a value is
that of the configuration that counts as the best at that moment, fully trained and without noise.
One search of each policy and seed is read at all budgets of epochs; each budget of trials is a
search of its own, as an algorithm is told how many trials it will have. Finished searches are kept
beside PATH (`.lines.jsonl`), so the command may be killed and started again. A seed of all policies
takes about a minute and a half of one core on each surface, and `bayesian` (a Gaussian process that is
fitted anew for each proposal) as much again: name the `--policies` to leave it out.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hpo.core.budget import Budget
from tests.benchmarks.policy_runs import Outcome, Policy, policies, simulate
from tests.benchmarks.policy_tables import EPOCHS, FULL, TRIALS, Runs, summarize, tables
from tests.benchmarks.surfaces import MADE_UP, SURFACES, Surface, make_surface

SLOTS = 4
"""Trials at a time; one on the made-up surfaces."""
LONGER = 3
"""Plain random search goes on for so many times the epochs, to see when it gets as far."""


def main() -> None:
    """Search, then write JSON, print tables, draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    known = policies()
    parser.add_argument("--json", type=Path, required=True, metavar="PATH")
    parser.add_argument("--plot", type=Path, metavar="PNG")
    parser.add_argument("--surfaces", nargs="+", default=list(SURFACES), choices=list(SURFACES))
    parser.add_argument("--policies", nargs="+", default=list(known), choices=list(known))
    parser.add_argument("--epochs", type=int, default=max(EPOCHS), help="of a search, at most")
    parser.add_argument(
        "--trials",
        type=int,
        nargs="*",
        default=list(TRIALS),
        choices=TRIALS,
        metavar="N",
        help="budgets of trials; without a number none",
    )
    parser.add_argument("--seeds", type=int, default=20, help="how many")
    parser.add_argument("--first-seed", type=int, default=0)
    args = parser.parse_args()
    runs = run_all(args, known, args.json.with_suffix(".lines.jsonl"))
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    best = {name: make_surface(name, 0).best_known for name in args.surfaces}
    epochs = [epochs for epochs in EPOCHS if epochs <= args.epochs]
    result = {
        n: summarize(n, runs, args.policies, seeds=seeds, epochs=epochs, best_known=best[n])
        for n in args.surfaces
    }
    args.json.write_text(json.dumps(result, indent=1) + "\n")
    for name, summary in result.items():
        print(tables(name, summary))
    if args.plot:
        from tests.benchmarks.policy_plots import draw

        long = {(s, p, seed): run for (s, p, seed, trials), run in runs.items() if trials is None}
        draw(args.plot, long, args.surfaces, args.policies)
        print(args.plot)


def run_all(args: argparse.Namespace, known: dict[str, Policy], lines: Path) -> Runs:
    """Every search that is asked for; those that are in the file already are read from it."""
    done = read_runs(lines)
    for surface_name in args.surfaces:
        surface: Surface | None = None
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            if surface_name in MADE_UP:
                surface = None
            for policy_name, trials in _searches(args.policies, args.trials):
                key = (surface_name, policy_name, seed, trials)
                if key in done and (trials or done[key].epochs >= args.epochs):
                    continue
                surface = surface or make_surface(surface_name, seed)
                longer = LONGER if policy_name == FULL else 1
                budget = Budget(trials=trials)
                if trials is None:
                    budget = Budget(epochs=args.epochs * longer)
                began = time.process_time()
                slots = 1 if surface_name in MADE_UP else SLOTS
                outcome = simulate(surface, known[policy_name], seed, budget, slots)
                done[key] = outcome
                line = {
                    "surface": surface_name,
                    "policy": policy_name,
                    "seed": seed,
                    "trial_budget": trials,
                    "trace": outcome.trace,
                    "epochs": outcome.epochs,
                    "trials": outcome.trials,
                    "busy": outcome.busy,
                    "cpu_s": round(time.process_time() - began, 2),
                }
                with lines.open("a") as stream:
                    stream.write(json.dumps(line) + "\n")
    return done


def _searches(names: list[str], budgets: list[int]) -> Iterator[tuple[str, int | None]]:
    """Policies and their budgets of trials; None is the long search that is read at all epochs."""
    for name in names:
        for trials in (None, *budgets):
            yield name, trials


def read_runs(lines: Path) -> Runs:
    """Searches that were finished before."""
    found = {}
    for text in lines.read_text().splitlines() if lines.exists() else []:
        line = json.loads(text)
        outcome = Outcome(
            trace=[tuple(point) for point in line["trace"]],
            epochs=line["epochs"],
            trials=line["trials"],
            busy=line["busy"],
        )
        found[line["surface"], line["policy"], line["seed"], line["trial_budget"]] = outcome
    return found


if __name__ == "__main__":
    main()
