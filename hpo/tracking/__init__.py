"""MLflow as a mirror of the ledger: one parent run per search, one child run per trial.

Nothing is read back from MLflow to decide anything, so it may be slow, away or deleted at any time.
"""
