"""What a terminal shows of a search: review, live view, progress lines; the verbs are `hpo.cli`."""
