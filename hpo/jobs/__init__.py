"""Jobs: one action of a skill run as a command, in a folder of its own, joined by job ids."""
