"""Serves a run's exported model over HTTP: labels pictures, adds and removes classes."""
