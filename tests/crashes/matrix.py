"""The crash matrix: every transition of a search x every fault, as one command.

    python -m tests.crashes.matrix --long --json matrix.json
    python -m tests.crashes.matrix --real

A cell searches with the trainer without torch (`--real`: with the real one) in a child process,
lets one fault happen at one moment, resumes until the search is over, and compares with an unbroken
search of the same seed. Exit code 1 when a cell is red.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tests.crashes import trap
from tests.crashes.cells import (
    IN_PROCESS,
    MOMENTS,
    REAL,
    SHORT,
    SHORT_STAGED,
    STAGED,
    STAGED_MOMENTS,
    WITH_MLFLOW,
    WITH_RAY,
    no_sense,
)
from tests.crashes.checks import differences, faults_of, finished_event, read_story, untidy
from tests.crashes.driver import FLAGS, on_small_disk, run_hpo, warm_up, write_study
from tests.crashes.hooks import Hooks
from tests.crashes.hosts import Forwarder, KeptRay, free_port, in_child, wrong_in_mlflow
from tests.crashes.real_trainer import NAME, SMALL, few_pictures, import_torch
from tests.crashes.staged_trainer import STUDY

MAX_STARTS = 6
WAITS = ("disk full", "ledger full")
"""Faults that the search waits out: its first start goes on to the end once there is room."""
CHANGES_TRIALS = ("out of memory",)
"""Faults after which the sampler knows something else, so that later trials may differ."""
DISK_MIB, REAL_DISK_MIB = 3, 60


@dataclass(frozen=True)
class Cell:
    """What came of one cell."""

    moment: str
    fault: str
    state: str
    """`passed`, `failed`, or `none` where the two make no sense together."""
    starts: int = 0
    repeated: int = 0
    words: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Reference:
    """The unbroken search."""

    story: object
    winner: int


def search_unbroken(folder, **study):
    study = write_study(folder, **study)
    start = run_hpo(folder, "search", study, *FLAGS)
    assert start.code == 0, start.err
    return Reference(read_story(folder), finished_event(folder)["best"]["trial"])


def run_cell(folder, moment, fault, reference, *, flags=FLAGS, fork=True, **study):
    """Search, be hit, go on to the end; returns the cell."""
    began = time.monotonic()
    study = write_study(folder, **study)
    trap.arm(folder, moment.hook, moment.when, fault, **moment.facts)
    start = run_hpo(folder, "search", study, *flags, fork=fork)
    wrong, starts = untidy(start, fault), 1
    if trap.sprung(folder) is None:
        wrong.append(f"the fault did not happen; {start.err[-300:]}")
    before = read_story(folder)
    while start.code != 0 and starts < MAX_STARTS:
        trap.mend(folder)
        start = run_hpo(folder, "resume", *flags, fork=fork)
        starts += 1
        wrong += untidy(start, fault)
    if fault in WAITS and starts > 1:
        wrong.append("it has ended and not waited for room")
    after, finished = read_story(folder), finished_event(folder)
    elapsed = time.monotonic() - began
    wrong += faults_of(before, after, finished, kills=1, elapsed_s=elapsed)
    if fault not in CHANGES_TRIALS:
        wrong += differences(reference.story, reference.winner, after, finished)
    else:
        wrong += wrong_after_oom(moment, reference.story, after)
    return Cell(
        moment.name, fault, "failed" if wrong else "passed", starts, after.repeated,
        "; ".join(wrong), round(elapsed, 2),
    )  # fmt: skip


def wrong_after_oom(moment, reference, after):
    """The trial that ran out of memory has failed without a value; there is no trial less."""
    if moment.transition == "export":
        return [] if after.trials == reference.trials else ["trials have changed"]
    number = moment.facts["number"]
    state, value = after.trials[number][1], after.trials[number][5]
    wrong = [] if (state, value) == ("failed", None) else [f"trial {number} is {state}, {value}"]
    counts = [sum(row[2] == "search" for row in s.trials) for s in (reference, after)]
    return wrong + ([] if counts[0] == counts[1] else [f"{counts[1]} trials"])


def run_on_small_disk(folder, moment, fault, reference, *, size_mib=DISK_MIB, **study):
    def work():
        return json.dumps(asdict(run_cell(folder, moment, fault, reference, **study)))

    text = on_small_disk(folder, size_mib, work)
    if text is None:
        return Cell(moment.name, fault, "none", words="no disk can be mounted here")
    return Cell(**json.loads(text))


def run_in_process(folder, wanted, tell):
    """Cells whose driver is a forked child, with the trainer in it."""
    warm_up(folder / "warm")
    reference = search_unbroken(folder / "whole")
    for number, (moment, fault) in enumerate(wanted):
        run = run_on_small_disk if fault == "disk full" else run_cell
        tell(run(folder / f"cell-{number:03d}", moment, fault, reference))


def run_in_stages(folder, wanted, tell):
    """Cells of a search in stages, whose driver is a forked child with the trainer in it."""
    warm_up(folder / "warm")
    reference = search_unbroken(folder / "whole", **STUDY)
    for number, (moment, fault) in enumerate(wanted):
        tell(run_cell(folder / f"cell-{number:03d}", moment, fault, reference, **STUDY))


def run_with_torch(folder, wanted, tell):
    """Cells whose driver is a forked child, with the real trainer in it."""
    warm_up(folder / "warm")
    import_torch()
    (folder / "pictures").mkdir()
    study = {"trainer": NAME, "spec": SMALL, "data": few_pictures(folder / "pictures")}
    reference = search_unbroken(folder / "whole", **study)
    for number, (moment, fault) in enumerate(wanted):
        place = folder / f"cell-{number:03d}"
        if fault == "disk full":
            more = {"size_mib": REAL_DISK_MIB, **study}
            tell(run_on_small_disk(place, moment, fault, reference, **more))
        else:
            tell(run_cell(place, moment, fault, reference, **study))


def run_with_mlflow(folder, wanted, tell):
    """Cells in which the way to MLflow's server is cut; it is back for `hpo resume`."""
    from hpo.tracking.server import running_server

    warm_up(folder / "warm", with_mlflow=True)
    reference = search_unbroken(folder / "whole")
    port, uri = free_port(), f"sqlite:///{folder}/mlflow.db"
    with running_server(uri, "127.0.0.1", port):
        way = Forwarder(port)
        os.environ["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{way.port}"
        os.environ.pop("HPO_MLFLOW", None)  # which the tests have switched off
        for number, (moment, fault) in enumerate(wanted):
            place = folder / f"cell-{number:03d}"
            place.mkdir()
            way.start(place)
            name = f"study{number}"
            cell = run_cell(place, moment, fault, reference, name=name)
            way.start(place)
            again = run_hpo(place, "resume", *FLAGS)
            wrong = untidy(again) + wrong_in_mlflow(uri, name, read_story(place).trials)
            tell(replace(cell, words="; ".join(filter(None, [cell.words, *wrong])),
                         state="failed" if wrong else cell.state))  # fmt: skip
        way.stop()


def run_with_ray(folder, wanted, tell):
    """Cells with the trainer in a worker of one Ray, whose driver lives on."""
    warm_up(folder / "warm")
    reference = search_unbroken(folder / "whole")
    ray, hooks = KeptRay(), Hooks(folder)
    ray.install()
    hooks.install()
    flags = tuple(flag for flag in FLAGS if flag != "--in-process")
    try:
        for number, (moment, fault) in enumerate(wanted):
            hooks.out = folder / f"cell-{number:03d}"
            hooks.out.mkdir()
            (hooks.out / trap.DRIVER).write_text(str(os.getpid()))
            tell(run_cell(hooks.out, moment, fault, reference, flags=flags, fork=False))
    finally:
        ray.close()


GROUPS = {
    "in-process": run_in_process,
    "mlflow": run_with_mlflow,
    "ray": run_with_ray,
    "real": run_with_torch,
    "stages": run_in_stages,
}


def run_group(name, folder, wanted, tell):
    """Run the cells of one group in a child process of their own; returns them."""
    cells = []

    def keep(cell):
        cells.append(cell)
        tell(cell)

    able = []
    for moment, fault in wanted:
        if why := no_sense(moment, fault):
            keep(Cell(moment.name, fault, "none", words=why))
        else:
            able.append((moment, fault))
    folder.mkdir(parents=True)
    if able:
        work = GROUPS[name]
        for told in in_child(lambda say: work(folder, able, lambda cell: say(asdict(cell)))):
            keep(Cell(**told))
    return cells


# Output ------------------------------------------------------------------------------------------


def table(cells):
    """Transition x fault: `ok`, with the repeated epochs where there were any; `-` no sense."""
    faults = list(dict.fromkeys(c.fault for c in cells))
    marks = {(c.moment, c.fault): mark(c) for c in cells}
    lines = [f"| moment | {' | '.join(faults)} |", f"|---|{'---|' * len(faults)}"]
    for moment in dict.fromkeys(c.moment for c in cells):
        row = [marks.get((moment, fault), "") for fault in faults]
        lines.append(f"| {moment} | {' | '.join(row)} |")
    return "\n".join(lines)


def mark(cell):
    if cell.state == "none":
        return "-"
    if cell.state == "failed":
        return "RED"
    return f"ok, {cell.repeated} epoch" if cell.repeated else "ok"


def wanted_cells(sample, faults, moments):
    """Group -> its cells, of the sample `short` or `real`, or of all (`long`)."""
    if sample == "long":
        groups = {"in-process": IN_PROCESS, "mlflow": WITH_MLFLOW, "ray": WITH_RAY}
        pairs = {g: [(m, f) for m in MOMENTS for f in names] for g, names in groups.items()}
        listed = {"stages": STAGED}
    else:
        pairs = {}
        listed = {"in-process": SHORT, "stages": SHORT_STAGED}
        if sample == "real":
            listed = {"real": REAL}
    named = {m.name: m for m in (*MOMENTS, *STAGED_MOMENTS)}
    for group, cells in listed.items():
        pairs[group] = [(named[name], fault) for name, fault in cells]
    return {
        group: [
            (m, f) for m, f in some
            if (not faults or f in faults) and (not moments or any(w in m.name for w in moments))
        ]
        for group, some in pairs.items()
    }  # fmt: skip


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m tests.crashes.matrix", description=__doc__)
    samples = parser.add_mutually_exclusive_group()
    for sample, text in [
        ("long", "every cell, Ray and MLflow included"),
        ("real", "a sample of the cells, with the real trainer"),
    ]:
        samples.add_argument(
            f"--{sample}", action="store_const", dest="sample", const=sample, help=text
        )
    parser.add_argument("--json", type=Path, help="also write the cells to this file")
    parser.add_argument("--fault", action="append", default=[], help="only this fault")
    parser.add_argument("--moment", action="append", default=[], help="only moments with this word")
    parser.add_argument("--keep", type=Path, help="leave the runs in this folder")
    args = parser.parse_args(argv)

    def tell(cell):
        print(
            f"{cell.state:7} {cell.seconds:6.2f} s  {cell.moment} x {cell.fault}  {cell.words}",
            flush=True,
        )

    with tempfile.TemporaryDirectory(
        prefix="crashes-", dir=os.environ.get("PYTEST_DEBUG_TEMPROOT")
    ) as scratch:
        folder = args.keep or Path(scratch)
        cells = []
        for group, wanted in wanted_cells(args.sample, args.fault, args.moment).items():
            cells += run_group(group, folder / group, wanted, tell)
    red = [cell for cell in cells if cell.state == "failed"]
    print(f"\n{table(cells)}\n\n{len(cells)} cells, {len(red)} red")
    if args.json:
        args.json.write_text(json.dumps([asdict(cell) for cell in cells], indent=1) + "\n")
    return 1 if red else 0


if __name__ == "__main__":
    sys.exit(main())
