"""Resolves the data of an AutoML request by the same rules as `hpo.jobs`."""

from __future__ import annotations

from hpo.jobs.data_sources import ROOTS, resolve_data_sources
from hpo.jobs.staging import stage_sources

__all__ = ["ROOTS", "resolve_data_sources", "stage_sources"]
