"""Corrects batch sizes that cannot learn: larger than the data, or of a single class."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from hpo.core.errors import SpecError
from hpo.core.spec_dicts import lookup
from hpo.core.text import count_of

Limit = tuple[float | None, float | None]
_USUAL_BATCH = 32
"""What a batch that nobody chose is raised to, where the data hold as much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjusted:
    """What was changed in every trial's spec before the search, and why."""

    values: dict[str, Any] = field(default_factory=dict)
    records: tuple[dict[str, Any], ...] = ()
    """`{param, from, to, reason}` each."""
    warnings: tuple[str, ...] = ()


def adjust_batch(
    spec: Mapping[str, Any],
    key: str,
    *,
    multiple_of: Mapping[str, str],
    limit: Limit,
    explicit: Collection[str],
    cap: int | None = None,
    force: bool = False,
) -> Adjusted:
    """Bring the spec's batch into what can be trained on.

    A batch of more than all samples is capped to the largest legal one. A batch of a single class
    gives a mined loss nothing to compare: one that nobody chose is raised, an explicit one refused.

    Args:
        spec: a full spec.
        key: of the batch.
        multiple_of: parameter -> the parameter of which it must be a multiple.
        limit: what the trainer says of the batch under this spec, lowest and highest.
        explicit: keys that the caller set.
        cap: samples that each device has; None where unknown.
        force: keep an explicit batch of a single class.

    Raises:
        SpecError: when no batch is legal, or an explicit one holds a single class.
    """
    try:
        batch = lookup(spec, key)
        multiple = int(lookup(spec, multiple_of[key])) if key in multiple_of else 1
    except (KeyError, TypeError, ValueError):
        return Adjusted()
    if isinstance(batch, bool) or not isinstance(batch, int):
        return Adjusted()
    if cap is not None and batch > cap:
        return _capped(key, batch, cap, multiple, multiple_of.get(key, "1"))
    low, high = limit
    if low is None or batch >= low:
        return Adjusted()
    if key in explicit and not force:
        raise SpecError(
            f"{key}: a batch of {batch}, with {multiple} pictures of a class, holds "
            f"{_classes(batch, multiple)}, and the loss compares classes; give at least {int(low)} "
            "(AutoML keeps it with force=true)"
        )
    if key in explicit:
        return Adjusted(warnings=(f"{key}: {batch} is a batch of a single class, kept as asked",))
    most = _USUAL_BATCH if high is None else min(_USUAL_BATCH, int(high))
    new = max(int(low), most // multiple * multiple)
    reason = f"a batch of {batch} holds {_classes(batch, multiple)}; the loss compares at least two"
    return Adjusted(values={key: new}, records=(_record(key, batch, new, reason),))


def _capped(key: str, batch: int, cap: int, multiple: int, of: str) -> Adjusted:
    new = cap // multiple * multiple
    if new < 1:
        raise SpecError(
            f"{key}: no batch is legal: each device has {count_of(cap, 'training sample')}, "
            f"and a batch must be a multiple of {multiple} ({of})"
        )
    samples = count_of(cap, "sample")
    reason = f"train_sample_count gives each device {samples}, fewer than a batch of {batch}"
    return Adjusted(values={key: new}, records=(_record(key, batch, new, reason),))


def _classes(batch: int, multiple: int) -> str:
    return count_of(batch // multiple, "class", "classes")


def _record(key: str, old: Any, new: Any, reason: str) -> dict[str, Any]:
    return {"param": key, "from": old, "to": new, "reason": reason}
