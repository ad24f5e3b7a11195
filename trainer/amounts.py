"""Writes numbers of bytes for people."""

from __future__ import annotations


def size_text(count: float) -> str:
    """Return a number of bytes in thousands: `640 kB`, `36.0 MB`, `1.2 GB`."""
    if count < 1000:
        return f"{count:.0f} bytes"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 999.95:
            return f"{count:.0f} kB" if unit == "kB" else f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} TB"
