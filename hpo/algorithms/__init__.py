"""Search algorithms by name: `create_algorithm` builds any of them from a space and options."""

from __future__ import annotations

from hpo.algorithms.pruners import PRUNERS
from hpo.algorithms.registry import ALGORITHMS, create_algorithm, find_algorithm, list_algorithms

__all__ = ["ALGORITHMS", "PRUNERS", "create_algorithm", "find_algorithm", "list_algorithms"]
