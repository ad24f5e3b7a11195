"""A run directory on disk: ledger, checkpoints, disk space. Nothing here decides what to try."""
