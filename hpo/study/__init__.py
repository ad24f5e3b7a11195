"""A study file resolved: skill, trainer, data, plan, provenance. Starts no trial."""
