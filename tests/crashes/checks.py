"""What must hold of a run that was hit, compared with one that was not."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass

from hpo.run.ledger import Ledger
from hpo.run.run_dir import list_runs
from tests.crashes.driver import logs_of
from tests.crashes.trainer import TRAINED


@dataclass(frozen=True)
class Story:
    """A search as its ledger tells it."""

    trials: list
    finished: dict
    """Trial -> its row, for those that have ended."""
    repeated: int
    """Epochs that were trained more than once."""
    epochs: int
    """Epochs that the ledger charges."""
    counted: int
    """Trials that it charges: a batch is one."""
    at_once: int
    """Trials of the largest batch, of each of which a kill may repeat an epoch."""


def read_story(out):
    """Read the only run below `out`; None when there is none yet."""
    runs = list_runs(out)
    if not runs:
        return None
    (run,) = runs
    ledger = Ledger.open(run.ledger_file)
    records = ledger.trials()
    ledger.close()
    rows = [
        [
            t.number, str(t.state), t.purpose, t.params, t.seed, t.value,
            [[m.epoch, m.value] for m in t.measurements], t.stage.to_dict(),
        ]
        for t in records
    ]  # fmt: skip
    notes = [(run.trial_dir(t.number) / TRAINED) for t in records]
    counts = [Counter(path.read_text().split()) for path in notes if path.exists()]
    return Story(
        rows,
        {t.number: row for t, row in zip(records, rows, strict=True) if t.state.is_finished},
        sum(sum(c.values()) - len(c) for c in counts),
        sum(t.trained_epochs for t in records if t.stage.is_counted(t.number)),
        sum(t.is_counted for t in records),
        max(
            Counter(t.stage.batch for t in records if t.stage.batch is not None).values(), default=1
        ),
    )


def finished_event(out):
    """The last `finished` that any start has told."""
    for file in sorted(logs_of(out).glob("start-*.out"), reverse=True):
        for line in reversed(file.read_text().splitlines()):
            event = json.loads(line)
            if event["event"] == "finished":
                return event
    return None


def faults_of(before, after, finished, *, kills=1, elapsed_s=None):
    """What is wrong with the end of a run, as sentences; none where all is well.

    Args:
        before: its story when it was hit.
        after: its story in the end.
        finished: the `finished` event of its last start.
        kills: how often it was hit.
        elapsed_s: real time from its first start to its end.
    """
    wrong = []
    numbers = [row[0] for row in after.trials]
    if numbers != list(range(len(numbers))):
        wrong.append(f"trial numbers are {numbers}")
    for number, row in (before.finished if before else {}).items():
        if after.finished.get(number) != row:
            wrong.append(f"the result of trial {number} has changed or is lost")
    if after.repeated > kills * after.at_once:
        wrong.append(f"{after.repeated} epochs were repeated by {kills} kills")
    if finished is None:
        return [*wrong, "it has told no end"]
    spent = finished["spent"]
    if (spent["trials"], spent["epochs"]) != (after.counted, after.epochs):
        wrong.append(f"budget {spent} is not {after.counted} trials and {after.epochs} epochs")
    if elapsed_s is not None and not 0 <= spent["seconds"] <= elapsed_s:
        wrong.append(f"{spent['seconds']} s were charged in {elapsed_s:.1f} s")
    return wrong


def differences(reference, winner, after, finished):
    """Where a run differs from an unbroken one with the same seed."""
    wrong = [
        f"trial {whole[0]} is {cut[1:]} and not {whole[1:]}"
        for whole, cut in zip(reference.trials, after.trials, strict=False)
        if whole != cut
    ]
    if len(reference.trials) != len(after.trials):
        wrong.append(f"{len(after.trials)} trials and not {len(reference.trials)}")
    if finished and finished["best"]["trial"] != winner:
        wrong.append(f"the winner is {finished['best']['trial']} and not {winner}")
    return wrong


def untidy(start, fault=""):
    """What a start that ended early should not have said: a traceback, or another exit code.

    An export that ran out of memory is no fault of the user's; it ends with 1 and its own line.
    """
    if start.code <= 0:
        return []
    wrong = []
    if "Traceback" in start.err:
        wrong.append(f"a traceback: {start.err.strip().splitlines()[-1][:200]}")
    if start.code not in ((1, 2, 130) if fault == "out of memory" else (2, 130)):
        wrong.append(f"exit code {start.code}: {start.err.strip()[-300:]}")
    return wrong
