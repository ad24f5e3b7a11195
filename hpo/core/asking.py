"""Asks an algorithm for the next trial, waiting for its background requests if need be."""

from __future__ import annotations

from hpo.core.protocols import Algorithm, BackgroundAlgorithm
from hpo.core.trial import Suggestion


def ask(algorithm: Algorithm, number: int, *, waits: bool = True) -> Suggestion | None:
    """Ask for trial `number`.

    Args:
        algorithm: one that may need time to think (`BackgroundAlgorithm`).
        number: of the trial.
        waits: whether to wait for what it thinks about; False while trials run, which would wait
            too. They end, and it is asked again.

    Returns:
        None when there is none, or not yet.
    """
    suggestion = algorithm.ask(number)
    if not isinstance(algorithm, BackgroundAlgorithm):
        return suggestion
    while suggestion is None and waits and algorithm.settle():
        suggestion = algorithm.ask(number)
    return suggestion
