"""Explains why a trial ended: pruner, rung, competitors, missing value.

What it would have needed is asked of the algorithm itself: it is brought to the moment before the
decision from the ledger, and copied for each value that is tried.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from hpo.core.errors import RunError
from hpo.core.protocols import Algorithm, GroupedPruning
from hpo.core.rungs import best_by, curve_of
from hpo.core.text import place_words
from hpo.core.trial import Decision, Direction, Measurement, TrialRecord, TrialState
from hpo.run.ledger import Ledger
from hpo.run.ledger_rows import Change
from hpo.run.replay import replay

MakeAlgorithm = Callable[[], Algorithm]


def explain(
    ledger: Ledger,
    number: int,
    make_algorithm: MakeAlgorithm,
    *,
    stops_by: tuple[str, float] | None = None,
) -> dict[str, Any]:
    """Say why a trial ended as it did.

    Args:
        ledger: the study.
        number: of the trial.
        make_algorithm: builds the study's algorithm, without any trial.
        stops_by: see `hpo.algorithms.entry.Context`.

    Returns:
        `{"trial", "state", "purpose", "epoch", "until_epoch", "value", "lines"}`, for a pruned
        trial also `competitors` (number and best value at the rung, best first), `place` and
        `needed`. `lines` says it all to people.

    Raises:
        RunError: when there is no such trial.
    """
    trials = {t.number: t for t in ledger.trials()}
    if number not in trials:
        known = f"0 to {len(trials) - 1}" if trials else "none yet"
        raise RunError(f"there is no trial {number}; trials are {known}")
    trial = trials[number]
    found: dict[str, Any] = {
        "trial": number,
        "state": str(trial.state),
        "purpose": str(trial.purpose),
        "epoch": trial.epochs,
        "until_epoch": trial.until_epoch,
        "value": trial.value,
    }
    if trial.state is TrialState.PRUNED and not trial.is_repeat:
        found |= _pruned(ledger, trial, make_algorithm, _judged_by(ledger, trial, stops_by))
    else:
        found["lines"] = _EXPLAIN[trial.state](ledger, trial)
    if trial.stage.name:
        found["stage"] = trial.stage.to_dict()
        found["lines"] = [f"stage {trial.stage.label}", *found["lines"]]
    if trial.start_from is not None:
        source, epoch = trial.start_from
        found["lines"] = [f"it goes on from trial {source}, epoch {epoch}", *found["lines"]]
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """What the algorithm stops trials by."""

    metric: str
    """The first of several objectives; empty for the value itself."""
    direction: Direction

    def seen(self, trial: TrialRecord) -> TrialRecord:
        """The trial with this in place of its values."""
        if not self.metric:
            return trial
        told = (replace(m, value=m.metrics.get(self.metric, m.value)) for m in trial.measurements)
        return replace(trial, measurements=list(told))

    def shown(self, measured: Measurement, value: float) -> Measurement:
        """A measurement that tells another one."""
        if not self.metric:
            return replace(measured, value=value)
        return replace(measured, metrics={**measured.metrics, self.metric: value})


def _judged_by(ledger: Ledger, trial: TrialRecord, stops_by: tuple[str, float] | None) -> _Judged:
    metric, sign = stops_by or ("", 0.0)
    if not trial.measurements or metric not in trial.measurements[-1].metrics:
        return _Judged(metric="", direction=ledger.direction)
    direction = Direction.MAXIMIZE if sign > 0 else Direction.MINIMIZE
    return _Judged(metric=metric, direction=direction)


def _pruned(
    ledger: Ledger, trial: TrialRecord, make_algorithm: MakeAlgorithm, judged: _Judged
) -> dict[str, Any]:
    """Against whom a stopped trial stood at its last epoch, and what would have saved it."""
    trials = {t.number: judged.seen(t) for t in ledger.trials()}
    sign = judged.direction.sign
    earlier = _measured_before(ledger, trial)

    def brought() -> Algorithm:
        """The algorithm as it was before the decision."""
        made = make_algorithm()
        replay(made, ledger, before=_last_epoch(ledger, trial).sequence)
        return made

    algorithm = brought()

    def copied() -> Algorithm:
        try:
            return copy.deepcopy(algorithm)
        except TypeError:  # it waits for a language model
            return brought()

    # Trials that the decider compares this one with, where it has brackets; None means all.
    peers = algorithm.peers(trial.number) if isinstance(algorithm, GroupedPruning) else None
    rows = []
    for other in sorted({*earlier, trial.number}):
        value = best_by(curve_of(trials[other], trials), trial.epochs, judged.direction)
        if value is not None and (peers is None or other in peers):
            rows.append({"trial": other, "value": value})
    rows.sort(key=lambda row: (-sign * row["value"], row["trial"]))
    own = next(row["value"] for row in rows if row["trial"] == trial.number)
    place = 1 + sum(sign * row["value"] > sign * own for row in rows)
    name = f"{judged.metric} " if judged.metric else ""
    lines = [
        f"stopped at epoch {trial.epochs} of {trial.until_epoch}: best {name}{own:.4f} by then, "
        f"place {place} of {len(rows)} trials that had been measured at this epoch"
    ]
    stands = place_words(place, len(rows), trial.epochs)
    reason, needed = _ask(copied, trial, judged, [row["value"] for row in rows])
    lines += [f"the algorithm said: {reason}"] if reason and reason != stands else []
    if needed is not None:
        than = "at least" if sign > 0 else "at most"
        lines.append(f"it would have gone on with {than} {needed:.4f} ({needed - own:+z.4f})")
    else:
        lines.append("no value of a trial beside it would have saved it: its own curve decided")
    shown = [f"trial {r['trial']}: {r['value']:.4f}" for r in rows if r["trial"] != trial.number]
    lines.append("against " + (", ".join(shown[:8]) + (" ..." if len(shown) > 8 else "")))
    return {"competitors": rows, "place": place, "needed": needed, "lines": lines}


def _ask(
    copied: MakeAlgorithm, trial: TrialRecord, judged: _Judged, values: list[float]
) -> tuple[str, float | None]:
    """Ask for the reason of the decision, and for the least of the values that would go on.

    Args:
        copied: gives the algorithm as it was before the decision.
        trial: that was stopped.
        judged: what it was stopped by.
        values: that may have saved it, the best first.
    """

    def decide(value: float | None) -> Decision:
        measured = trial.measurements[-1]
        shown = measured if value is None else judged.shown(measured, value)
        return copied().report(trial.number, shown)

    reason = decide(None).reason
    low, high = -1, len(values)  # values are sorted from the best; a worse one never does better
    while high - low > 1:
        middle = (low + high) // 2
        if decide(values[middle]).stop:
            high = middle
        else:
            low = middle
    return reason, values[low] if low >= 0 else None


def _last_epoch(ledger: Ledger, trial: TrialRecord) -> Change:
    last = [c for c in ledger.changes() if c.number == trial.number and c.what == "epoch"]
    return last[-1]


def _measured_before(ledger: Ledger, trial: TrialRecord) -> list[int]:
    """Searched trials that had reached the epoch, and not failed, when the decision fell."""
    moment = _last_epoch(ledger, trial)
    before = [c for c in ledger.changes() if c.sequence < moment.sequence]
    reached = {
        c.number
        for c in before
        if c.measurement is not None and c.measurement.epoch >= trial.epochs
    }
    ended = {c.number for c in before if c.what == "end"}
    failed = {n for n in ended if ledger.trial(n).state is TrialState.FAILED}
    return sorted(n for n in reached - failed if not ledger.trial(n).is_repeat)


def _complete(ledger: Ledger, trial: TrialRecord) -> list[str]:
    if trial.is_repeat:
        return [f"a finalist trained again with seed {trial.seed}: {_shown(trial)}"]
    alike = [
        t
        for t in ledger.trials()
        if not t.is_repeat
        and t.state is TrialState.COMPLETE
        and (t.stage.name, t.until_epoch) == (trial.stage.name, trial.until_epoch)
        and t.value is not None
    ]
    sign = ledger.direction.sign
    ahead = sum(sign * (t.value or 0.0) > sign * (trial.value or 0.0) for t in alike)
    lines = [
        f"trained until its last epoch, {trial.until_epoch}: {_shown(trial)}, place {ahead + 1} of "
        f"{len(alike)} that were trained as long"
    ]
    later = [t.number for t in ledger.trials() if t.start_from and t.start_from[0] == trial.number]
    if later:
        words = ", ".join(f"trial {number}" for number in later)
        lines.append(f"{words} went on from its checkpoint")
    return lines


def _failed(_ledger: Ledger, trial: TrialRecord) -> list[str]:
    error = trial.error or {"kind": "unknown", "message": "no cause was recorded"}
    if trial.is_refused:
        return [f"refused before it started: {error['message']}"]
    lines = [f"failed after epoch {trial.epochs} ({error['kind']}): {error['message']}"]
    if trial.retries:
        times = "once" if trial.retries == 1 else f"{trial.retries} times"
        lines.append(f"before that it had been started again {times}")
    return lines


def _running(_ledger: Ledger, trial: TrialRecord) -> list[str]:
    return [f"not ended: epoch {trial.epochs} of {trial.until_epoch}; runs, or waits for a resume"]


def _stopped(_ledger: Ledger, trial: TrialRecord) -> list[str]:
    return [f"stopped at epoch {trial.epochs} of {trial.until_epoch}"]


def _shown(trial: TrialRecord) -> str:
    return "no value" if trial.value is None else f"best value {trial.value:.4f}"


_EXPLAIN: dict[TrialState, Callable[[Ledger, TrialRecord], list[str]]] = {
    TrialState.COMPLETE: _complete,
    TrialState.FAILED: _failed,
    TrialState.RUNNING: _running,
    TrialState.PRUNED: _stopped,
}
