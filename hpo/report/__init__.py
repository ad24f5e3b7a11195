"""One page about one search: what was found, how, and what the winner still gets wrong."""
