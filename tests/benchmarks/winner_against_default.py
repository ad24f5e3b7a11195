"""Whether a search's winner is better than the default configuration where nothing was chosen.

    python tests/benchmarks/winner_against_default.py RUN --seeds 101 102 103 --concurrent 2 --json out.json

Trains the winner and the default of a finished run anew, equally long, once per seed; the best
checkpoint of each by validation is evaluated on the run's held-out queries. Printed are the metric
of every run and the means with 95 % intervals of a paired bootstrap over queries (within their
class) and seeds. A training that is done is not done again.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from hpo.core.selection import best_trial
from hpo.core.spec_dicts import merged, nest
from hpo.core.yaml_io import read_yaml
from hpo.results.compare import Finalist, Standing, compare
from hpo.run.ledger import Ledger
from hpo.run.run_dir import RunDir, find_run
from hpo.study.plan import held_out_sources, read_plan
from hpo.study.skill import load_skill
from hpo.study.spec import load_study
from hpo.study.trainers import find_trainer


def main() -> None:
    """Train, evaluate, compare, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[101, 102, 103])
    parser.add_argument("--concurrent", type=int, default=1, help="trainings at a time")
    parser.add_argument("--work", type=Path, required=True, help="folder of the trainings")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    run = find_run(args.run, Path("runs"))
    numbers = {"default": 0, "winner": winner_of(run)}
    tasks = [
        (str(run), number, seed, str(args.work / f"{name}-{seed}"), args.concurrent)
        for seed in args.seeds
        for name, number in numbers.items()
    ]
    with ProcessPoolExecutor(args.concurrent, mp_context=get_context("spawn")) as pool:
        done = list(pool.map(train_and_evaluate, tasks))
    standings = compare_on(done, numbers.values())
    metric = find_trainer(load_study(run.study_file).trainer).monitoring_metric
    show(done, standings, metric)
    if args.json:
        machine = {"cores": os.cpu_count(), "python": platform.python_version()}
        found = {"runs": done, "standings": [asdict(s) for s in standings], "machine": machine}
        args.json.write_text(json.dumps(found, indent=1))


def winner_of(run: RunDir) -> int:
    """Number of the best trial."""
    ledger = Ledger.open(run.ledger_file)
    best = best_trial(ledger.trials(), ledger.direction)
    ledger.close()
    if best is None or best.number == 0:
        raise SystemExit(f"{run}: the default configuration is the winner; nothing to compare")
    return best.number


def train_and_evaluate(task: tuple[str, int, int, str, int]) -> dict[str, Any]:
    """One training of a trial's spec with a seed of its own, and its held-out evaluation."""
    run_dir, number, seed, folder, concurrent = task
    kept = Path(folder) / "held_out.json"
    if kept.is_file():
        result: dict[str, Any] = json.loads(kept.read_text())
        return result
    import torch

    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // concurrent))
    run = RunDir(Path(run_dir))
    trainer = find_trainer(load_study(run.study_file).trainer)
    skill = load_skill(trainer.skill_dir)
    spec = merged(
        read_yaml(run.trial_dir(number) / "spec.yaml"),
        {"results_dir": folder},
        nest({trainer.seed_key: seed}),
    )
    Path(folder).mkdir(parents=True, exist_ok=True)
    values: list[float] = []
    began = time.monotonic()
    trainer.fit(spec, lambda epoch: bool(values.append(float(epoch["value"]))) or True)
    seconds = time.monotonic() - began
    sources = held_out_sources(read_plan(run.path).sources)
    if sources is None:
        raise SystemExit(f"{run}: was searched without --test-query")
    told = trainer.evaluate(
        merged(
            spec,
            nest(trainer.data_overrides(sources)),
            nest(skill.fill("evaluate", "parent_model", Path(folder) / "ckpt" / "best.ckpt")),
            nest(skill.fill("evaluate", "output_dir", Path(folder) / "held_out")),
        )
    )
    result = {
        "trial": number,
        "seed": seed,
        "validation": values,
        "held_out": told["metrics"][trainer.monitoring_metric],
        "hits": [bool(hit) for hit in told["hits"]],
        "query_classes": list(told["query_classes"]),
        "seconds": seconds,
    }
    kept.write_text(json.dumps(result))
    return result


def compare_on(done: list[dict[str, Any]], numbers: Iterable[int]) -> list[Standing]:
    """The paired bootstrap over held-out queries and seeds."""
    names = done[0]["query_classes"]
    labels = {name: i for i, name in enumerate(sorted(set(names)))}
    finalists = []
    for number in numbers:
        runs = sorted((d for d in done if d["trial"] == number), key=lambda d: int(d["seed"]))
        finalist = Finalist(
            number=number,
            values=tuple(d["held_out"] for d in runs),
            cost=statistics.median(d["seconds"] for d in runs),
            hits=tuple(tuple(d["hits"]) for d in runs),
        )
        finalists.append(finalist)
    return compare(finalists, [labels[name] for name in names])


def show(done: list[dict[str, Any]], standings: list[Standing], metric: str) -> None:
    """Print a table of the runs, and the comparison."""
    print(f"{metric}\n{'trial':>6} {'seed':>6} {'best val':>9} {'held out':>9} {'seconds':>8}")
    for d in done:
        best = max(d["validation"])
        print(
            f"{d['trial']:>6} {d['seed']:>6} {best:>9.4f} {d['held_out']:>9.4f} {d['seconds']:>8.0f}"
        )
    for s in standings:
        low, high = s.interval or (float("nan"), float("nan"))
        print(f"trial {s.number}: {s.value:.4f} ({low:.4f} to {high:.4f}) held out", end="")
        if s.behind_interval and s.behind:
            print(f"; behind by {s.behind:.4f} ({s.behind_interval[0]:.4f} to "
                  f"{s.behind_interval[1]:.4f})", end="")  # fmt: skip
        print()


if __name__ == "__main__":
    main()
