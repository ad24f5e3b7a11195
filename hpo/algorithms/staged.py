"""A search in stages: one algorithm for each, and the way from one stage to the next.

Trial 0 is the default configuration, trained in full as in every search, so that stages never cost
the result that the search would have had without them. Then the earlier stages propose many cheap
trials, until so many have been trained or their share of the budget is gone. Trials of the last
stage then begin with the best of those: the first ones with the default of what the last stage
searches, so that a better head shows, later ones in turn with the best parent so far and with one
that was not tried yet. Each stage's algorithm receives its own trials alone.

A stage whose order is known to say nothing about the next one's (`hpo.core.stages`) is skipped from
then on: trials then begin as they would without stages.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from optuna.distributions import BaseDistribution

from hpo.algorithms.chooser import IS_GIVEN
from hpo.core.events import AlgorithmStep
from hpo.core.protocols import (
    Algorithm,
    BackgroundAlgorithm,
    Emit,
    EventSource,
    GroupedPruning,
    OptunaView,
)
from hpo.core.stages import measure_stages
from hpo.core.text import count_of
from hpo.core.trial import (
    Decision,
    Direction,
    Measurement,
    Suggestion,
    TrialRecord,
    TrialStage,
    TrialState,
)

DEFAULTS_FIRST = 2
"""Parents whose first child has the default of what the last stage searches."""
MOST_PARENTS = 8
"""Trials of a stage that others may begin with, the best ones that are not alike."""
MOST_LOOKED_AT = 2 * MOST_PARENTS
"""Of the best ones, so many are looked at for these; the checkpoints of the others may go."""
LATEST = 0.5
"""No stage begins once this share of the budget is gone: too little would be left after it."""
ALIKE = 1.25
"""Numbers that differ by less than this factor are alike."""
BEGAN = "stage_began"
"""Key of a memo: the share of the budget that was gone when the stage began."""


@dataclass(slots=True, kw_only=True)
class Part:
    """One stage: its algorithm, its limits, and its trials so far."""

    name: str
    algorithm: Algorithm
    left: int = 0
    trials: int = 1
    """At most so many, in an earlier stage."""
    batch: int = 1
    share: float = 1.0
    carries: Collection[str] = ()
    started: list[int] = field(default_factory=list)
    began: float | None = None
    is_closed: bool = False


@dataclass(slots=True, kw_only=True)
class _Batch:
    """A batch whose trials are being asked for."""

    part: Part
    first: int
    missing: int


class StagedAlgorithm:
    """Proposes trials of several stages.

    Args:
        parts: the stages in order; the last one is that of the study.
        default: parameters and latents of the default configuration of the last stage.
        direction: `maximize` or `minimize`.
        num_epochs: length of a full trial of the last stage.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        *,
        default: tuple[dict[str, Any], dict[str, Any]],
        direction: str,
        num_epochs: int,
    ) -> None:
        *self._earlier, self._last = parts
        self._default, self._num_epochs, self._direction = default, num_epochs, direction
        self._sign = Direction(direction).sign
        self._part_of: dict[int, Part] = {}
        self._records: dict[int, TrialRecord] = {}
        """Trials that have ended."""
        self._parents: dict[int, int] = {}
        """Trial of the last stage -> its parent."""
        self._batch: _Batch | None = None
        self._asked: Part = self._last
        self._share = 0.0
        self._emit: Emit = lambda _event: None
        self._emitted: set[str] = set()

    # What the engine asks ---------------------------------------------------------------------

    def ask(self, number: int) -> Suggestion | None:
        """Propose trial `number` of the stage that is due; None while another must end first."""
        part = self._due()
        if part is None:
            return None
        self._asked = part
        if not part.left:
            return self._ask_last(number)
        suggestion = part.algorithm.ask(number)
        if suggestion is None:
            part.is_closed, self._batch = True, None
            return self.ask(number)
        first = self._batch.first if self._batch else number
        memo = dict(suggestion.memo or {})
        if part.began is None:
            memo[BEGAN] = self._share
        batch = first if part.batch > 1 else None
        suggestion = replace(
            suggestion,
            memo=memo or None,
            stage=TrialStage(name=part.name, left=part.left, batch=batch),
        )
        self._take(number, suggestion.stage, memo)
        return suggestion

    def pace(self, share: float) -> None:
        """Keep the share of the budget that is gone."""
        self._share = share

    def open_batch(self) -> int | None:
        """The first trial of the batch that the next one belongs to."""
        return self._batch.first if self._batch else None

    def restore(self, trial: TrialRecord) -> None:
        """Take a recorded trial as started, in its stage."""
        self._take(trial.number, trial.stage, trial.memo or {})
        self._part_of[trial.number].algorithm.restore(trial)

    def report(self, number: int, measurement: Measurement) -> Decision:
        """As the stage's algorithm decides."""
        return self._part_of[number].algorithm.report(number, measurement)

    def tell(self, trial: TrialRecord) -> None:
        """Pass the end of a trial to its stage's algorithm."""
        self._records[trial.number] = trial
        self._part_of[trial.number].algorithm.tell(trial)

    # What else an algorithm may be asked ------------------------------------------------------

    @property
    def distributions(self) -> dict[str, BaseDistribution] | None:
        """Dimensions of the stage that was asked last."""
        algorithm = self._asked.algorithm
        known = algorithm.distributions if isinstance(algorithm, OptunaView) else None
        return None if known is None else dict(known)

    def start_points(self) -> Collection[int]:
        """Trials of earlier stages that may still become parents."""
        return [t.number for part in self._earlier for t in self._best_of(part)[:MOST_LOOKED_AT]]

    def peers(self, number: int) -> frozenset[int]:
        """The trials of the same stage, or those of them that its algorithm names."""
        part = self._part_of[number]
        own = part.algorithm
        named = own.peers(number) if isinstance(own, GroupedPruning) else None
        return frozenset(part.started) if named is None else named

    def settle(self) -> bool:
        """Wait for the background request of the stage that was asked last, if it has one."""
        algorithm = self._asked.algorithm
        return algorithm.settle() if isinstance(algorithm, BackgroundAlgorithm) else False

    def attach(self, emit: Emit) -> None:
        """Emit an event when a stage ends, and those of the stages' algorithms."""
        self._emit = emit
        for part in (*self._earlier, self._last):
            if isinstance(part.algorithm, EventSource):
                part.algorithm.attach(emit)

    # Which stage is due -----------------------------------------------------------------------

    def _due(self) -> Part | None:
        """The stage that the next trial belongs to; None while an earlier one's trials run."""
        if self._batch is not None:
            return self._batch.part
        if not self._part_of:
            return self._last
        for part in self._earlier:
            if not self._is_over(part):
                return part
            if any(number not in self._records for number in part.started):
                return None
        return self._last

    def _is_over(self, part: Part) -> bool:
        if part.began is None:
            return part.is_closed or self._share >= LATEST
        is_spent = self._share - part.began >= part.share
        return part.is_closed or is_spent or len(part.started) >= part.trials

    def _take(self, number: int, stage: TrialStage, memo: dict[str, Any]) -> None:
        """Count a trial to its stage."""
        part = next((p for p in self._earlier if p.name == stage.name), self._last)
        if not stage.left and self._part_of:  # a stage that was left is not gone back to
            for earlier in self._earlier:
                earlier.is_closed = True
        self._part_of[number] = part
        part.started.append(number)
        part.began = memo.get(BEGAN, part.began)
        if stage.parent is not None:
            self._parents[number] = stage.parent
        if stage.batch is None:
            return
        if stage.batch == number:
            room = min(part.batch, part.trials - len(part.started) + 1)
            self._batch = _Batch(part=part, first=number, missing=room)
        if self._batch is not None:
            self._batch.missing -= 1
            self._batch = self._batch if self._batch.missing else None

    # Trials of the last stage -----------------------------------------------------------------

    def _ask_last(self, number: int) -> Suggestion | None:
        parent = self._next_parent() if self._part_of else None
        algorithm, child = self._last.algorithm, len(self._parents)
        if parent is not None and child < DEFAULTS_FIRST:
            suggestion = self._default_from(number)
        else:
            asked = algorithm.ask(number)
            if asked is None:
                return None
            suggestion = asked
        stage = TrialStage(name=self._last.name)
        if parent is not None:
            part = self._part_of[parent.number]
            stage = replace(stage, parent=parent.number)
            note = f"begins with trial {parent.number} ({part.name}, {parent.value:.4f})"
            suggestion = replace(
                suggestion,
                params={**self._carried(parent), **suggestion.params},
                note="; ".join(filter(None, [note, suggestion.note])),
            )
        suggestion = replace(suggestion, stage=stage)
        self._emit_step(number, parent)
        self._take(number, stage, {})
        return suggestion

    def _default_from(self, number: int) -> Suggestion:
        """The default of what the last stage searches, which its algorithm takes as started."""
        params, latents = self._default
        suggestion = Suggestion(
            number=number,
            params=params,
            latents=latents,
            until_epoch=self._num_epochs,
            memo={IS_GIVEN: True},
        )
        self._last.algorithm.restore(TrialRecord.of(suggestion))
        return suggestion

    def _next_parent(self) -> TrialRecord | None:
        """The trial that the next one begins with; None where none has a value, or to skip it."""
        part = self._earlier[-1]
        ended = list(self._records.values())
        orders = {order.name: order for order in measure_stages(ended, self._direction)}
        if part.name in orders and orders[part.name].is_misleading:
            return None
        able = self._unlike(self._best_of(part)[:MOST_LOOKED_AT])
        if not able:
            return None
        used = set(self._parents.values())
        untried = [t for t in able if t.number not in used]
        child = len(self._parents)
        is_new = child < DEFAULTS_FIRST or child % 2 == 1
        if is_new and untried:
            return untried[0]
        return self._best_parent() or able[0]

    def _best_parent(self) -> TrialRecord | None:
        """The parent of the best trial that began with one."""
        children = [t for n in self._parents if (t := self._records.get(n)) and _is_full(t)]
        if not children:
            return None
        best = max(children, key=lambda t: (self._sign * (t.value or 0.0), -t.number))
        return self._records[self._parents[best.number]]

    def _best_of(self, part: Part) -> list[TrialRecord]:
        """Trials of a stage that were trained in full, the best first."""
        able = [t for n in part.started if (t := self._records.get(n)) and _is_full(t)]
        return sorted(able, key=lambda t: (-self._sign * (t.value or 0.0), t.number))

    def _unlike(self, ordered: Sequence[TrialRecord]) -> list[TrialRecord]:
        """The best of trials that hand on alike values; the others teach little beside it."""
        kept: list[TrialRecord] = []
        for trial in ordered:
            own = self._carried(trial)
            if not any(_are_alike(own, self._carried(other)) for other in kept):
                kept.append(trial)
        return kept[:MOST_PARENTS]

    def _carried(self, parent: TrialRecord) -> dict[str, Any]:
        """What a child takes over of its parent's parameters."""
        names = self._part_of[parent.number].carries
        return {name: value for name, value in parent.params.items() if name in names}

    def _emit_step(self, number: int, parent: TrialRecord | None) -> None:
        """Emit once that a stage has ended, and once that it is skipped."""
        part = self._earlier[-1]
        step = "skipped" if parent is None else "ended"
        if not self._part_of or step in self._emitted:
            return
        self._emitted.add(step)
        best, trials = self._best_of(part), count_of(len(part.started), "trial")
        text = f"{part.name}: none of {trials} has a value, so the stage is skipped"
        if not part.started:
            text = (
                f"{part.name}: {LATEST:.0%} of the budget were gone before the stage could begin, "
                "so it is skipped"
            )
        elif best:
            text = f"{part.name}: {trials}, the best {best[0].value:.4f}; "
            text += "it is skipped from now on, as its order misleads" if parent is None else (
                f"{self._last.name} goes on from the best"
            )  # fmt: skip
        self._emit(AlgorithmStep(algorithm="staged", step=step, trial=number, text=text))


def _is_full(trial: TrialRecord) -> bool:
    return trial.state is TrialState.COMPLETE and trial.value is not None


def _are_alike(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether two trials hand on the same options and about the same numbers."""
    if first.keys() != second.keys():
        return False
    for name, value in first.items():
        other = second[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or value * other <= 0:
            if value != other:
                return False
        elif max(value / other, other / value) >= ALIKE:
            return False
    return True
