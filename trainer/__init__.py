"""Metric-learning recognition: train, evaluate, label, export. Stands alone; knows nothing of hyperparameter search."""
