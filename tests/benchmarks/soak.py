"""One long search: does memory grow, and do later trials cost more than early ones?

    python tests/benchmarks/soak.py --trials 500 --json soak.json --plot soak.png

The search is the ordinary one (Ray, ledger on disk, MLflow mirror into SQLite) over a trainer whose
epochs only sleep, so that the processor time is the harness's own. They sleep so long that a trial
outlasts the start of a worker: Tune hands a shorter one the worker of the trial that has just ended,
and throws the new one away. Memory is what the kernel says of the driver and of the workers that hold
trials (resident set) a few times a second; spare workers, which Ray starts ahead and ends, and its
agents are told apart from them. The cost of a trial is the driver's processor time, all its threads
together, over what a fixed piece of work costs at that time: machines that others use too change
their speed by half within minutes.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

SETTLED = 50
"""Trials after which nothing new should be needed: modules are loaded, pools are filled."""
MOST_GROWTH_MIB = 100.0
MOST_SLOWDOWN = 1.5
INTERVAL_S = 0.25
WORKER, TRIAL_WORKER = b"ray::", b"ray::ImplicitFunc"
"""Ray's processes by their titles: any worker of it, and one that holds trials."""
PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_mib(pid):
    """Memory of one process; 0 when it has just ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 2**20
    except (OSError, IndexError):
        return 0.0


def workers_of(driver):
    """Process ids and titles of the driver's Ray workers, at whatever depth."""
    parents, names = {}, {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            stat = (folder / "stat").read_text()
            names[int(folder.name)] = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])

    def is_ours(pid):
        while pid and pid != driver:
            pid = parents.get(pid, 0)
        return pid == driver

    return {pid: name for pid, name in names.items() if name.startswith(WORKER) and is_ours(pid)}


def yardstick_ms():
    """Processor milliseconds of a fixed piece of work: how slow the machine is now."""
    began = time.thread_time()
    json.loads(json.dumps([{"a": i, "b": str(i)} for i in range(300)]))
    return 1000 * (time.thread_time() - began)


class Sampler(threading.Thread):
    """Notes memory over time until it is told to end."""

    def __init__(self):
        super().__init__(daemon=True)
        self.rows, self.ended, self.trials = [], threading.Event(), 0
        self.began = time.monotonic()

    def run(self):
        driver = os.getpid()
        while not self.ended.wait(INTERVAL_S):
            found = {pid: (resident_mib(pid), name) for pid, name in workers_of(driver).items()}
            workers = [mib for mib, name in found.values() if name.startswith(TRIAL_WORKER)]
            self.rows.append(
                {
                    "seconds": round(time.monotonic() - self.began, 2),
                    "trials": self.trials,
                    "driver_mib": round(resident_mib(driver), 1),
                    "workers_mib": round(sum(workers), 1),
                    "workers": len(workers),
                    "yardstick_ms": round(yardstick_ms(), 4),
                    "spare_mib": round(sum(mib for mib, _ in found.values()) - sum(workers), 1),
                }
            )


class Ends:
    """Notes when trials end, for the sampler and for the figures."""

    def __init__(self, sampler):
        self.sampler, self.wall, self.processor = sampler, [], []

    def handle(self, event):
        if event.name == "trial_finished":
            self.wall.append(time.monotonic())
            self.processor.append(time.process_time())
            self.sampler.trials += 1

    def close(self):
        pass


def search(args, out, sampler, ends):
    """Run the search, as `hpo search` would."""
    from hpo.core.budget import Budget
    from hpo.searching.session import start_search
    from hpo.searching.settings import SearchSettings
    from hpo.study.sections import SearchOptions
    from hpo.study.spec import StudySpec
    from hpo.tracking.listener import mlflow_listener

    os.environ.setdefault("HPO_TRAINER_MODULES", "tests.quick_trainer")
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{out / 'mlflow.db'}"
    listeners = [lambda *_: ends]
    if not args.no_mlflow:
        listeners.append(mlflow_listener)
    study = StudySpec(
        name="soak",
        trainer="tests.quick_trainer:TRAINER",
        budget=Budget(trials=args.trials),
        concurrent=args.concurrent,
        spec={"fault.sleep": args.epoch_seconds},
        search=SearchOptions(algorithm=args.algorithm, pruner=args.pruner),
    )
    sampler.start()
    result = start_search(study, out, SearchSettings(listeners=tuple(listeners), probe=False))
    assert result.finished.trials["complete"] + result.finished.trials["pruned"] == args.trials


def at_trials(rows, first, last, name):
    """The median of a column while so many trials had ended and every worker was there."""
    rows = [r for r in rows if first <= r["trials"] < last]
    usual = statistics.mode(r["workers"] for r in rows)
    return statistics.median(r[name] for r in rows if r["workers"] == usual)


def machine_speed(rows, first, last):
    """The median of the yardstick while so many trials had ended."""
    return statistics.median(r["yardstick_ms"] for r in rows if first <= r["trials"] < last)


def gaps_ms(times):
    """Milliseconds from the end of each trial to that of the next."""
    return [1000 * (b - a) for a, b in itertools.pairwise(times)]


def figures(rows, ends, trials):
    """Growth of memory after the first trials, and cost of the last trials against the first."""
    window = min(SETTLED, trials // 4)
    last = trials - window
    facts = {}
    for name, times in (("driver", ends.processor), ("wall", ends.wall)):
        ms = gaps_ms(times)
        early, late = statistics.fmean(ms[window : 2 * window]), statistics.fmean(ms[-window:])
        facts |= {f"{name}_early_ms": round(early, 1), f"{name}_late_ms": round(late, 1)}
        facts[f"{name}_slowdown"] = round(late / early, 3)
    slower = machine_speed(rows, last, trials) / machine_speed(rows, window, 2 * window)
    facts["machine_slowdown"] = round(slower, 3)
    facts["slowdown"] = round(facts["driver_slowdown"] / slower, 3)
    for name in ("driver_mib", "workers_mib"):
        before = at_trials(rows, window, window + 15, name)
        after = at_trials(rows, last, trials, name)  # what comes then is the hand-off
        facts |= {f"{name}_at_{window}": before, f"{name}_at_end": after}
        facts[name.replace("_mib", "_growth_mib")] = round(after - before, 1)
    facts["growth_mib"] = round(facts["driver_growth_mib"] + facts["workers_growth_mib"], 1)
    return facts


def plot(rows, ends, facts, path):
    """Memory over trials above, the driver's milliseconds a trial below."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (memory, cost) = plt.subplots(2, 1, figsize=(8, 6), sharex=True)
    rows = [r for r in rows if 0 < r["trials"] < len(ends.wall)]
    trials = [r["trials"] for r in rows]
    shown = {"driver_mib": "driver", "workers_mib": "workers with trials", "spare_mib": "spare"}
    for name, label in shown.items():
        memory.plot(trials, [r[name] for r in rows], label=label, lw=1.2)
    memory.axvline(SETTLED, color="0.7", lw=0.8, ls="--")
    memory.set(ylabel="resident memory, MiB", ylim=(0, None))
    memory.legend(frameon=False, loc="lower right")
    memory.set_title(
        f"{len(ends.wall)} trials in one search: {facts['growth_mib']:+.0f} MiB after the first "
        f"{SETTLED}; cost of a trial x {facts['slowdown']:.2f} from the first to the last",
        fontsize=10,
    )
    width = 20
    ms = gaps_ms(ends.processor)
    places = range(width, len(ms))
    cost.plot(places, [statistics.fmean(ms[i - width : i]) for i in places], color="C2", lw=1.2)
    speeds = [machine_speed(rows, i - width, i) for i in places]
    usual = statistics.median(speeds)
    cost.plot(
        places, [statistics.fmean(ms[i - width : i]) * usual / speed for i, speed in zip(places, speeds, strict=True)],
        color="C3", lw=1.2, label="less the machine's own changes of speed",
    )  # fmt: skip
    cost.legend(frameon=False, loc="lower right")
    cost.set(
        xlabel="ended trials",
        ylabel=f"driver, processor ms a trial\n(mean of {width})",
        ylim=(0, None),
    )
    for axes in (memory, cost):
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--concurrent", type=int, default=2)
    parser.add_argument("--epoch-seconds", type=float, default=0.25)
    parser.add_argument("--algorithm", default="tpe")
    parser.add_argument("--pruner", default="none")
    parser.add_argument("--no-mlflow", action="store_true")
    parser.add_argument("--json", metavar="PATH", type=Path)
    parser.add_argument("--plot", metavar="PATH", type=Path)
    args = parser.parse_args()
    sampler = Sampler()
    ends = Ends(sampler)
    with tempfile.TemporaryDirectory() as out:
        search(args, Path(out), sampler, ends)
    sampler.ended.set()
    gc.collect()
    facts = figures(sampler.rows, ends, args.trials)
    is_good = facts["growth_mib"] < MOST_GROWTH_MIB and facts["slowdown"] <= MOST_SLOWDOWN
    result = {
        "trials": args.trials,
        "concurrent": args.concurrent,
        "epoch_seconds": args.epoch_seconds,
        "algorithm": args.algorithm,
        "pruner": args.pruner,
        "mlflow": not args.no_mlflow,
        **facts,
        "passed": is_good,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "versions": {name: version(name) for name in ("ray", "optuna", "mlflow")},
    }
    for name, value in result.items():
        print(f"{name:<24} {value}")
    if args.json:
        args.json.write_text(json.dumps(result | {"samples": sampler.rows}) + "\n")
    if args.plot:
        plot(sampler.rows, ends, facts, args.plot)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
