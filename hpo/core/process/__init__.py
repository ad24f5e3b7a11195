"""How processes of this project start, whichever package they run: its commands and their children.

The standard library alone: all of it works where a file of the user's has the name of a package,
and where an extra is not installed.
"""
