"""Runs trials: in Ray workers, in this process, or on a simulated clock."""
