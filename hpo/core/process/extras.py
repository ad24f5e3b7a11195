"""Says what to install where an optional package is missing, in one line."""

from __future__ import annotations

import sys
import traceback
from importlib.util import find_spec
from pathlib import Path

from hpo.core.process.imports import PACKAGES
from hpo.core.process.search_path import NEEDED, ROOT

_INSTALL = "pip install 'hpo-recognition[all]'"


def explain_missing(error: ModuleNotFoundError) -> str:
    """What to install for a module that was not found; empty where that is no package we need.

    That is one that is known here, or one that a file of ours has asked for.
    """
    name = (error.name or "").partition(".")[0]
    is_ours = not name or name in PACKAGES
    if name in sys.stdlib_module_names:
        return f"{name}, a part of Python, is not there on this system; use Linux (on Windows, WSL)"
    is_needed = name in NEEDED or (not is_ours and _asked_for_by_us(error))
    return f"{name} is not installed; {_INSTALL}" if is_needed else ""


def _asked_for_by_us(error: ModuleNotFoundError) -> bool:
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    asking = [Path(file).resolve() for file in files if not file.startswith("<frozen")]
    return bool(asking) and any(asking[-1].is_relative_to(Path(ROOT, own)) for own in PACKAGES)


def demand_packages() -> None:
    """Look for the packages that a search needs, without importing one.

    Raises:
        ImportError: in one line, naming those that are missing.
    """
    missing = [n for n in ("numpy", "optuna", "ray", "torch", "plotly") if find_spec(n) is None]
    if missing:
        raise ImportError(f"{', '.join(missing)}: not installed; {_INSTALL}")
