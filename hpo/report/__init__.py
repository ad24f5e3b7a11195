"""The report of a search: one HTML page, and the explanations behind it."""
