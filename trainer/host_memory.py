"""Keeps freed host memory during a run and returns it to the system afterwards.

glibc hands every freed block of more than some megabytes back to the kernel and gets the next one
page by page: tens of thousands of page faults in each training step on a CPU, 10 to 20 % of the
time of a small trunk. Where the C library has no such switches, nothing is changed.
"""

from __future__ import annotations

import ctypes
import functools

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGE = 2**30
"""Blocks up to this many bytes are kept; larger ones are whole data sets, not activations."""


def keep_freed_blocks() -> None:
    """Let this process keep what it frees, for what it allocates next.

    Threads that begin now share one arena, as others can hold blocks of 64 MiB at most; a harness
    that runs trials in a thread sets MALLOC_ARENA_MAX=1 before the process starts.
    """
    libc = _libc()
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(_M_ARENA_MAX, 1)


def return_freed_blocks() -> None:
    """Give the kernel back what this process keeps without using it."""
    libc = _libc()
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
