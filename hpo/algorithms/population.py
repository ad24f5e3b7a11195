"""A population in training: each generation is a set of trials that start from checkpoints.

A member trains one generation at a time. Before the next it is ranked among those who have ended
the same generation: one of the worst starts from the checkpoint of one of the best, with its
parameters changed a little; all others go on from their own. A member that failed takes the place
of one of the worst. Nobody waits for more than half of the population.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from hpo.algorithms.unit_points import again, default_latents, first_points, suggest
from hpo.core.seeds import derive_seed
from hpo.core.trial import (
    CONTINUE,
    Decision,
    Direction,
    Measurement,
    Suggestion,
    TrialRecord,
    TrialState,
)
from search_spaces import Choice, Dimension, Integer, SearchSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class Moves:
    """How a copied configuration is changed."""

    factor: float
    quantile: float
    resample: float
    can_change: Callable[[str], bool]
    """Whether a parameter may change when training goes on from a checkpoint."""

    def changed(
        self, space: SearchSpace, latents: dict[str, Any], rng: random.Random
    ) -> dict[str, Any]:
        """Multiply or divide, or draw anew, what may change; options only ever are drawn anew."""
        fixed = {
            dimension.name
            for parameter in space.parameters
            if not self.can_change(parameter.name)
            for dimension in parameter.dimensions
        }
        found: dict[str, Any] = {}
        for dimension in space.active_dimensions(found):
            name, draw, up = dimension.name, rng.random(), rng.random() < 0.5
            fresh = dimension.from_unit(rng.random())
            if name in fixed and name in latents:
                found[name] = latents[name]
            elif name not in latents or draw < self.resample:
                found[name] = fresh
            else:
                found[name] = self._moved(dimension, latents[name], up=up)
        return found

    def _moved(self, dimension: Dimension, latent: Any, *, up: bool) -> Any:
        """Move a number by the factor where its scale is logarithmic, else by a share of it."""
        if isinstance(dimension, Choice):
            return latent
        if dimension.log:
            moved = latent * self.factor if up else latent / self.factor
        else:
            step = (self.factor - 1) / 2 * (dimension.high - dimension.low)
            moved = latent + step if up else latent - step
        if isinstance(dimension, Integer):
            steps = round((moved - latent) / dimension.step) or (1 if up else -1)
            moved = latent + steps * dimension.step
            highest = dimension.low + (dimension.high - dimension.low) // dimension.step * (
                dimension.step
            )
            return min(max(moved, dimension.low), highest)
        return min(max(moved, dimension.low), dimension.high)


@dataclass(slots=True, kw_only=True)
class Stage:
    """One generation of one member: a trial."""

    number: int
    member: int
    generation: int
    params: dict[str, Any]
    latents: dict[str, Any]
    score: float | None = None
    """Value of its last epoch, larger is better; None while it runs and when it failed."""
    is_running: bool = True


class Population:
    """Proposes generations.

    Args:
        space: what is searched.
        moves: how a copied configuration is changed.
        size: members.
        ends: last epoch of each generation; the default configuration is trained until the last
            of them beside the population.
        direction: `maximize` or `minimize`.
        seed: the study's seed.
        first: latents of members to begin with.
    """

    def __init__(
        self,
        space: SearchSpace,
        moves: Moves,
        *,
        size: int,
        ends: Sequence[int],
        direction: str,
        seed: int,
        first: Sequence[dict[str, Any]] = (),
    ) -> None:
        self._space, self._moves, self._ends = space, moves, tuple(ends)
        self._size, self._seed = size, seed
        self._sign = Direction(direction).sign
        self._start = first_points(space, size, seed, first[: size - 1], offset=1)
        self._default: int | None = None
        self._stages: dict[int, Stage] = {}
        self._newest: dict[int, Stage] = {}

    @property
    def distributions(self) -> dict[str, Any]:
        """Every latent dimension as Optuna sees it, for the ledger."""
        from hpo.algorithms.optuna_points import to_distribution

        return {d.name: to_distribution(d) for d in self._space.dimensions}

    def ask(self, number: int) -> Suggestion | None:
        """Return the default configuration, a first generation, or the next of some member."""
        if self._default is None:
            latents = default_latents(self._space)
            suggestion = suggest(self._space, number, latents, self._ends[-1], None)
        else:
            member = self._next_member()
            if member is None:
                return None
            suggestion = self._stage(number, member)
        self._take(TrialRecord.of(suggestion))
        return suggestion

    def restore(self, trial: TrialRecord) -> None:
        """Take a recorded generation as started."""
        self._take(trial)

    def report(self, number: int, measurement: Measurement) -> Decision:
        """Keep the newest value; a generation ends by itself."""
        if number != self._default:
            self._stages[number].score = self._sign * measurement.value
        return CONTINUE

    def tell(self, trial: TrialRecord) -> None:
        """Close a generation; one that did not end as planned has no score."""
        if trial.number == self._default:
            return
        stage = self._stages[trial.number]
        stage.is_running = False
        if trial.state is not TrialState.COMPLETE:
            stage.score = None

    def start_points(self) -> Collection[int]:
        """Members' newest generations, and the best of every generation that some stand at.

        The best of a generation are copied by those who end it later too.
        """
        going_on = [s for s in self._newest.values() if s.generation + 1 < len(self._ends)]
        levels = {s.generation for s in going_on}
        if len(self._newest) < self._size and len(self._ends) > 1:
            levels.add(0)
        found = {s.number for s in going_on if not s.is_running and s.score is not None}
        for level in levels:
            able = [s for s in self._ended(level) if s.score is not None]
            found |= {s.number for s in able[: self._copied(self._size)]}
        return found

    def _copied(self, ended: int) -> int:
        """How many of a generation are copied once so many have ended it."""
        return max(1, int(self._moves.quantile * ended))

    def _take(self, trial: TrialRecord) -> None:
        """Book a generation under the member that it was made for, which is the next one."""
        if self._default is None:
            self._default = trial.number
            return
        member = self._next_member()
        if member is None:
            raise ValueError(f"trial {trial.number}: no member of the population is free")
        before = self._newest.get(member)
        self._stages[trial.number] = self._newest[member] = Stage(
            number=trial.number,
            member=member,
            generation=0 if before is None else before.generation + 1,
            params=trial.params,
            latents=trial.latents,
        )

    def _next_member(self) -> int | None:
        """The member that is furthest behind and may go on now."""
        if len(self._newest) < self._size:
            return len(self._newest)
        free = [s for s in self._newest.values() if self._may_go_on(s)]
        return min(free, key=lambda s: (s.generation, s.member)).member if free else None

    def _may_go_on(self, stage: Stage) -> bool:
        if stage.is_running or stage.generation + 1 >= len(self._ends):
            return False
        ended = self._ended(stage.generation)
        return 2 * len(ended) >= self._size and any(s.score is not None for s in ended)

    def _ended(self, generation: int) -> list[Stage]:
        """Members that have ended a generation, the best first, failed ones last."""
        ended = [
            s for s in self._stages.values() if s.generation == generation and not s.is_running
        ]
        return sorted(ended, key=lambda s: (-_score_of(s), s.number))

    def _stage(self, number: int, member: int) -> Suggestion:
        before = self._newest.get(member)
        if before is None:
            return suggest(self._space, number, self._start[member], self._ends[0], None)
        rng = random.Random(derive_seed(self._seed, number))
        order = self._ended(before.generation)
        able = [s for s in order if s.score is not None]
        count = self._copied(len(order))
        is_weak = before in order[len(order) - count :] and len(order) > 2 * count - 1
        is_copied = before.score is None or (is_weak and self._moves.quantile > 0)
        source = rng.choice(able[:count]) if is_copied else before
        begin = (source.number, self._ends[before.generation])
        until = self._ends[before.generation + 1]
        if is_copied:
            latents, is_inside = self._space.refit(source.params, source.latents)
            if is_inside:
                latents = self._moves.changed(self._space, latents, rng)
                return suggest(self._space, number, latents, until, begin)
        return again(number, source, until, begin)


def _score_of(stage: Stage) -> float:
    return float("-inf") if stage.score is None else stage.score
