"""Lightning, imported without SciPy's signal processing: a sixth of the time in which a run starts.

TorchMetrics, which Lightning imports, loads `scipy.signal` to give it back an old name.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

_NAME = "scipy.signal"


class _Late(ModuleType):
    """Has the old name, so that it is not given; is loaded where anything else is asked of it."""

    hamming = None

    def __getattr__(self, name: str) -> Any:
        """Whatever the module itself has."""
        if name.startswith("__") and name != "__path__":  # as imports look for
            raise AttributeError(name)
        self.leave()
        return getattr(import_module(_NAME), name)

    def leave(self) -> None:
        """Be found no longer; the module itself is loaded by who imports it next."""
        if sys.modules.get(_NAME) is self:
            del sys.modules[_NAME]


@contextlib.contextmanager
def signal_processing_later() -> Iterator[None]:
    """Inside, importing SciPy's signal processing loads it once something of it is used."""
    late = _Late(_NAME)
    sys.modules.setdefault(_NAME, late)
    try:
        yield
    finally:
        late.leave()


with signal_processing_later():
    import pytorch_lightning as pl
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment

__all__ = ["LightningEnvironment", "pl"]
