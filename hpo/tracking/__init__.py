"""MLflow as a mirror of the ledger: one parent run per search, one child run per trial.

Nothing is read back from MLflow to decide anything, so it may be slow, away or deleted at any time.
"""

from __future__ import annotations

from hpo.tracking.mirror import MlflowMirror
from hpo.tracking.store import default_tracking_uri

__all__ = ["MlflowMirror", "default_tracking_uri"]
