"""Hyperparameter optimization for metric-learning recognition."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpo.automl.ask_report import AutoML
    from hpo.automl.runner import AutoMLRunner
    from hpo.automl.status import query_status
    from hpo.notebook import Study, load, search

__version__ = "0.1.0"
__all__ = ["AutoML", "AutoMLRunner", "Study", "load", "query_status", "search"]

_PLACES = {
    "AutoML": "hpo.automl.ask_report",
    "AutoMLRunner": "hpo.automl.runner",
    "Study": "hpo.notebook",
    "load": "hpo.notebook",
    "query_status": "hpo.automl.status",
    "search": "hpo.notebook",
}
"""Public names, imported where they are first used, so that `import hpo` costs nothing."""


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)
