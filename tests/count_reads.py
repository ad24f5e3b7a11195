"""Counts bytes that are read from files: work that grows with a file shows in them."""

from pathlib import Path


def bytes_read(function):
    """How many bytes this process reads in a function, as the system counts them."""
    before = _so_far()
    function()
    return _so_far() - before


def _so_far():
    told = Path("/proc/self/io").read_text(encoding="ascii")
    return int(told.split("rchar: ")[1].split()[0])
