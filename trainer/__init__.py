"""Metric-learning recognition: train, evaluate, label, export.

Stands alone: it knows nothing of hyperparameter search.
"""

import os

# Else onnxruntime sends names and hashes of models to its maker from 1.29 on, as soon as it is
# imported. Set here, as there are many places that import it; `0` in the environment stays.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
