"""Checks of the machine before a search. Checks of pictures are the trainer's."""
