"""Compares what a trial was sent with what the trainer's live objects applied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpo.core.spec_dicts import flatten, is_same


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A receipt held against what a trial should have been trained with."""

    mismatch: str = ""
    """One line about the first difference; empty when there is none."""
    unseen: tuple[str, ...] = ()
    """Decided keys that the trainer's live objects do not show, so that nothing proves them."""


def check_receipt(
    receipt: Mapping[str, Any],
    *,
    spec: Mapping[str, Any],
    params: Mapping[str, Any],
    decided: Mapping[str, Any],
) -> Checked:
    """Compare what a trainer's live objects hold with what was decided and with what was sent.

    Args:
        receipt: the trainer's, with `applied`: dotted name -> value read back from a live object.
        spec: the full nested spec that was sent.
        params: the searched parameters, by dotted name. One that the receipt does not mention at
            all is a difference too.
        decided: what the user or the space says of every trial, by dotted name; parameters win.
    """
    applied = receipt.get("applied") or {}
    wanted = {**decided, **params}
    for name, value in wanted.items():
        if name not in applied and name in params:
            text = f"{name}: was suggested {value!r}, but the receipt does not mention it"
            return Checked(mismatch=text)
        if name in applied and not is_same(value, applied[name]):
            word = "suggested" if name in params else "decided"
            text = f"{name}: was {word} to be {value!r}, but the trainer applied {applied[name]!r}"
            return Checked(mismatch=text)
    sent_values = flatten(spec)
    for name, sent in sent_values.items():
        if name in applied and not is_same(sent, applied[name]):
            got = applied[name]
            return Checked(mismatch=f"{name}: {sent!r} was sent, but the trainer applied {got!r}")
    return Checked(unseen=tuple(name for name in wanted if name not in applied))
