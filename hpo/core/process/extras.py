"""Packages that an installation without extras lacks, in one line that says what to install."""

from __future__ import annotations

from importlib.util import find_spec

from hpo.core.process.search_path import NEEDED

INSTALL = "pip install 'hpo-recognition[all]'"


def explain_missing(error: ModuleNotFoundError) -> str:
    """What to install for a module that was not found; empty where that is no package we need."""
    name = (error.name or "").partition(".")[0]
    return f"{name} is not installed; {INSTALL}" if name in NEEDED else ""


def demand_packages() -> None:
    """Look for the packages that a search needs, without importing one.

    Raises:
        ImportError: in one line, naming those that are missing.
    """
    missing = [n for n in ("numpy", "optuna", "ray", "torch", "plotly") if find_spec(n) is None]
    if missing:
        raise ImportError(f"{', '.join(missing)}: not installed; {INSTALL}")
