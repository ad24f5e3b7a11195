"""Replays a ledger into a fresh algorithm, for resuming and explaining."""

from __future__ import annotations

from hpo.core.protocols import Algorithm
from hpo.core.trial import Decision
from hpo.run.ledger import Ledger


def replay(
    algorithm: Algorithm, ledger: Ledger, *, before: int | None = None
) -> dict[int, Decision]:
    """Repeat the recorded calls of an algorithm, in their order.

    Args:
        algorithm: a fresh one.
        ledger: what has happened; confirmations are none of an algorithm's business.
        before: the sequence number to stop at; None repeats all.

    Returns:
        Trial -> what the algorithm decided on its last epoch.
    """
    decided: dict[int, Decision] = {}
    for change in ledger.changes():
        if before is not None and change.sequence >= before:
            break
        record = ledger.trial(change.number)
        if record.is_repeat:
            continue
        if change.what == "start":
            algorithm.restore(record)
        elif change.what == "epoch" and change.measurement is not None:
            decided[record.number] = algorithm.report(record.number, change.measurement)
        elif change.what == "end":
            algorithm.tell(record)
    return decided
