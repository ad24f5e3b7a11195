"""Differential evolution over rungs: populations, brackets and the trials they produce.

Each length of training (fidelity) has a population of its own. The first bracket is plain halving:
its best go on from their checkpoints. In every later one a trial is a child: a member is crossed
with a mutant of three others that did well one rung below, and takes the member's place if it does
better. Everything is a function of the recorded trials and the study's seed.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from hpo.algorithms.brackets import Bracket
from hpo.algorithms.unit_points import (
    again,
    default_latents,
    first_points,
    latents_at,
    point_of,
    suggest,
)
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
from search_spaces import SearchSpace

Point = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Evolution:
    """The moves of rand/1/bin."""

    mutation: float
    crossover: float

    def child(self, target: Point, parents: Sequence[Point], rng: random.Random) -> Point:
        """Cross a target with a + F (b - c); what leaves the cube is drawn anew."""
        first, second, third = parents
        mutant = [a + self.mutation * (b - c) for a, b, c in zip(first, second, third, strict=True)]
        mutant = [m if 0.0 <= m <= 1.0 else rng.random() for m in mutant]
        forced = rng.randrange(len(target))
        return tuple(
            m if rng.random() < self.crossover or i == forced else t
            for i, (m, t) in enumerate(zip(mutant, target, strict=True))
        )


@dataclass(slots=True, kw_only=True)
class Member:
    """One evaluated, or running, configuration at one rung of one bracket."""

    number: int
    bracket: int
    rung: int
    params: dict[str, Any]
    latents: dict[str, Any]
    point: Point
    is_inside: bool
    """Whether it lies in the space, which may have been changed since."""
    target: int | None = None
    """Place in the population that it competes for; None appends it."""
    score: float | None = None
    """Best value, larger is better; None while it runs and when it failed."""
    is_running: bool = True


def score_of(member: Member) -> float:
    """The score, below every other where there is none."""
    return float("-inf") if member.score is None else member.score


class EvolvingBrackets:
    """Proposes rung trials by differential evolution.

    Args:
        space: what is searched.
        brackets: of one round.
        evolution: the moves.
        direction: `maximize` or `minimize`.
        seed: the study's seed.
        rounds: of brackets, after which nothing new is started; None goes on for ever.
        first: latents to begin with, after the default configuration.
    """

    def __init__(
        self,
        space: SearchSpace,
        brackets: Sequence[Bracket],
        evolution: Evolution,
        *,
        direction: str,
        seed: int,
        rounds: int | None,
        first: Sequence[dict[str, Any]] = (),
    ) -> None:
        self._space, self._brackets, self._evolution = space, list(brackets), evolution
        self._sign = Direction(direction).sign
        self._seed, self._rounds = seed, rounds
        size = brackets[0].sizes[0]
        # The default is trained in full beside the brackets, and is where evolution begins too.
        self._start = first_points(space, size, seed, first[: size - 1], offset=1)
        self._members: dict[int, Member] = {}
        self._populations: dict[int, list[Member]] = {}
        self._default: int | None = None

    @property
    def distributions(self) -> dict[str, Any]:
        """Every latent dimension as Optuna sees it, for the ledger."""
        from hpo.algorithms.optuna_points import to_distribution

        return {d.name: to_distribution(d) for d in self._space.dimensions}

    def start_points(self) -> Collection[int]:
        """The best of each rung of the first bracket that the next rung has yet to take up."""
        found = []
        for rung, size in enumerate(self._shape(0).sizes[1:], 1):
            taken = self._started(0, rung)
            found += [m.number for m in self._best_of(0, rung - 1)[taken:size]]
        return found

    def ask(self, number: int) -> Suggestion | None:
        """Return the default configuration, then trials of the oldest bracket that is ready."""
        if self._default is None:
            latents, last = default_latents(self._space), self._brackets[0].rungs[-1]
            suggestion = suggest(self._space, number, latents, last, None)
        else:
            place = self._next_place()
            if place is None:
                return None
            suggestion = self._suggestion(number, *place)
        self._take(TrialRecord.of(suggestion))
        return suggestion

    def restore(self, trial: TrialRecord) -> None:
        """Take a recorded trial as started."""
        self._take(trial)

    def report(self, number: int, measurement: Measurement) -> Decision:
        """Keep the best value; a trial ends by itself at its rung."""
        if number != self._default:
            member, value = self._members[number], self._sign * measurement.value
            member.score = value if member.score is None else max(member.score, value)
        return CONTINUE

    def tell(self, trial: TrialRecord) -> None:
        """Put a child in its target's place if it is no worse; a failed one changes nothing."""
        if trial.number == self._default:
            return
        member = self._members[trial.number]
        member.is_running = False
        if trial.state is not TrialState.COMPLETE:
            member.score = None
        if member.score is None:
            return
        population = self._population(member.bracket, member.rung)
        if member.target is None or member.target >= len(population):
            population.append(member)
        elif member.score >= score_of(population[member.target]):
            population[member.target] = member

    def _take(self, trial: TrialRecord) -> None:
        """Book a trial under the place that it was made for, which is the next one."""
        if self._default is None:
            self._default = trial.number
            return
        place = self._next_place()
        if place is None:
            raise ValueError(f"trial {trial.number}: no bracket has room for it")
        bracket, rung = place
        is_child = trial.start_from is None and bracket > 0
        slot = self._started(bracket, rung)
        is_new = slot >= len(self._population(bracket, rung))
        latents, is_inside = self._space.refit(trial.params, trial.latents)
        self._members[trial.number] = Member(
            number=trial.number,
            bracket=bracket,
            rung=rung,
            params=trial.params,
            latents=trial.latents,
            point=point_of(self._space, latents),
            is_inside=is_inside,
            target=slot if is_child and not is_new else None,
        )

    def _suggestion(self, number: int, bracket: int, rung: int) -> Suggestion:
        """Promote in the first bracket, start afresh where a population has room, else evolve."""
        rng = random.Random(derive_seed(self._seed, number))
        until, slot = self._shape(bracket).rungs[rung], self._started(bracket, rung)
        if bracket == 0 and rung == 0:
            return suggest(self._space, number, self._start[slot], until, None)
        if bracket == 0:
            source = self._best_of(bracket, rung - 1)[slot]
            begin = (source.number, self._shape(bracket).rungs[rung - 1])
            return again(number, source, until, begin)
        population, parents = self._population(bracket, rung), self._parents(bracket, rung)
        is_free = slot >= len(population) or not population[slot].is_inside
        if is_free or len(parents) < 3:
            point: Point = tuple(rng.random() for _ in self._space.dimensions)
        else:
            target = population[slot].point
            chosen = [member.point for member in rng.sample(parents, 3)]
            point = self._evolution.child(target, chosen, rng)
        return suggest(self._space, number, latents_at(self._space, point), until, None)

    def _parents(self, bracket: int, rung: int) -> list[Member]:
        """The best of the rung below, or the rung's own population, filled up from all others."""
        own = self._best_of(bracket, rung - 1)[: self._shape(bracket).sizes[rung]] if rung else []
        found = [m for m in own or self._population(bracket, rung) if m.is_inside]
        others = [
            member
            for epochs in sorted(self._populations, reverse=True)
            for member in self._populations[epochs]
            if member not in found and member.is_inside
        ]
        return found + others[: max(0, 3 - len(found))]

    def _best_of(self, bracket: int, rung: int) -> list[Member]:
        done = [
            m for m in self._members_at(bracket, rung) if m.score is not None and not m.is_running
        ]
        return sorted(done, key=lambda m: (-score_of(m), m.number))

    def _next_place(self) -> tuple[int, int] | None:
        """The highest rung that is ready in the oldest bracket; None when all must wait."""
        newest = max((m.bracket for m in self._members.values()), default=0)
        for bracket in range(newest + 2):
            if self._rounds is not None and bracket >= self._rounds * len(self._brackets):
                return None
            for rung in reversed(range(len(self._shape(bracket).rungs))):
                if self._is_ready(bracket, rung):
                    return bracket, rung
        return None

    def _is_ready(self, bracket: int, rung: int) -> bool:
        size = self._shape(bracket).sizes[rung]
        if self._started(bracket, rung) >= size:
            return False
        if rung == 0:
            return True
        below = self._members_at(bracket, rung - 1)
        has_room = len(below) >= self._size(bracket, rung - 1)
        if not has_room or any(m.is_running for m in below):
            return False
        # In the first bracket only what was measured below can go on.
        return bracket > 0 or self._started(bracket, rung) < len(self._best_of(bracket, rung - 1))

    def _size(self, bracket: int, rung: int) -> int:
        """Trials that a rung will have; failures below leave fewer in the first bracket."""
        size = self._shape(bracket).sizes[rung]
        if bracket > 0 or rung == 0:
            return size
        return min(size, len(self._best_of(bracket, rung - 1)))

    def _shape(self, bracket: int) -> Bracket:
        return self._brackets[bracket % len(self._brackets)]

    def _members_at(self, bracket: int, rung: int) -> list[Member]:
        return [m for m in self._members.values() if m.bracket == bracket and m.rung == rung]

    def _started(self, bracket: int, rung: int) -> int:
        return len(self._members_at(bracket, rung))

    def _population(self, bracket: int, rung: int) -> list[Member]:
        """Everybody who holds a place at this length of training."""
        return self._populations.setdefault(self._shape(bracket).rungs[rung], [])
