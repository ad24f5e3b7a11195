"""Search algorithms by name: `create_algorithm` builds any of them from a space and options."""

from __future__ import annotations

from hpo.algorithms.registry import ALGORITHMS, PRUNERS, create_algorithm

__all__ = ["ALGORITHMS", "PRUNERS", "create_algorithm"]
