"""Compare search policies on simulated searches: what they have found after so many epochs.

    python tests/benchmarks/policies.py --json policies.json --plot policies.png
    python tests/benchmarks/policies.py --json far.json --surfaces far --policies auto tpe --seeds 5

Every search goes through the real engine, ledger and algorithm on a simulated clock; a value is
that of the configuration that counts as the best at that moment, fully trained and without noise.
Finished searches are kept beside PATH (`.lines.jsonl`), so the command may be killed and started
again. A seed of all policies takes about a minute of one core on the recorded curves and on `far`, and
`bayesian` (a Gaussian process that is fitted anew for each proposal) another minute and a half: name
the `--policies` to leave it out.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.policy_runs import Outcome, Policy, policies, simulate
from tests.benchmarks.surfaces import SURFACES, Surface, make_surface

SLOTS = {"near": 1, "far": 1, "recorded": 4, "recorded_mean": 4}
PARTS = (0.25, 0.5, 1.0)
"""The three budgets, as parts of the longest."""
OURS, FULL = "auto", "random, full training"
LONGER = 3
"""Plain random search goes on for so many times the epochs, to see when it gets as far."""
FLIPS = 20_000
ALPHA = 0.05
SHARES = (0.95, 0.99)
"""Of the best known value: how many epochs it takes to get there is told."""


def main() -> None:
    """Search, then write JSON, print tables, draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    known = policies()
    parser.add_argument("--json", type=Path, required=True, metavar="PATH")
    parser.add_argument("--plot", type=Path, metavar="PNG")
    parser.add_argument("--surfaces", nargs="+", default=list(SURFACES), choices=list(SURFACES))
    parser.add_argument("--policies", nargs="+", default=list(known), choices=list(known))
    parser.add_argument("--seeds", type=int, default=20)
    args = parser.parse_args()
    lines = args.json.with_suffix(".lines.jsonl")
    runs = run_all(args, known, lines)
    best = {name: make_surface(name, 0).best_known for name in args.surfaces}
    result = {name: summarize(name, runs, args, best[name]) for name in args.surfaces}
    args.json.write_text(json.dumps(result, indent=1) + "\n")
    for name, summary in result.items():
        print(table(name, summary))
    if args.plot:
        from tests.benchmarks.policy_plots import draw

        draw(args.plot, runs, args.surfaces, args.policies)
        print(args.plot)


def run_all(
    args: argparse.Namespace, known: dict[str, Policy], lines: Path
) -> dict[tuple[str, str, int], Outcome]:
    """Every search that is asked for; those that are in the file already are read from it."""
    done = read_runs(lines)
    for surface_name in args.surfaces:
        fixed: Surface | None = None
        for seed in range(args.seeds):
            for policy_name in args.policies:
                key = (surface_name, policy_name, seed)
                if key in done:
                    continue
                if not surface_name.startswith("recorded") or fixed is None:
                    fixed = make_surface(surface_name, seed)
                began = time.process_time()
                longer = LONGER if policy_name == FULL else 1
                policy, budget = known[policy_name], SURFACES[surface_name] * longer
                outcome = simulate(fixed, policy, seed, budget, SLOTS[surface_name])
                done[key] = outcome
                line = {
                    "surface": surface_name,
                    "policy": policy_name,
                    "seed": seed,
                    "trace": outcome.trace,
                    "epochs": outcome.epochs,
                    "trials": outcome.trials,
                    "busy": outcome.busy,
                    "cpu_s": round(time.process_time() - began, 2),
                }
                with lines.open("a") as stream:
                    stream.write(json.dumps(line) + "\n")
    return done


def read_runs(lines: Path) -> dict[tuple[str, str, int], Outcome]:
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
        found[line["surface"], line["policy"], line["seed"]] = outcome
    return found


def summarize(
    surface: str,
    runs: dict[tuple[str, str, int], Outcome],
    args: argparse.Namespace,
    best_known: float,
) -> dict[str, Any]:
    """Medians, quartiles, epochs to 99 % of the best known value, and who is ahead of ours."""
    budgets = [round(part * SURFACES[surface]) for part in PARTS]
    rows = {}
    for name in args.policies:
        mine = {s: runs[surface, name, s] for s in range(args.seeds) if (surface, name, s) in runs}
        if not mine:
            continue
        values = np.array([[run.at(budget) for budget in budgets] for run in mine.values()])
        rows[name] = {
            "seeds": len(mine),
            "quartiles": np.quantile(values, [0.25, 0.5, 0.75], axis=0).T.round(4).tolist(),
            "epochs_to": {f"{share:.0%}": middle(mine, share * best_known) for share in SHARES},
            "trials": float(np.median([run.trials for run in mine.values()])),
            "busy": float(np.median([run.busy for run in mine.values()])),
            "values": {str(seed): row.tolist() for seed, row in zip(mine, values, strict=True)},
        }
    summary = {"budgets": budgets, "best_known": round(best_known, 4), "policies": rows}
    return {**summary, "ahead": ahead_of_ours(rows, budgets), "third": third(rows)}


def middle(runs: dict[int, Outcome], value: float) -> float | None:
    """Median epochs until the best is as good; None where half of the searches never get there."""
    found = [run.reaches(value) for run in runs.values()]
    median = float(np.median([np.inf if epochs is None else epochs for epochs in found]))
    return median if np.isfinite(median) else None


def third(rows: dict[str, Any]) -> dict[str, Any]:
    """Epochs to shares of the best known: ours against full training; None is beyond the budget."""
    return {name: rows[name]["epochs_to"] for name in (OURS, FULL) if name in rows}


def ahead_of_ours(rows: dict[str, Any], budgets: list[int]) -> list[dict[str, Any]]:
    """One-sided paired sign-flip tests of every other policy against ours, Holm-corrected."""
    tests = []
    for name, row in rows.items() if OURS in rows else []:
        shared = sorted(set(row["values"]) & set(rows[OURS]["values"]), key=int)
        if name == OURS or len(shared) < 5:
            continue
        for k, budget in enumerate(budgets):
            gains = np.array([row["values"][s][k] - rows[OURS]["values"][s][k] for s in shared])
            tests.append(
                {
                    "policy": name,
                    "epochs": budget,
                    "gain": round(float(gains.mean()), 4),
                    "p": sign_flip(gains),
                }
            )
    tests.sort(key=lambda t: t["p"])
    running = 0.0
    for place, test in enumerate(tests):
        running = max(running, min(1.0, test["p"] * (len(tests) - place)))
        test["p_holm"] = round(running, 4)
        test["is_ahead"] = running < ALPHA
    return tests


def sign_flip(gains: np.ndarray) -> float:
    """Chance of a mean gain at least so large if every sign were a coin's."""
    rng = np.random.default_rng(0)
    signs = rng.choice((-1.0, 1.0), size=(FLIPS, len(gains)))
    beyond = int(((signs * gains).mean(axis=1) >= gains.mean() - 1e-12).sum())
    return (beyond + 1) / (FLIPS + 1)


def table(surface: str, summary: dict[str, Any]) -> str:
    """One surface as a Markdown table."""
    heads = [f"after {budget} epochs" for budget in summary["budgets"]]
    lines = [
        f"\n### {surface}: best known {summary['best_known']:.4f}\n",
        f"| policy | seeds | {' | '.join(heads)} | epochs to 95 % | to 99 % | trials | slots busy |",
        "|---" * (len(heads) + 6) + "|",
    ]
    for name, row in summary["policies"].items():
        cells = [f"{mid:.3f} ({low:.3f} to {high:.3f})" for low, mid, high in row["quartiles"]]
        reach = " | ".join("-" if n is None else f"{n:.0f}" for n in row["epochs_to"].values())
        lines.append(
            f"| {name} | {row['seeds']} | {' | '.join(cells)} | {reach} | {row['trials']:.0f} "
            f"| {row['busy']:.0%} |"
        )
    ahead = [t for t in summary["ahead"] if t["is_ahead"]]
    words = "; ".join(
        f"{t['policy']} after {t['epochs']} (+{t['gain']:.4f}, p {t['p_holm']:.3f})" for t in ahead
    )
    lines.append(f"\nAhead of {OURS} (Holm, {ALPHA:.0%}): {words or 'none'}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
