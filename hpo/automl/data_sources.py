"""The data of the AutoML route: the rules are those of every job."""

from __future__ import annotations

from hpo.jobs.data_sources import ROOTS, resolve_data_sources
from hpo.jobs.staging import stage_sources

__all__ = ["ROOTS", "resolve_data_sources", "stage_sources"]
