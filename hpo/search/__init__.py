"""The search itself: from a plan to the last trial. What follows it is in `hpo.results`."""
