"""The search itself, from a plan to the last trial; what follows is in `hpo.results`."""
