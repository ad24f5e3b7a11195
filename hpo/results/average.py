"""Averages the weights of the best trials into one model, after the search and its comparison.

The trainer does it (`hpo.core.averager.Averager`): it begins with the winner and adds, best
first, trials of the same network and start that do not lower the validation metric. The average is
handed on only where at least one was added; the winner stays the winner. What came of it lies in
`average/` of the run, so that a search which was killed in between goes on from there.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hpo.core.averager import Averager
from hpo.core.durable_files import write_atomically
from hpo.core.events import Averaged, Preparing
from hpo.core.protocols import Emit, Executor, Trainer
from hpo.core.selection import leading, ranked
from hpo.core.text import metric_word
from hpo.core.trial import TrialRecord
from hpo.core.trial_failures import error_line
from hpo.results.worker_calls import call_twice
from hpo.run.checkpoints import best_checkpoint
from hpo.run.disk_errors import find_problem
from hpo.run.ledger import Ledger
from hpo.run.run_dir import RunDir
from hpo.run.trial_specs import TrialSpecs

logger = logging.getLogger(__name__)

NEAR = 6
"""So many of the best trials are looked at, the winner among them."""
FILE = "average.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Average:
    """What came of averaging."""

    trials: tuple[int, ...]
    """Whose mean it is, the winner first; the winner alone where no other one helped."""
    looked_at: tuple[int, ...]
    """The others that were tried, in order."""
    alone: float | None = None
    """The validation metric of the winner, as the trainer measured it beside the average's."""
    value: float | None = None
    checkpoint: str = ""
    """Name of the file beside this record; empty where nothing is handed on but the winner."""
    epoch: int = 0
    """The winner's best epoch, as its weights were averaged: one that was open may get better."""
    best: tuple[int, ...] = ()
    """The winner and the trials near it, by which a later start knows whether this still holds."""

    @property
    def is_used(self) -> bool:
        """Whether the average is what is handed on."""
        return bool(self.checkpoint)

    def words(self, metric: str) -> str:
        """Say in a sentence, without its full stop, which model is handed on."""
        winner, *others = self.trials
        if self.is_used and self.value is not None and self.alone is not None:
            names = ", ".join(map(str, self.trials[:-1]))
            return (
                f"average of trials {names} and {others[-1]}: {metric_word(metric)} "
                f"{self.value:.4f} on validation, trial {winner} alone {self.alone:.4f}"
            )
        if self.looked_at:
            tried = len(self.looked_at)
            others_tried = "the other one" if tried == 1 else f"any of {tried} others"
            return f"trial {winner} alone: averaged with {others_tried} it does worse on validation"
        return (
            f"trial {winner} alone: no other one near it has the same network and began with the "
            "same pretrained weights"
        )

    def to_json(self, metric: str) -> dict[str, Any]:
        """As it stands in `report.json` and in the result."""
        return {**asdict(self), "is_used": self.is_used, "words": self.words(metric)}


def best_trained(trials: Sequence[TrialRecord], direction: str) -> list[TrialRecord]:
    """Return the trials that may be averaged, best first: those trained longest, few of them.

    Finalists that were trained again with other seeds are among them.
    """
    order = ranked(trials, direction)
    return [t for t in leading(order) if t.state.is_finished][:NEAR]


def read_average(run: RunDir) -> Average | None:
    """Return what is kept of an averaging; None where there was none."""
    try:
        data = json.loads((_folder(run) / FILE).read_text(encoding="utf-8"))
        lists = {key: tuple(data[key]) for key in ("trials", "looked_at", "best")}
        return Average(**{**data, **lists})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def averaged_checkpoint(run: RunDir, winner: TrialRecord, direction: str) -> Path | None:
    """Return the file of the average that is handed on in place of a winner, if there is one.

    None where it was made of an earlier epoch: the winner was open then, and has been trained on.
    """
    kept = read_average(run)
    if kept is None or not kept.is_used or not _is_of(kept, winner, direction):
        return None
    file = _folder(run) / kept.checkpoint
    return file if file.is_file() else None


def is_averaged(run: RunDir, trials: Sequence[TrialRecord], direction: str) -> bool:
    """Whether the best of these trials have been averaged, so that nobody asks for them again.

    A winner that is still open may be trained on, and is then averaged with them anew.
    """
    kept = read_average(run)
    if kept and any(t.number == kept.trials[0] and not t.state.is_finished for t in trials):
        return False
    near = tuple(t.number for t in best_trained(trials, direction))
    return kept is not None and kept.best[1:] == near


def average_best(
    run: RunDir,
    ledger: Ledger,
    trainer: Trainer,
    executor: Executor,
    best: TrialRecord,
    specs: TrialSpecs,
    emit: Emit,
) -> Average | None:
    """Average the winner with trials near it, or find that done.

    Args:
        run: where checkpoints lie.
        ledger: the study.
        trainer: which may be able to.
        executor: where it works.
        best: the winner.
        specs: gives the full spec that a trial was trained with.
        emit: receives `Averaged`.

    Returns:
        None where the trainer cannot, the winner's weights began at random, or it failed; the last
        is logged, as the winner is there to be handed on.
    """
    if not isinstance(trainer, Averager):
        return None
    spec = specs.trained_spec(best)
    if not trainer.shares_start(spec, spec):
        return None
    near = best_trained(ledger.trials(), ledger.direction)
    marks = (best.number, *(t.number for t in near))
    kept = read_average(run)
    is_same = kept is not None and kept.best == marks and _is_of(kept, best, ledger.direction)
    if kept is None or not is_same or _is_lost(run, kept):
        emit(Preparing(what="average"))
        able = [
            t for t in near
            if t.number != best.number and trainer.shares_start(spec, specs.trained_spec(t))
        ]  # fmt: skip
        kept = _average(run, trainer, executor, spec, best, able)
        if kept is None:
            return None
        kept = replace(kept, best=marks, epoch=_best_epoch(best, ledger.direction))
        _keep(run, kept)
    words = kept.words(trainer.monitoring_metric)
    emit(
        Averaged(
            trials=kept.trials, value=kept.value, alone=kept.alone,
            is_used=kept.is_used, words=words,
        )
    )  # fmt: skip
    return kept


def _average(
    run: RunDir,
    trainer: Trainer,
    executor: Executor,
    spec: Mapping[str, Any],
    best: TrialRecord,
    able: Sequence[TrialRecord],
) -> Average | None:
    """Have the trainer average what is on disk; None where it failed, which is logged.

    Raises:
        RunError: when the run's disk takes no files.
    """
    folder, direction = _folder(run), trainer.direction
    start = averaged_checkpoint(run, best, direction)
    before = read_average(run) if start is not None else None  # more trials came: it goes on
    so_far = before or Average(trials=(best.number,), looked_at=())
    found = {t.number: best_checkpoint(run, t, direction) for t in able}
    files = {n: f for n, f in found.items() if f is not None and n not in so_far.looked_at}
    start = start or best_checkpoint(run, best, direction)
    if start is None or not files:
        return so_far
    looked_at = (*so_far.looked_at, *files)
    out = folder / f"{best.number}-{len(looked_at)}.ckpt"
    folder.mkdir(exist_ok=True)
    try:
        told = call_twice(executor, "average", spec, [start, *files.values()], out)
    except Exception as error:
        if (problem := find_problem(folder, error_line(error))) and problem.is_room:
            raise problem.as_error(run) from error
        logger.warning("the best trials were not averaged: %s", error_line(error))
        logger.debug("the traceback", exc_info=True)
        return None
    added = [number for place, number in enumerate(files, start=1) if place in told["kept"]]
    return Average(
        trials=(*so_far.trials, *added),
        looked_at=looked_at,
        alone=told["alone"] if so_far.alone is None else so_far.alone,
        value=told["value"],
        checkpoint=out.name if added else so_far.checkpoint,
    )


def _keep(run: RunDir, average: Average) -> None:
    """Write the record, and remove what no record names any more."""
    folder = _folder(run)
    write_atomically(folder / FILE, json.dumps(asdict(average)) + "\n")
    for file in folder.glob("*.ckpt"):
        if file.name != average.checkpoint:
            file.unlink()


def _folder(run: RunDir) -> Path:
    return run.path / "average"


def _is_of(kept: Average, winner: TrialRecord, direction: str) -> bool:
    """Whether a record is of this winner, and of its weights as they are now."""
    return (kept.trials[0], kept.epoch) == (winner.number, _best_epoch(winner, direction))


def _best_epoch(trial: TrialRecord, direction: str) -> int:
    best = trial.best_measurement(direction)
    return best.epoch if best else 0


def _is_lost(run: RunDir, kept: Average) -> bool:
    """Whether the file that a record names is gone."""
    return kept.is_used and not (_folder(run) / kept.checkpoint).is_file()
