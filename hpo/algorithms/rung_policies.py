"""Promotion rules: which configurations go on to the next rung (synchronous or asynchronous)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from hpo.algorithms.brackets import Bracket


@dataclass(slots=True, kw_only=True)
class Climber:
    """One configuration on its way up the rungs of its bracket."""

    number: int
    """Of its first trial; the proposer knows it by this."""
    bracket: int
    """Counted over all rounds."""
    latest: int
    """Of its newest trial."""
    rung: int = 0
    """Index of the rung that it trains for, or waits at."""
    state: str = "running"
    """`running`, `waiting` at its rung, `going` on to the next, `done`, `dropped` or `failed`."""
    values: list[float] = field(default_factory=list)
    """Best value at each rung that was reached; larger is better."""


class Policy(Protocol):
    """Decides over climbers; a function of what they have shown alone."""

    def bracket_for(self, started: int) -> int | None:
        """The bracket of the next new configuration, or None when there are no more."""

    def rungs(self, bracket: int) -> tuple[int, ...]:
        """The epochs of a bracket's rungs."""

    def settle(self, climbers: Sequence[Climber]) -> None:
        """Turn `waiting` into `going` or `dropped` where that can be said."""

    def is_enough(self, climbers: Sequence[Climber]) -> bool:
        """Whether nothing more is to be started, whatever could be."""


class SynchronousBrackets:
    """Hyperband: a rung closes when all of its trials have ended, then its best go on.

    While a rung waits for its last trials the next bracket is begun, so no slot is idle before the
    last bracket.

    Args:
        brackets: of one round.
        rounds: after which nothing new is started; None goes on for ever.
    """

    def __init__(self, brackets: Sequence[Bracket], rounds: int | None) -> None:
        self._brackets, self._rounds = list(brackets), rounds
        self._places = [i for i, b in enumerate(brackets) for _ in range(b.sizes[0])]

    def bracket_for(self, started: int) -> int | None:
        """Fill the brackets in order."""
        turn, place = divmod(started, len(self._places))
        if self._rounds is not None and turn >= self._rounds:
            return None
        return turn * len(self._brackets) + self._places[place]

    def rungs(self, bracket: int) -> tuple[int, ...]:
        """The bracket's own."""
        return self._brackets[bracket % len(self._brackets)].rungs

    def settle(self, climbers: Sequence[Climber]) -> None:
        """Close every rung whose trials have all ended."""
        for bracket in sorted({c.bracket for c in climbers if c.state == "waiting"}):
            members = [c for c in climbers if c.bracket == bracket]
            sizes = self._brackets[bracket % len(self._brackets)].sizes
            if len(members) < sizes[0]:
                continue
            undecided = [c for c in members if c.state in ("running", "waiting", "going")]
            rung = min(c.rung for c in undecided)
            if all(c.state == "waiting" for c in undecided if c.rung == rung):
                _close(members, rung, keep=sizes[rung + 1])

    def is_enough(self, climbers: Sequence[Climber]) -> bool:  # noqa: ARG002 - brackets decide
        """Never before the brackets are through."""
        return False


class AsynchronousHalving:
    """ASHA: whoever is among the best 1/factor of those measured at a rung goes on at once.

    Nobody waits for anybody: with nobody to promote, a new configuration is started (Li et al.,
    2020, algorithm 2).

    Args:
        rungs: epochs of the one bracket.
        factor: the quota of a rung with m measured is floor(m / factor).
        max_trials: configurations after which no new ones are started.
        min_top: configurations at the last rung that are enough.
    """

    def __init__(
        self,
        rungs: Sequence[int],
        factor: int,
        *,
        max_trials: int | None = None,
        min_top: int | None = None,
    ) -> None:
        self._rungs, self._factor = tuple(rungs), factor
        self._max_trials, self._min_top = max_trials, min_top

    def bracket_for(self, started: int) -> int | None:
        """Always the only one."""
        return None if self._max_trials is not None and started >= self._max_trials else 0

    def rungs(self, bracket: int) -> tuple[int, ...]:  # noqa: ARG002 - there is one bracket
        """The epochs of the rungs."""
        return self._rungs

    def settle(self, climbers: Sequence[Climber]) -> None:
        """Let go on who is within the quota of its rung; nobody is dropped for ever."""
        for rung in range(len(self._rungs) - 1):
            measured = _by_value(climbers, rung)
            for climber in measured:
                is_in = climber in measured[: len(measured) // self._factor]
                if climber.state == "waiting" and climber.rung == rung:
                    climber.state = "going" if is_in else "waiting"

    def is_enough(self, climbers: Sequence[Climber]) -> bool:
        """Whether enough configurations were trained in full; a failed one is none of them."""
        done = sum(c.state == "done" for c in climbers)
        return self._min_top is not None and done >= self._min_top


def _by_value(climbers: Sequence[Climber], rung: int) -> list[Climber]:
    """Those who were measured at a rung, the best first, the earlier one of equals."""
    measured = [c for c in climbers if len(c.values) > rung and c.state != "failed"]
    return sorted(measured, key=lambda c: (-c.values[rung], c.number))


def _close(members: Sequence[Climber], rung: int, keep: int) -> None:
    best = _by_value([c for c in members if c.rung == rung], rung)
    for place, climber in enumerate(best):
        climber.state = "going" if place < keep else "dropped"
