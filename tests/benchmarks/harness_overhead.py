"""What a trial costs beside its training: no-op trials through the harness and through Ray Tune as it comes.

    python tests/benchmarks/harness_overhead.py --json overhead.json

Runs, one after the other in one process: the harness with the study in memory, the harness with
the ledger on disk, and Ray's default function trainable, each with the same number of trials of
nine reports. The figure is the mean time from the end of the first trial to the end of the last,
per trial after the first.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

TRAINER = "tests.benchmarks.noop_trainer:TRAINER"
os.environ.setdefault("HPO_TRAINER_MODULES", "tests")
REPORTS = 9


class Ends:
    """An emit function that notes when trials end."""

    def __init__(self):
        self.times = []

    def __call__(self, event):
        if event.name == "trial_finished":
            self.times.append(time.perf_counter())


def ms_per_trial(times):
    """Mean distance between the ends of trials, the first aside, in milliseconds."""
    times = sorted(times)
    return 1000 * (times[-1] - times[0]) / (len(times) - 1)


def run_harness(executor, trials, ledger, folder):
    """Run no-op trials through engine and executor; the pruner is off, so every trial reports nine times."""
    from hpo.algorithms import create_algorithm
    from hpo.core.budget import Budget
    from hpo.run.run_dir import RunDir
    from hpo.run.trial_specs import TrialSpecs
    from hpo.searching.engine import Engine
    from hpo.searching.engine_parts import Plan
    from hpo.study.plan import build_space
    from hpo.study.spec import StudySpec
    from hpo.study.trainers import find_trainer

    trainer = find_trainer(TRAINER)
    study = StudySpec(name="noop", trainer=TRAINER, budget=Budget(trials=trials))
    base = trainer.validate({})
    space = build_space(study, trainer, base, num_trials=trials)
    ends = Ends()
    engine = Engine(
        ledger=ledger,
        algorithm=create_algorithm(
            "tpe", space, pruner="none", direction="maximize", num_epochs=REPORTS, seed=0
        ),
        plan=Plan(
            specs=TrialSpecs(base_spec=base, seed_key="train.seed", run=RunDir(folder)),
            budget=study.budget,
        ),
        emit=ends,
    )
    executor.run(engine)
    assert len(ends.times) == trials
    assert all(t.epochs == REPORTS for t in ledger.trials())
    return ms_per_trial(ends.times)


def default_trainable(config):
    from ray import tune

    for epoch in range(1, REPORTS + 1):
        tune.report({"value": config["lr"] + epoch / 100})


def run_ray_default(trials, folder):
    """The same no-op as a function trainable with Ray's defaults, loggers and all."""
    import contextlib

    from ray import tune

    ends = []

    class Note(tune.Callback):
        def on_trial_complete(self, iteration, trials, trial, **info):
            ends.append(time.perf_counter())

    os.environ.pop("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", None)
    os.environ.pop("TUNE_GLOBAL_CHECKPOINT_S", None)
    tuner = tune.Tuner(
        default_trainable,
        param_space={"lr": tune.uniform(0.0, 1.0)},
        tune_config=tune.TuneConfig(num_samples=trials),
        run_config=tune.RunConfig(storage_path=str(folder), verbose=0, callbacks=[Note()]),
    )
    with Path(os.devnull).open("w") as sink, contextlib.redirect_stdout(sink):
        tuner.fit()
    return ms_per_trial(ends)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", metavar="PATH", type=Path)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--slots", type=int, default=1)
    args = parser.parse_args()

    from hpo.core.machine import count_cpus
    from hpo.executors.division import divide_machine
    from hpo.executors.ray import RayExecutor
    from hpo.run.ledger import Ledger

    executor = RayExecutor(TRAINER, divide_machine(args.slots, cpus=count_cpus(), gpus=0))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "memory").mkdir()
        (folder / "disk").mkdir()
        memory = run_harness(
            executor, args.trials, Ledger.create(None, "maximize"), folder / "memory"
        )
        disk = run_harness(
            executor,
            args.trials,
            Ledger.create(folder / "disk" / "ledger.db", "maximize"),
            folder / "disk",
        )
        default = run_ray_default(args.trials, folder)
        executor.close()
    result = {
        "trials": args.trials,
        "reports": REPORTS,
        "slots": args.slots,
        "memory_ms": round(memory, 1),
        "ledger_ms": round(disk, 1),
        "ray_default_ms": round(default, 1),
        "ray_default_over_ledger": round(default / disk, 1),
        "machine": f"{platform.machine()}, {count_cpus()} cores, load {os.getloadavg()[0]:.1f}",
        "versions": {name: version(name) for name in ("ray", "optuna")},
    }
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")
    for name, value in result.items():
        print(f"{name:<24} {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
