"""The search itself, from a plan to the last trial; what follows is in `hpo.results`.

The package can be called: `hpo.search(...)` is the public function of that name too, which would be
out of reach once the package is imported.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """A package that passes calls on to `hpo.api.search`."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Search, as `hpo.api.search` does."""
        return importlib.import_module("hpo.api").search(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
