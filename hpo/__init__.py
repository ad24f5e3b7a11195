"""Hyperparameter optimization for metric-learning recognition."""

from __future__ import annotations

# Imported before the folders of `sys.path` are put in order: nothing of the standard library.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from hpo.api import Study, load, search
    from hpo.automl.ask_tell import AutoML
    from hpo.automl.formatting import format_result
    from hpo.automl.runner import AutoMLRunner
    from hpo.automl.status import query_status

__version__ = "0.7.0"
__all__ = ["AutoML", "AutoMLRunner", "Study", "format_result", "load", "query_status", "search"]

_PLACES = {
    "AutoML": "hpo.automl.ask_tell",
    "AutoMLRunner": "hpo.automl.runner",
    "Study": "hpo.api",
    "format_result": "hpo.automl.formatting",
    "load": "hpo.api",
    "query_status": "hpo.automl.status",
    "search": "hpo.api",
}
"""Public names, imported where they are first used, so that `import hpo` costs nothing."""


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    from hpo.core.process.extras import demand_packages
    from hpo.core.process.imports import claim_packages

    demand_packages()
    claim_packages()
    return getattr(importlib.import_module(_PLACES[name]), name)
