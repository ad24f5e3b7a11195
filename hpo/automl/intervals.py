"""Shortens validation and checkpoint intervals where rungs or early stopping need it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo.core.spec_dicts import value_at
from hpo.study.batches import Adjusted

NAMES = ("checkpoint_interval", "validation_interval")


def adjust_intervals(
    spec: Mapping[str, Any],
    epochs_key: str,
    options: Mapping[str, Any],
    *,
    is_length_searched: bool = False,
) -> Adjusted:
    """Let validation and checkpoints come together, and at every rung.

    With rungs both intervals are the first rung; with a searched number of epochs both are that
    number as it stands in the spec; otherwise the checkpoint's own, at most one trial's length.

    Args:
        spec: the full spec of a trial.
        epochs_key: spec key of the number of epochs; the intervals stand beside it.
        options: of the algorithm; `reduction_factor` tells that there are rungs.
        is_length_searched: whether the number of epochs is searched.
    """
    if not epochs_key:
        return Adjusted()
    section = epochs_key.rpartition(".")[0]
    keys = [f"{section}.{name}" if section else name for name in NAMES]
    own = {key: number for key in keys if (number := _whole(spec, key)) is not None}
    length = _whole(spec, epochs_key)
    if length is None or keys[0] not in own:
        return Adjusted()
    if "reduction_factor" in options:
        wanted, why = _first_rung(length, options), "rungs are judged and gone on from there"
    elif is_length_searched:
        wanted, why = length, "the number of epochs is searched"
    else:
        wanted, why = min(own[keys[0]], length), "validation and checkpoints come together"
    changed = {key: old for key, old in own.items() if old != wanted}
    return Adjusted(
        values=dict.fromkeys(changed, wanted),
        records=tuple(
            {"param": key, "from": old, "to": wanted, "reason": why} for key, old in changed.items()
        ),
    )


def _first_rung(length: int, options: Mapping[str, Any]) -> int:
    """Epochs after which the first configurations are compared."""
    from hpo.algorithms.brackets import first_rung, rung_epochs

    longest = int(options.get("max_epochs") or length)
    shortest = int(options.get("epoch_multiplier") or first_rung(longest))
    return rung_epochs(longest, min(shortest, longest), int(options["reduction_factor"]))[0]


def _whole(spec: Mapping[str, Any], key: str) -> int | None:
    value = value_at(spec, key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
