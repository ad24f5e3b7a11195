"""The base of algorithms around another one: passes on what that one offers, unchanged."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from hpo.core.protocols import (
    Algorithm,
    BackgroundAlgorithm,
    Emit,
    EventSource,
    GroupedPruning,
    OptunaView,
    WarmStarter,
)
from hpo.core.trial import Decision, Measurement, Suggestion, TrialRecord


class AroundAlgorithm:
    """An algorithm that does as another one; what that one lacks is answered with nothing.

    Each method is written out, as from Python 3.12 on `isinstance` does not ask `__getattr__` for
    what a protocol demands.

    Args:
        inner: does the work.
    """

    def __init__(self, inner: Algorithm) -> None:
        self._inner = inner

    def ask(self, number: int) -> Suggestion | None:
        """Propose."""
        return self._inner.ask(number)

    def restore(self, trial: TrialRecord) -> None:
        """Take a recorded trial."""
        self._inner.restore(trial)

    def report(self, number: int, measurement: Measurement) -> Decision:
        """Pass an epoch on."""
        return self._inner.report(number, measurement)

    def tell(self, trial: TrialRecord) -> None:
        """Pass an end on."""
        self._inner.tell(trial)

    @property
    def distributions(self) -> Mapping[str, Any] | None:
        """The algorithm's, where it has any."""
        return self._inner.distributions if isinstance(self._inner, OptunaView) else None

    def start_points(self) -> Collection[int]:
        """The algorithm's, where it has any."""
        return self._inner.start_points() if isinstance(self._inner, WarmStarter) else ()

    def peers(self, number: int) -> frozenset[int] | None:
        """The algorithm's, where it compares with some alone."""
        return self._inner.peers(number) if isinstance(self._inner, GroupedPruning) else None

    def settle(self) -> bool:
        """Wait for a proposal that the algorithm works on in the background."""
        return self._inner.settle() if isinstance(self._inner, BackgroundAlgorithm) else False

    def attach(self, emit: Emit) -> None:
        """Let the algorithm emit events, where it has any."""
        if isinstance(self._inner, EventSource):
            self._inner.attach(emit)


def innermost(algorithm: Algorithm) -> Algorithm:
    """The algorithm that does the work; those around it seem to offer everything."""
    while isinstance(algorithm, AroundAlgorithm):
        algorithm = algorithm._inner
    return algorithm
