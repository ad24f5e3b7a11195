"""Computes the rungs and brackets of successive halving, in whole epochs.

Logarithms of floats lose a halving where the length is a power of the reduction factor
(log(243) / log(3) is 4.999...), so none are used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hpo.core.errors import SpecError


@dataclass(frozen=True, slots=True)
class Bracket:
    """One bracket: `sizes[k]` configurations are trained until epoch `rungs[k]`."""

    rungs: tuple[int, ...]
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Length:
    """Of a full trial: its epochs, and how many lie between two validations."""

    epochs: int
    every: int = 1

    def within(self, epochs: int) -> Length:
        """The same for a trial of so many epochs."""
        return Length(epochs, self.every)

    @property
    def validations(self) -> int:
        """How often it is validated, at its last epoch too."""
        return self.count(self.epochs)

    def count(self, epochs: int) -> int:
        """How many validations it takes to train for at least so many epochs."""
        return -(-epochs // self.every)

    def epoch_of(self, validation: int) -> int:
        """The epoch of a validation, counted from 1."""
        return min(self.epochs, validation * self.every)


def num_halvings(longest: int, shortest: int, factor: int) -> int:
    """Return the largest k with `shortest * factor**k <= longest`."""
    halvings = 0
    while shortest * factor ** (halvings + 1) <= longest:
        halvings += 1
    return halvings


def rung_epochs(longest: int, shortest: int, factor: int) -> tuple[int, ...]:
    """Return the rungs from about `shortest` epochs to exactly `longest`, each `factor` apart.

    Example: 243, 1, 3 -> (1, 3, 9, 27, 81, 243); 27, 2, 3 -> (3, 9, 27); 2, 1, 3 -> (2,).

    Raises:
        SpecError: when the numbers allow no rung.
    """
    if not (1 <= shortest <= longest and factor >= 2):
        raise SpecError(
            "rungs: 1 <= first rung <= epochs and a reduction factor of 2 or more must hold, got "
            f"first rung {shortest}, {longest} epochs, factor {factor}"
        )
    return _rungs(longest, num_halvings(longest, shortest, factor), factor)


def _rungs(longest: int, halvings: int, factor: int) -> tuple[int, ...]:
    """The first rung and its multiples; the last is the whole trial."""
    first = longest // factor**halvings
    return (*(first * factor**k for k in range(halvings)), longest)


def hyperband_brackets(longest: int, shortest: int, factor: int) -> tuple[Bracket, ...]:
    """Return the brackets of one round of Hyperband, the most sceptical first (Li et al., 2018).

    Bracket s begins with ceil((smax + 1) / (s + 1) * factor**s) configurations and keeps one in
    `factor` at each rung; the last (s = 0) trains all of its configurations in full.
    """
    most = len(rung_epochs(longest, shortest, factor)) - 1
    brackets = []
    for halvings in range(most, -1, -1):
        start = -(-(most + 1) * factor**halvings // (halvings + 1))
        sizes = tuple(max(1, start // factor**k) for k in range(halvings + 1))
        brackets.append(Bracket(_rungs(longest, halvings, factor), sizes))
    return tuple(brackets)


def validated_brackets(length: Length, shortest: int, factor: int) -> tuple[Bracket, ...]:
    """As `hyperband_brackets`, with every rung at a validated epoch."""
    brackets = hyperband_brackets(length.validations, length.count(shortest), factor)
    return tuple(replace(b, rungs=tuple(map(length.epoch_of, b.rungs))) for b in brackets)


def first_rung(epochs: int) -> int:
    """Epochs before a trial can be judged: a ninth of a full one, at least two of four or more."""
    return max(epochs // 9, 2 if epochs >= 4 else 1)


def early_rungs(epochs: int, factor: int) -> tuple[int, ...]:
    """Return the first rung, its multiples but for those in the last ninth, and the whole trial.

    Example: 30, 3 -> (3, 9, 30): stopped after 27 epochs, a trial would save three.
    """
    rung, rungs = first_rung(epochs), list[int]()
    while rung < epochs - epochs // 9:
        rungs.append(rung)
        rung *= factor
    return (*rungs, epochs)
