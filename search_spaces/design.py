"""Draws a stratified first set of points: one per stratum of every dimension.

Independent draws leave gaps: an option with a weight of 5 % is missing from 60 % of all starts of
ten points, and a sampler that learns may never come to try it. Here every option occurs once the
set is large enough, otherwise in the shares of the weights, and every number is spread over its
range (Latin hypercube sampling: McKay, Beckman, Conover 1979).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from search_spaces.dimensions import Dimension
from search_spaces.domains.options import Options
from search_spaces.parameter import Parameter

if TYPE_CHECKING:
    import random


def draw_column(
    parameter: Parameter, dimension: Dimension, count: int, rng: random.Random
) -> list[Any]:
    """Draw `count` latents of one dimension, one from each stratum of it."""
    if isinstance(parameter.domain, Options):
        column: list[Any] = []
        counts = apportion(parameter.domain.shares, count)
        for labels, times in zip(parameter.domain.labels_by_option, counts, strict=True):
            column += [rng.choice(labels) for _ in range(times)]
        return column
    return [dimension.from_unit((stratum + rng.random()) / count) for stratum in range(count)]


def cover(labels_by_option: Sequence[Sequence[Any]], taken: Sequence[Any], rest: list[Any]) -> None:
    """Let options that occur nowhere take the places of those in the rest that occur twice.

    Args:
        labels_by_option: the labels that stand for each option.
        taken: what stands in the first places.
        rest: labels in all others; changed.
    """
    owner = {label: k for k, labels in enumerate(labels_by_option) for label in labels}
    counts = Counter(owner[label] for label in (*taken, *rest))
    for missing in [k for k in range(len(labels_by_option)) if not counts[k]]:
        row = max(range(len(rest)), key=lambda r: counts[owner[rest[r]]], default=None)
        if row is None or counts[owner[rest[row]]] < 2:
            return
        counts[owner[rest[row]]] -= 1
        rest[row], counts[missing] = labels_by_option[missing][0], 1


def apportion(shares: Sequence[float], count: int) -> list[int]:
    """Divide `count` whole things by shares that sum to 1; each gets one where that is possible.

    Largest remainders; ties go to the earlier share.
    """
    least = 1 if count >= len(shares) else 0
    found = [max(least, int(share * count)) for share in shares]
    order = range(len(shares))
    while sum(found) < count:
        found[max(order, key=lambda k: shares[k] * count - found[k])] += 1
    while sum(found) > count:
        able = [k for k in order if found[k] > least]
        found[max(able, key=lambda k: found[k] - shares[k] * count)] -= 1
    return found
