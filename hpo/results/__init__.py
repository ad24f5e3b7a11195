"""What follows a search: confirmation, comparison, held-out evaluation, export and hand-over."""
