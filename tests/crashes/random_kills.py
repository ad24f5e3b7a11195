"""kill -9 at random moments, again and again; the ledger must end as that of an undisturbed search.

    python -m tests.crashes.random_kills --kills 180
    python -m tests.crashes.random_kills --real --kills 20

Without `--real` the trainer needs no torch. Most kills hit a driver with the trainer in it, which
costs a second; the others hit workers of one living Ray driver, and Ray drivers. A worker is not
killed a third time in the same epoch: its trial would have failed, by rule.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.crashes.checks import differences, faults_of, finished_event, read_story
from tests.crashes.driver import FLAGS, run_hpo, warm_up, write_study
from tests.crashes.hosts import in_child
from tests.crashes.real_trainer import SMALL, few_pictures, import_torch
from tests.crashes.trap import newest_worker

WITH_RAY = tuple(flag for flag in FLAGS if flag != "--in-process")
RAY_SHARE, RAY_DRIVER_SHARE = 4 / 15, 1 / 15
LIMIT_S = 1200.0
IN_TRAINING = 0.7
"""Share of the kills whose delay begins with the first sign of training after a start."""
SIGNS = ('"event": "trial_started"', '"event": "epoch"')


@dataclass
class Round:
    """One search that was killed until it was over."""

    who: str
    kills: int = 0
    starts: int = 0
    trials: int = 0
    epochs: int = 0
    epochs_undisturbed: int = 0
    repeated: int = 0
    seconds: float = 0.0
    wrong: str = ""


class Killer:
    """Kills a driver, or its newest worker, after random delays.

    Args:
        out: folder of the runs.
        rng: draws the delays.
        kills: how often.
        within: bounds of the delays in seconds.
        worker: whether it is the worker that is hit.
    """

    def __init__(self, out, rng, kills, within, *, worker=False):
        self.out, self.rng, self.left, self.within = out, rng, kills, within
        self.worker, self.done, self.begun = worker, 0, 0
        self.victims, self.idle = {}, 0
        self.plan()

    def plan(self):
        self.begun = time.monotonic()
        self.delay = self.rng.uniform(*self.within)
        self.waits = not self.worker and self.rng.random() < IN_TRAINING
        self.told = sum(path.stat().st_size for path in self.events())

    def events(self):
        return list(self.out.glob("*/*/events.ndjson"))

    def trains(self):
        """Whether training has begun since the plan, from when on the delay then counts."""
        new = [path.read_bytes()[self.told :].decode(errors="replace") for path in self.events()]
        if any(sign in text for text in new for sign in SIGNS):
            self.begun, self.waits = time.monotonic(), False
        return not self.waits

    def __call__(self, driver):
        if self.left == 0 or (self.waits and not self.trains()):
            return
        if time.monotonic() - self.begun < self.delay:
            return
        if self.worker:
            self.hit_worker()
            return
        self.strike(driver)

    def hit_worker(self):
        """Kill the worker of the trial that runs, unless it is the third time in its epoch."""
        try:
            pid = newest_worker(self.out)
        except (IndexError, ValueError):
            return
        epochs = sum(path.read_text().count(SIGNS[1]) for path in self.events())
        if pid in self.victims or list(self.victims.values())[-2:] == [epochs] * 2:
            return
        self.victims[pid] = epochs
        self.strike(pid)

    def strike(self, pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.left, self.done = self.left - 1, self.done + 1
        self.plan()


def unbroken(folder, **study):
    start = run_hpo(folder, "search", write_study(folder, **study), *FLAGS, limit_s=LIMIT_S)
    assert start.code == 0, start.err
    return read_story(folder), finished_event(folder)["best"]["trial"]


def run_round(
    folder, who, rng, kills, *, flags=FLAGS, within, worker=False, reference=None, **study
):
    """Search and kill until the kills are used up or the search is over; then go on to its end."""
    began = time.monotonic()
    whole, winner = reference or unbroken(folder / "whole", **study)
    out = folder / "cut"
    path = write_study(out, **study)
    killer = Killer(out, rng, kills, within, worker=worker)
    words, starts, problems = ("search", path), 0, []
    while True:
        killer.plan()
        start = run_hpo(out, *words, *flags, while_running=killer, limit_s=LIMIT_S)
        starts += 1
        if start.code == 0:
            break
        if start.code != -signal.SIGKILL or starts > kills + 20:
            problems.append(f"exit code {start.code}: {start.err[-300:]}")
            break
        if read_story(out) is not None:
            words = ("resume",)
    after, finished = read_story(out), finished_event(out)
    problems += faults_of(None, after, finished, kills=killer.done)
    problems += epochs_trained_again(out)
    problems += differences(whole, winner, after, finished)
    return Round(
        who, killer.done, starts, len(after.trials), after.epochs, whole.epochs, after.repeated,
        round(time.monotonic() - began, 1), "; ".join(problems),
    )  # fmt: skip


def rounds_without_torch(folder, kills, seed, tell):
    """Driver kills in-process, worker kills under one Ray, driver kills under Ray."""
    ray_drivers = round(kills * RAY_DRIVER_SHARE)
    workers = round(kills * RAY_SHARE)
    left, number = kills - ray_drivers - workers, 0

    def in_process(say):
        nonlocal left, number
        warm_up(folder / "warm")
        while left > 0:
            rng = random.Random(f"{seed}-{number}")
            shape = {"trials": 12, "epochs": 6, "confirm": 1, "seed": number, "sleep": 0.04}
            done = run_round(
                folder / f"p{number}", "driver", rng, min(left, 40), within=(0.02, 1.2), **shape
            )
            left, number = left - done.kills, number + 1
            say(asdict(done))
            if done.wrong:
                return

    def with_ray(say):
        warm_up(folder / "ray-warm")
        rng = random.Random(f"{seed}-ray")
        shape = {"trials": max(4, workers // 3), "epochs": 6, "confirm": 0, "sleep": 0.15}
        if workers:
            more = {"flags": WITH_RAY, "within": (0.1, 1.2), "worker": True}
            say(asdict(run_round(folder / "r0", "worker (Ray)", rng, workers, **more, **shape)))
        left, number = ray_drivers, 0
        while left > 0:
            rng = random.Random(f"{seed}-ray-driver-{number}")
            shape = {"trials": max(4, left), "epochs": 6, "confirm": 0, "sleep": 0.3}
            more = {"flags": WITH_RAY, "within": (1.0, 12.0)}
            done = run_round(folder / f"r1-{number}", "driver (Ray)", rng, left, **more, **shape)
            left, number = left - done.kills, number + 1
            say(asdict(done))
            if done.wrong:
                return

    for work in (in_process, with_ray):
        for told in in_child(work):
            tell(Round(**told))


def epochs_trained_again(out):
    """Sentences on trials that went on before the last epoch they had told; whatever the trainer."""
    wrong, last = [], {}
    (events,) = out.glob("*/*/events.ndjson")
    for line in events.read_text().splitlines():
        try:
            event = json.loads(line)
        except json.JSONDecodeError:  # cut off by a kill
            continue
        if event["event"] == "epoch":
            last[event["trial"]] = event["epoch"]
        elif event["event"] == "trial_started":
            known, start = last.get(event["trial"], 0), event["resumed_from_epoch"] or 0
            if start < known:
                wrong.append(f"trial {event['trial']} went on from {start} and had told {known}")
    return wrong


def rounds_with_torch(folder, kills, seed, tell):
    """Driver kills with the real trainer on the embedded pictures."""

    def work(say):
        import_torch()
        data = few_pictures(folder / "pictures")
        left, number = kills, 0
        while left > 0:
            shape = {
                "trainer": "ml_recog", "trials": 3, "epochs": 4, "confirm": 0, "seed": number, "data": data,
                "spec": SMALL, "algorithm": "random", "pruner": "none",
            }  # fmt: skip
            rng = random.Random(f"{seed}-real-{number}")
            done = run_round(folder / f"t{number}", "driver", rng, left, within=(0.5, 8.0), **shape)
            left, number = left - done.kills, number + 1
            say(asdict(done))
            if done.wrong:
                return

    for told in in_child(work):
        tell(Round(**told))


def main(argv=None):
    parser = argparse.ArgumentParser(
        prog="python -m tests.crashes.random_kills", description=__doc__
    )
    parser.add_argument("--kills", type=int, default=180)
    parser.add_argument(
        "--real", action="store_true", help="the real trainer, on embedded pictures"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write the rounds to this file")
    parser.add_argument("--keep", type=Path, help="leave the runs in this folder")
    args = parser.parse_args(argv)
    rounds = []

    def tell(done):
        rounds.append(done)
        print(
            f"{done.kills:4} kills of the {done.who}: {done.trials} trials, {done.epochs} epochs "
            f"(undisturbed {done.epochs_undisturbed}), {done.repeated} repeated, "
            f"{done.seconds:.0f} s  {done.wrong or 'equal'}",
            flush=True,
        )

    with tempfile.TemporaryDirectory(
        prefix="kills-", dir=os.environ.get("PYTEST_DEBUG_TEMPROOT")
    ) as scratch:
        run = rounds_with_torch if args.real else rounds_without_torch
        run(args.keep or Path(scratch), args.kills, args.seed, tell)
    total, repeated = sum(r.kills for r in rounds), sum(r.repeated for r in rounds)
    unequal = [r for r in rounds if r.wrong]
    print(
        f"{total} kills, {repeated} epochs repeated, {len(unequal)} of {len(rounds)} searches differ"
    )
    if args.json:
        args.json.write_text(json.dumps([asdict(r) for r in rounds], indent=1) + "\n")
    return 1 if unequal or total < args.kills else 0


if __name__ == "__main__":
    sys.exit(main())
