"""Compares what a trial was sent with what the trainer's live objects applied."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hpo.core.spec_dicts import lookup

RELATIVE_TOLERANCE = 1e-6
"""A rate may pass through single precision on its way into an optimizer."""


def find_mismatch(
    spec: Mapping[str, Any], params: Mapping[str, Any], receipt: Mapping[str, Any]
) -> str:
    """Compare a trial's spec with its receipt.

    Args:
        spec: the full nested spec that was sent.
        params: the searched parameters, by dotted name.
        receipt: the trainer's, with `applied`: dotted name -> value read back from a live object.

    Returns:
        One line about the first difference, or an empty string. A searched parameter that the
        receipt does not mention at all is a difference too.
    """
    applied = receipt.get("applied") or {}
    for name in params:
        if name not in applied:
            return f"{name}: was suggested {params[name]!r}, but the receipt does not mention it"
    for name, got in applied.items():
        try:
            sent = lookup(spec, name)
        except KeyError:
            continue
        if not _equal(sent, got):
            return f"{name}: {sent!r} was sent, but the trainer applied {got!r}"
    return ""


def _equal(sent: Any, got: Any) -> bool:
    numbers = (int, float)
    if isinstance(sent, bool) or isinstance(got, bool):
        return bool(sent == got)
    if isinstance(sent, numbers) and isinstance(got, numbers):
        return math.isclose(sent, got, rel_tol=RELATIVE_TOLERANCE, abs_tol=1e-12)
    if isinstance(sent, list | tuple) and isinstance(got, list | tuple):
        return len(sent) == len(got) and all(_equal(a, b) for a, b in zip(sent, got, strict=True))
    return bool(sent == got)
