"""Metric-learning recognition: train, evaluate, label, export.

Stands alone: it knows nothing of hyperparameter search.
"""
