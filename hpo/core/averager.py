"""The protocol of trainers that average weights; one of `hpo.core.trainer_extras`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from hpo.core.protocols import Spec


@runtime_checkable
class Averager(Protocol):
    """A trainer that averages the weights of trials which began with the same ones."""

    def shares_start(self, spec: Spec, other: Spec) -> bool:
        """Whether two trials can be averaged: one network, one start that is not random."""

    def average(self, spec: Spec, files: Sequence[Path], out: Path) -> dict[str, Any]:
        """[worker] Average checkpoints, the winner's first, while validation does not get worse.

        The first may be an earlier average; `out` is written where another one is kept.
        Returns `alone` and `value` (metric of the first and of the average), `kept` (places).
        """
